"""HTTP/2 frames as bytes, right and wrong ones (RFC 9113), and gRPC messages in them."""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
#: Both of RFC 9113: the initial window of a stream and of a connection; the largest frame.
WINDOW_BYTES = 65_535
FRAME_BYTES = 16_384
#: Identifiers of settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 1, 2, 3, 4
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6

Headers = Sequence[tuple[str | bytes, str | bytes]]


def frame(kind: int | None, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame; `kind` is a type of hyperframe's or a number."""
    assert kind is not None
    length = struct.pack(">I", len(payload))[1:]
    return length + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: Mapping[int, int] | None = None) -> bytes:
    pairs = (values or {}).items()
    payload = b"".join(struct.pack(">HI", key, value) for key, value in pairs)
    return frame(SettingsFrame.type, 0, 0, payload)


def settings_ack() -> bytes:
    return frame(SettingsFrame.type, ACK, 0)


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """One DATA frame."""
    return frame(DataFrame.type, END_STREAM if end else 0, stream, payload)


def chunks(stream: int, payload: bytes, *, end: bool = False, size: int = FRAME_BYTES) -> bytes:
    """A payload in DATA frames of at most `size`."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        data(stream, piece, end=end and index == last) for index, piece in enumerate(pieces)
    )


def headers(stream: int, fields: Headers | bytes, *, end: bool = False, done: bool = True) -> bytes:
    """One HEADERS frame; `done`: no CONTINUATION follows."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if done else 0)
    return frame(HeadersFrame.type, flags, stream, encoded(fields))


def continuation(stream: int, fields: Headers | bytes, *, done: bool) -> bytes:
    flags = END_HEADERS if done else 0
    return frame(ContinuationFrame.type, flags, stream, encoded(fields))


def encoded(fields: Headers | bytes) -> bytes:
    """As HPACK without the dynamic table, so that every block stands for itself."""
    if isinstance(fields, bytes):
        return fields
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in fields])


def window(stream: int, increment: int) -> bytes:
    return frame(WindowUpdateFrame.type, 0, stream, struct.pack(">I", increment))


def reset(stream: int, code: int = 8) -> bytes:
    """RST_STREAM; CANCEL unless told otherwise."""
    return frame(RstStreamFrame.type, 0, stream, struct.pack(">I", code))


def ping(payload: bytes = bytes(8), *, ack: bool = False) -> bytes:
    return frame(PingFrame.type, ACK if ack else 0, 0, payload)


def goaway(last_stream: int = 0, code: int = 0) -> bytes:
    return frame(GoAwayFrame.type, 0, 0, struct.pack(">II", last_stream, code))


def priority(stream: int, depends_on: int = 0, weight: int = 15) -> bytes:
    return frame(PriorityFrame.type, 0, stream, struct.pack(">IB", depends_on, weight))


def push_promise(stream: int, promised: int, fields: Headers) -> bytes:
    payload = struct.pack(">I", promised) + encoded(fields)
    return frame(PushPromiseFrame.type, END_HEADERS, stream, payload)


def message(content: bytes, *, flag: int = 0) -> bytes:
    """A gRPC message: flag (1: compressed), length, content."""
    return struct.pack(">BI", flag, len(content)) + content


def request_fields(path: str, changes: Mapping[str, str | None] | None = None) -> Headers:
    """The header fields of a call; `changes` replaces, adds or (None) removes some."""
    fields: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **(changes or {}),
    }
    return [(name, value) for name, value in fields.items() if value is not None]


def request(
    stream: int,
    path: str,
    content: bytes = b"abc",
    changes: Mapping[str, str | None] | None = None,
) -> bytes:
    """A whole unary call."""
    opening = headers(stream, request_fields(path, changes))
    return opening + chunks(stream, message(content), end=True)

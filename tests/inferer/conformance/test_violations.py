"""What breaks HTTP/2: the connection or its stream ends, with the error that RFC 9113 names."""

import struct
from collections.abc import Collection, Mapping
from typing import NamedTuple

import pytest

from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY
from tests.inferer.conformance.transports import Running
from tests.inferer.conformance.wire import connected

ECHO = UNARY + "Echo"


class Row(NamedTuple):
    """Bytes after the preface, and the outcomes (see Wire.outcome) of stream 1 that are right.

    Of grpcio: what it does, where that is not the same.
    """

    sent: bytes
    native: Collection[str]
    grpcio: Collection[str] = ()

    def allowed(self, transport: str) -> Collection[str]:
        if transport == "native":
            return self.native
        # What grpcio has not read yet may take its GOAWAY with it.
        return [*(self.grpcio or self.native), "closed"]


_OPEN = frames.headers(1, frames.request_fields(STREAM + "Echo"))
_DONE = frames.request(1, ECHO)
_BLOCK = frames.encoded(frames.request_fields(ECHO))
_PROTOCOL, _SIZE = ("goaway PROTOCOL_ERROR",), ("goaway FRAME_SIZE_ERROR",)
_FLOW = ("goaway FLOW_CONTROL_ERROR",)
# Endpoints may treat a stream's error as the connection's (RFC 9113, 5.4.1).
_STREAM_PROTOCOL = ("reset PROTOCOL_ERROR", *_PROTOCOL)
# What grpcio does instead. It closes without a word, or after it has ended all calls by a status.
_HUNG_UP = ("closed", "status UNAVAILABLE")
_PASSED_OVER = ("nothing",)
_SERVED = ("status OK",)

_ROWS: Mapping[str, Row] = {
    "DATA of the connection": Row(frames.data(0, b"abc"), _PROTOCOL, _PASSED_OVER),
    "DATA of a stream that is not open": Row(
        frames.data(1, b"abc"), ("goaway PROTOCOL_ERROR", "goaway STREAM_CLOSED"), _PASSED_OVER
    ),
    "HEADERS of the connection": Row(frames.headers(0, _BLOCK), _PROTOCOL, _PASSED_OVER),
    "an even stream": Row(frames.headers(2, _BLOCK, end=True), _PROTOCOL, _PASSED_OVER),
    # A server that forgets streams cannot tell it from one that has ended.
    "a stream that goes back": Row(
        frames.headers(5, _BLOCK) + frames.headers(3, _BLOCK),
        ("goaway PROTOCOL_ERROR", "nothing"),
        _PASSED_OVER,
    ),
    "HEADERS twice without an end": Row(_OPEN + _OPEN, _STREAM_PROTOCOL, _HUNG_UP),
    "CONTINUATION of nothing": Row(frames.continuation(1, _BLOCK, done=True), _PROTOCOL, _HUNG_UP),
    "another frame before CONTINUATION": Row(
        frames.headers(1, _BLOCK[:9], done=False) + frames.ping(), _PROTOCOL, _HUNG_UP
    ),
    "CONTINUATION of another stream": Row(
        frames.headers(1, _BLOCK[:9], done=False) + frames.continuation(3, _BLOCK[9:], done=True),
        _PROTOCOL,
        _HUNG_UP,
    ),
    "HPACK that is none": Row(
        frames.headers(1, b"\xff\xff\xff\xff\xff\xff"),
        ("goaway COMPRESSION_ERROR",),
        ("status INTERNAL",),
    ),
    "HPACK with an index that is not there": Row(
        frames.headers(1, b"\xfe"), ("goaway COMPRESSION_ERROR",), ("status INTERNAL",)
    ),
    "padding longer than its frame": Row(
        _OPEN + frames.frame(0x0, frames.PADDED, 1, b"\x09abc"),
        _PROTOCOL,
        ("reset PROTOCOL_ERROR",),
    ),
    "a frame above the limit": Row(
        # What has not been read when the connection ends may take the GOAWAY with it.
        _OPEN + frames.data(1, bytes(frames.FRAME_BYTES + 1)),
        (*_SIZE, "closed"),
        _HUNG_UP,
    ),
    "a frame of 16 MiB announced": Row(
        _OPEN + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", _SIZE, _HUNG_UP
    ),
    "PING of 7 bytes": Row(frames.frame(0x6, 0, 0, bytes(7)), _SIZE, _HUNG_UP),
    "PING of a stream": Row(frames.frame(0x6, 0, 1, bytes(8)), _PROTOCOL, _PASSED_OVER),
    "SETTINGS of 5 bytes": Row(frames.frame(0x4, 0, 0, bytes(5)), _SIZE, _HUNG_UP),
    "SETTINGS of a stream": Row(frames.frame(0x4, 0, 1), _PROTOCOL, _HUNG_UP),
    "SETTINGS acknowledged with content": Row(
        frames.frame(0x4, frames.ACK, 0, bytes(6)), _SIZE, _HUNG_UP
    ),
    "a window above the limit in SETTINGS": Row(
        frames.settings({frames.INITIAL_WINDOW_SIZE: 2**31}), _FLOW
    ),
    "a frame size below the limit in SETTINGS": Row(
        frames.settings({frames.MAX_FRAME_SIZE: 100}), _PROTOCOL
    ),
    "push that is neither on nor off": Row(frames.settings({frames.ENABLE_PUSH: 2}), _PROTOCOL),
    "PUSH_PROMISE of a client": Row(
        _OPEN + frames.push_promise(1, 2, frames.request_fields(ECHO)), _PROTOCOL, _PASSED_OVER
    ),
    "WINDOW_UPDATE of 0": Row(_OPEN + frames.window(1, 0), _STREAM_PROTOCOL, _HUNG_UP),
    "WINDOW_UPDATE of 0 of the connection": Row(frames.window(0, 0), _PROTOCOL, _HUNG_UP),
    "WINDOW_UPDATE of 3 bytes": Row(frames.frame(0x8, 0, 0, bytes(3)), _SIZE, _HUNG_UP),
    "WINDOW_UPDATE of a stream that is not open": Row(frames.window(1, 5), _PROTOCOL, _PASSED_OVER),
    "a stream's window above the limit": Row(
        _OPEN + frames.window(1, 2**31 - 1), ("reset FLOW_CONTROL_ERROR", *_FLOW), _PASSED_OVER
    ),
    "the connection's window above the limit": Row(
        frames.window(0, 2**31 - 1), _FLOW, _PASSED_OVER
    ),
    "RST_STREAM of a stream that is not open": Row(frames.reset(1), _PROTOCOL, _PASSED_OVER),
    "RST_STREAM of the connection": Row(
        frames.frame(0x3, 0, 0, struct.pack(">I", 8)), _PROTOCOL, _PASSED_OVER
    ),
    "RST_STREAM of 3 bytes": Row(_OPEN + frames.frame(0x3, 0, 1, bytes(3)), _SIZE, _HUNG_UP),
    "PRIORITY of 4 bytes": Row(
        frames.frame(0x2, 0, 1, bytes(4)), ("reset FRAME_SIZE_ERROR", *_SIZE), _PASSED_OVER
    ),
    "GOAWAY of 7 bytes": Row(frames.frame(0x7, 0, 0, bytes(7)), _SIZE, _HUNG_UP),
    "DATA after the end": Row(
        frames.request(1, UNARY + "Slow") + frames.data(1, b"abc"),
        ("reset STREAM_CLOSED", "goaway STREAM_CLOSED", "goaway PROTOCOL_ERROR"),
        _PASSED_OVER,
    ),
    "HEADERS after the end": Row(
        frames.request(1, UNARY + "Slow") + frames.headers(1, [("x", "y")], end=True),
        ("reset STREAM_CLOSED", "goaway STREAM_CLOSED", "goaway PROTOCOL_ERROR"),
        _PASSED_OVER,
    ),
    "trailers with a pseudo-field": Row(
        _OPEN + frames.headers(1, [(":path", ECHO)], end=True), _STREAM_PROTOCOL, _SERVED
    ),
    "a pseudo-field twice": Row(
        frames.headers(1, [*frames.request_fields(ECHO), (":path", ECHO)], end=True),
        _STREAM_PROTOCOL,
        _PASSED_OVER,
    ),
    "a pseudo-field after another": Row(
        frames.headers(1, frames.request_fields(ECHO)[::-1], end=True),
        _STREAM_PROTOCOL,
        _PASSED_OVER,
    ),
    "a content-length that lies": Row(
        frames.request(1, ECHO, b"abc", {"content-length": "3"}), _STREAM_PROTOCOL, _SERVED
    ),
}


@pytest.mark.parametrize("name", _ROWS)
async def test_broken_rules_end_the_stream_or_the_connection(server: Running, name: str) -> None:
    row = _ROWS[name]
    async with connected(server.address) as wire:
        await wire.send(row.sent)

        allowed = row.allowed(server.name)
        assert await wire.outcome(1, allowed) in allowed


@pytest.mark.parametrize(
    "name", ["an even stream", "PING of 7 bytes", "HPACK that is none", "DATA after the end"]
)
async def test_a_connection_that_ended_is_closed(server: Running, name: str) -> None:
    """Not only told so: a caller that stays would keep its place (RFC 9113, 5.4.1)."""
    async with connected(server.address) as wire:
        await wire.send(_ROWS[name].sent)
        if server.name == "native":
            await wire.end()
        else:
            await wire.send(frames.settings({frames.MAX_FRAME_SIZE: 1}))  # one that grpcio minds
            await wire.end()

        assert wire.is_closed


async def test_more_data_than_the_window_lets_ends_it(server: Running) -> None:
    piece = frames.message(bytes(frames.FRAME_BYTES - 5))
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Deaf")))
        while True:
            for _ in range(10):
                await wire.sync()
            if wire.room(1) < len(piece):
                break
            await wire.upload(1, piece, end=False)
        await wire.send(frames.chunks(1, piece * 64))

        assert (
            await wire.outcome(1)
            in {
                "native": ("goaway FLOW_CONTROL_ERROR", "reset FLOW_CONTROL_ERROR"),
                "grpcio": (
                    "goaway PROTOCOL_ERROR",
                    "reset PROTOCOL_ERROR",
                    "goaway FLOW_CONTROL_ERROR",
                ),
            }[server.name]
        )


_PREFACES: Mapping[str, bytes] = {
    "another preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frames.settings(),
    "half a preface, then frames": frames.PREFACE[:12]
    + frames.settings()
    + frames.request(1, ECHO),
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160),
    "zeros": bytes(64),
    "no settings": frames.PREFACE + frames.request(1, ECHO),
}


@pytest.mark.parametrize("name", _PREFACES)
async def test_who_does_not_greet_is_hung_up_on(server: Running, name: str) -> None:
    async with connected(server.address, greets=False) as wire:
        await wire.send(_PREFACES[name])
        await wire.end()

    assert not server.application.calls


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.0\r\n", b"HEAD / "])
async def test_http_1_is_told_or_hung_up_on(server: Running, first: bytes) -> None:
    answer = await _plain(server, first + b"Host: localhost\r\n\r\n")

    if server.name == "native":
        status, _, rest = answer.partition(b"\r\n")
        assert status.split()[0] in (b"HTTP/1.0", b"HTTP/1.1")
        assert status.split()[1] in (b"400", b"426", b"505")
        head, _, body = rest.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
        assert lengths == [b"content-length: %d" % len(body)]
        assert b"HTTP/2" in body


async def _plain(server: Running, sent: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    async with connected(server.address, greets=False) as wire:
        await wire.send(sent)
        return await wire.rest()


async def test_an_offer_to_switch_to_http_2_is_not_taken(server: Running) -> None:
    """RFC 9113 has dropped it; calls before the preface would be a way around."""
    offer = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
    )
    assert b" 101 " not in await _plain(server, offer)

"""gRPC over HTTP/2, what needs no I/O: the headers of calls, the frames of messages, statuses.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, cited as "PROTOCOL".
"""

import base64
import binascii
import math
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from google.rpc import code_pb2

from inferer.transport.native import bounds
from twofold.errors import Internal, TwofoldError
from twofold.rpc import DETAILS_KEY, to_status

Headers = Sequence[tuple[bytes, bytes]]

OK = (b"grpc-status", b"0")
#: What stands before a message: whether it is compressed, and its length.
_PREFIX = struct.Struct(">BI")
PREFIX_BYTES = _PREFIX.size
_GOAWAY, _LAST_STREAM = struct.Struct(">BHBBIII"), (1 << 31) - 1
#: As messages of calls may come; answers are never compressed.
ENCODINGS = {"identity": 0, "gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_ACCEPTED = (b"grpc-accept-encoding", ",".join(ENCODINGS).encode())
_CONTENT_TYPE = (b"content-type", b"application/grpc")
#: The beginning of every answer that has a message.
ANSWER = ((b":status", b"200"), _CONTENT_TYPE)
ANSWERED = (OK,)
#: Of the wire, not of the caller: applications do not see them.
_HIDDEN = frozenset({b"te", b"content-type", b"grpc-timeout", b"grpc-encoding"})
_GRPC = re.compile(rb"application/grpc([+;].*)?", re.IGNORECASE)
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
#: Printable ASCII without the percent sign stands for itself in grpc-message.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if code != ord("%"))


class Refused(Exception):
    """A call that cannot be served as it was sent; `http_status` other than 200 is not gRPC."""

    def __init__(self, code: str, message: str, http_status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status


class Head(NamedTuple):
    """What the headers of a call say."""

    path: str
    #: As the seam's Call has it.
    metadata: tuple[tuple[str, str | bytes], ...]
    #: Infinite where the caller set none.
    timeout_s: float
    #: A key of ENCODINGS.
    encoding: str


def parse_head(headers: Headers) -> Head:
    """The head of a call; raises Refused where it is none, or asks for what is not offered."""
    _check_metadata(headers)
    found = dict(headers)
    if found.get(b":method") != b"POST":
        raise Refused("INTERNAL", "gRPC calls are POST requests", 405)
    if not _GRPC.fullmatch(found.get(b"content-type", b"")):
        raise Refused("INTERNAL", "the content-type must be application/grpc", 415)
    encoding = found.get(b"grpc-encoding", b"identity").decode("latin-1")
    if encoding not in ENCODINGS:
        raise Refused(
            "UNIMPLEMENTED",
            f"the messages' grpc-encoding is not offered; there are {', '.join(ENCODINGS)}",
        )
    return Head(
        path=found.get(b":path", b"").decode("latin-1"),
        metadata=tuple(_metadata(headers)),
        timeout_s=_timeout_s(found.get(b"grpc-timeout")),
        encoding=encoding,
    )


def _check_metadata(headers: Headers) -> None:
    size = sum(len(name) + len(value) + 32 for name, value in headers)
    if size > bounds.METADATA_BYTES:
        text = f"the call's metadata takes {size} bytes; allowed: {bounds.METADATA_BYTES}"
        raise Refused("RESOURCE_EXHAUSTED", text)


def _metadata(headers: Headers) -> Iterator[tuple[str, str | bytes]]:
    for name, value in headers:
        if name.startswith(b":") or name in _HIDDEN:
            continue
        key = name.decode("latin-1")
        if not key.endswith("-bin"):
            yield key, value.decode("latin-1")
            continue
        for part in value.split(b","):  # several values may have been joined on the way
            yield key, _unbase64(part)


def _unbase64(text: bytes) -> bytes:
    """Base64 with or without its padding (PROTOCOL, Custom-Metadata)."""
    text = text.strip()
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise Refused(
            "INTERNAL", "a metadata value whose name ends in -bin is no base64"
        ) from error


def _timeout_s(value: bytes | None) -> float:
    if value is None:
        return math.inf
    match = _TIMEOUT.fullmatch(value.decode("latin-1"))
    if match is None:
        allowed = "1 to 8 digits and one of H, M, S, m, u, n"
        raise Refused("INVALID_ARGUMENT", f"grpc-timeout is malformed; allowed: {allowed}")
    return int(match[1]) * _UNITS_S[match[2]]


def frame(message: bytes) -> bytes:
    """A message as it travels, uncompressed."""
    return _PREFIX.pack(0, len(message)) + message


def goaway(code: int) -> bytes:
    """A GOAWAY frame (RFC 9113, 6.8), for where libnghttp2 makes none any more."""
    return _GOAWAY.pack(0, 8, 7, 0, 0, _LAST_STREAM, code)


class Messages:
    """Takes the bytes of one direction of a call, in whatever pieces, and gives its messages."""

    __slots__ = ("_buffer", "_encoding", "_limit")

    def __init__(self, encoding: str, limit: int) -> None:
        self._encoding = encoding
        self._limit = limit
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes of the message that is not complete yet, with its prefix."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now.

        Raises:
            Refused: one is larger than allowed, also uncompressed, or cannot be decompressed.
        """
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        while len(buffer) >= PREFIX_BYTES:
            flag, size = _PREFIX.unpack_from(buffer)
            _check_size(size, self._limit)
            if len(buffer) < PREFIX_BYTES + size:
                break
            message = bytes(memoryview(buffer)[PREFIX_BYTES : PREFIX_BYTES + size])
            del buffer[: PREFIX_BYTES + size]
            found.append(message if flag == 0 else self._decompress(flag, message))
        return found

    def _decompress(self, flag: int, message: bytes) -> bytes:
        if flag != 1 or self._encoding == "identity":
            raise Refused("INTERNAL", "a message is marked as compressed without a grpc-encoding")
        decompressor = zlib.decompressobj(ENCODINGS[self._encoding])
        try:
            plain = decompressor.decompress(message, self._limit + 1)
        except zlib.error as error:
            raise Refused("INTERNAL", f"a message is not {self._encoding}") from error
        _check_size(len(plain), self._limit)
        if not decompressor.eof:
            raise Refused("INTERNAL", f"a message is not {self._encoding}: it ends too early")
        return plain


def sole_message(body: bytes, limit: int) -> bytes | None:
    """The message where `body` is exactly one, not compressed: what nearly all calls send."""
    if len(body) < PREFIX_BYTES:
        return None
    flag, size = _PREFIX.unpack_from(body)
    if flag or size != len(body) - PREFIX_BYTES or size > limit:
        return None
    return body[PREFIX_BYTES:]


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        text = f"a message of {size} bytes is larger than the largest allowed one, {limit}"
        raise Refused("RESOURCE_EXHAUSTED", text)


def trailers_of(error: Exception) -> list[tuple[bytes, bytes]]:
    """The status of an error; what is neither Refused nor a TwofoldError is INTERNAL."""
    if isinstance(error, Refused):
        return _status(error.code, error.message)
    if not isinstance(error, TwofoldError):
        error = Internal()
    details = base64.b64encode(to_status(error).SerializeToString()).rstrip(b"=")
    return [*_status(error.code, error.message), (DETAILS_KEY.encode(), details)]


def refusal_of(error: Exception) -> list[tuple[bytes, bytes]]:
    """An answer without a message: headers that are trailers, too (PROTOCOL, Trailers-Only)."""
    http_status = error.http_status if isinstance(error, Refused) else 200
    trailers = trailers_of(error)
    return [(b":status", str(http_status).encode()), _CONTENT_TYPE, _ACCEPTED, *trailers]


def _status(code: str, message: str) -> list[tuple[bytes, bytes]]:
    number = str(code_pb2.Code.Value(code)).encode()
    return [(b"grpc-status", number), (b"grpc-message", quote(message, safe=_PLAIN).encode())]

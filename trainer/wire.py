"""Messages between a supervisor and its child: a 4-byte little-endian length, then protobuf.

Both ends are of one release and trust each other; the limit only keeps a defect from turning into
an allocation of gigabytes.
"""

import asyncio
import socket
import struct
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

#: Largest message in bytes; a manifest with long vocabularies stays far below it.
LIMIT_BYTES = 64 << 20
_LENGTH = struct.Struct("<I")

Received = TypeVar("Received", bound=Message)


class WireError(Exception):
    """The other end broke the framing: cut, too long or no such message."""


def read_message(stream: socket.socket, kind: type[Received]) -> Received | None:
    """The next message, or None at the end of the stream; blocks. Raises WireError."""
    prefix = _read_exactly(stream, _LENGTH.size)
    if not prefix:
        return None
    size_bytes = _size_of(prefix)
    body = _read_exactly(stream, size_bytes)
    return _parse(kind, body, size_bytes)


def write_message(stream: socket.socket, message: Message) -> None:
    """Sends a message; blocks until the kernel has all of it. Raises WireError, OSError."""
    stream.sendall(encode(message))


async def read_message_async(reader: asyncio.StreamReader, kind: type[Received]) -> Received | None:
    """`read_message` for asyncio."""
    prefix = await _read_exactly_async(reader, _LENGTH.size)
    if not prefix:
        return None
    size_bytes = _size_of(prefix)
    body = await _read_exactly_async(reader, size_bytes)
    return _parse(kind, body, size_bytes)


async def write_message_async(writer: asyncio.StreamWriter, message: Message) -> None:
    """`write_message` for asyncio; waits while the other end is slow."""
    writer.write(encode(message))
    await writer.drain()


def encode(message: Message) -> bytes:
    """The message with its length in front; raises WireError above LIMIT_BYTES."""
    body = message.SerializeToString()
    if len(body) > LIMIT_BYTES:
        raise WireError(f"message of {len(body)} bytes; at most {LIMIT_BYTES} are allowed")
    return _LENGTH.pack(len(body)) + body


def _size_of(prefix: bytes) -> int:
    if len(prefix) < _LENGTH.size:
        raise WireError("the stream ended within a message")
    (size_bytes,) = _LENGTH.unpack(prefix)
    if size_bytes > LIMIT_BYTES:
        raise WireError(f"message of {size_bytes} bytes; at most {LIMIT_BYTES} are allowed")
    return int(size_bytes)


def _parse(kind: type[Received], body: bytes, size_bytes: int) -> Received:
    if len(body) < size_bytes:
        raise WireError("the stream ended within a message")
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise WireError(f"not a {kind.__name__}") from error


def _read_exactly(stream: socket.socket, size_bytes: int) -> bytes:
    """`size_bytes` bytes, or fewer at the end of the stream."""
    parts: list[bytes] = []
    missing = size_bytes
    while missing and (part := stream.recv(min(missing, 1 << 20))):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


async def _read_exactly_async(reader: asyncio.StreamReader, size_bytes: int) -> bytes:
    """`_read_exactly` for asyncio."""
    try:
        return await reader.readexactly(size_bytes)
    except asyncio.IncompleteReadError as error:
        return error.partial

"""Calls that are wrong as gRPC, in an HTTP/2 that is right.

Source: PROTOCOL-HTTP2.md of gRPC and RFC 9113, section 8. Where these leave a choice, or grpcio
takes another, a row names what each transport may do.
"""

import gzip
import tracemalloc
import zlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

import pytest

from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY
from tests.inferer.conformance.transports import MAX_MESSAGE_BYTES, Running
from tests.inferer.conformance.wire import connected

ECHO = UNARY + "Echo"


class Row(NamedTuple):
    """What is changed of a call's fields, and the outcomes (see Wire.outcome) that are right."""

    changes: Mapping[str, str | None]
    native: Collection[str]
    grpcio: Collection[str]

    def allowed(self, transport: str) -> Collection[str]:
        return self.native if transport == "native" else self.grpcio


# A malformed request ends its stream (RFC 9113, 8.1.1), or says what is wrong with it.
_MALFORMED = ("reset PROTOCOL_ERROR", "http 400")
# grpcio has several ways to say so; some of its calls are never answered ("nothing").
_BROKEN = ("reset INTERNAL_ERROR", "status INTERNAL")
_UNHEARD = ("nothing", "status INTERNAL")
_UNKNOWN = ("status UNIMPLEMENTED",)
_SERVED = ("status OK",)
_FIELDS: Mapping[str, Row] = {
    "no path": Row({":path": None}, _MALFORMED, _BROKEN),
    "an empty path": Row({":path": ""}, (*_MALFORMED, *_UNKNOWN), _UNKNOWN),
    "a path without a slash": Row({":path": "test.Unary"}, (*_MALFORMED, *_UNKNOWN), _UNKNOWN),
    "an unknown method": Row({":path": UNARY + "Nothing"}, _UNKNOWN, _UNKNOWN),
    "an unknown service": Row({":path": "/no.Such/Call"}, _UNKNOWN, _UNKNOWN),
    "no method": Row({":method": None}, _MALFORMED, _BROKEN),
    "GET": Row({":method": "GET"}, ("http 405", *_MALFORMED), _BROKEN),
    "no scheme": Row({":scheme": None}, _MALFORMED, _BROKEN),
    "an unknown pseudo-field": Row({":odd": "1"}, _MALFORMED, _BROKEN),
    "a field of answers": Row({":status": "200"}, _MALFORMED, _SERVED),
    # The specification wants it in requests only to find proxies that do not know it.
    "no te": Row({"te": None}, (*_SERVED, *_MALFORMED), _BROKEN),
    "another te": Row({"te": "gzip"}, _MALFORMED, _BROKEN),
    "a field of HTTP/1.1": Row({"connection": "keep-alive"}, _MALFORMED, _SERVED),
    "an uppercase name": Row({"X-Upper": "1"}, _MALFORMED, _BROKEN),
    # SHOULD be 415; grpcio serves whatever comes.
    "no content-type": Row({"content-type": None}, ("http 415",), _SERVED),
    "another content-type": Row({"content-type": "text/plain"}, ("http 415",), _SERVED),
    "nearly the content-type": Row({"content-type": "application/grpcx"}, ("http 415",), _SERVED),
    "gRPC for browsers": Row({"content-type": "application/grpc-web"}, ("http 415",), _SERVED),
    "an unknown encoding": Row({"grpc-encoding": "snappy"}, _UNKNOWN, ("nothing", *_UNKNOWN)),
    "a bad base64": Row({"odd-bin": "!"}, ("status INTERNAL", *_MALFORMED), _UNHEARD),
}
_BAD_TIMEOUTS = ("", "1", "S", "-1S", "+1S", "1.5S", "123456789S", "1x", "1 S", "1SS", "٣S", "0x1S")


@pytest.mark.parametrize("name", _FIELDS)
async def test_fields_of_a_call(server: Running, name: str) -> None:
    row = _FIELDS[name]
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, ECHO, b"abc", row.changes))

        allowed = row.allowed(server.name)
        assert await wire.outcome(1, allowed) in allowed


async def test_an_unknown_encoding_is_told_what_there_is(server: Running) -> None:
    """By grpcio in all its answers but this one, which it never gives."""
    encoding = "snappy" if server.name == "native" else "gzip"
    async with connected(server.address) as wire:
        exchange = await wire.call(1, ECHO, b"abc", {"grpc-encoding": encoding})

    fields = exchange.headers | exchange.trailers
    offered = fields["grpc-accept-encoding"].replace(" ", "").split(",")
    assert {"identity", "gzip", "deflate"} <= set(offered)


@pytest.mark.parametrize("value", _BAD_TIMEOUTS)
async def test_a_malformed_timeout_is_refused_or_none(server: Running, value: str) -> None:
    """Never a deadline of its own making: no answer says that one has passed."""
    allowed = {
        "native": ("status INTERNAL", "status INVALID_ARGUMENT", *_MALFORMED),
        "grpcio": (*_UNHEARD, "status OK"),
    }
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, ECHO, b"abc", {"grpc-timeout": value}))

        assert await wire.outcome(1, allowed[server.name]) in allowed[server.name]


@pytest.mark.parametrize("value", ["99999999H", "10S", "5000m", "9000000u", "99999999n", "1M"])
async def test_a_timeout_may_have_any_unit(server: Running, value: str) -> None:
    async with connected(server.address) as wire:
        assert (await wire.call(1, ECHO, b"abc", {"grpc-timeout": value})).status in {
            "OK",
            *(["DEADLINE_EXCEEDED"] if value.endswith("n") else []),  # 0.1 s on a busy machine
        }


@pytest.mark.parametrize("path", [UNARY + "Slow", STREAM + "Deaf"])
@pytest.mark.parametrize("value", ["50m", "1n", "0S"])
async def test_a_deadline_ends_a_call_on_both_sides(server: Running, path: str, value: str) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, path, b"abc", {"grpc-timeout": value}))
        # grpcio resets the stream instead: its own clients have given up by then.
        allowed = {
            "native": ("status DEADLINE_EXCEEDED",),
            "grpcio": ("status DEADLINE_EXCEEDED", "reset CANCEL", "reset NO_ERROR"),
        }
        assert await wire.outcome(1) in allowed[server.name]
    await wait_until_idle(server)


async def wait_until_idle(server: Running) -> None:
    """No call runs any more, although nobody let it go on."""
    async with connected(server.address) as wire:
        while not await server.application.is_idle():
            await wire.sync()


class Body(NamedTuple):
    """The bytes of a unary call's body, with the fields that go with them."""

    payload: bytes
    native: Collection[str]
    grpcio: Collection[str]
    encoding: str | None = None

    def allowed(self, transport: str) -> Collection[str]:
        return self.native if transport == "native" else self.grpcio

    def streamed(self, transport: str) -> Collection[str]:
        """Of a stream: to grpcio what is cut off is the end."""
        return [*self.allowed(transport), *(_SERVED if "nothing" in self.grpcio else [])]


def _packed(content: bytes, *, flag: int = 1) -> bytes:
    return frames.message(gzip.compress(content), flag=flag)


_BOMB = gzip.compress(bytes(64 << 20))
_INTERNAL = ("status INTERNAL",)
_TOO_LONG = ("status RESOURCE_EXHAUSTED",)
_BODIES: Mapping[str, Body] = {
    "no message": Body(b"", ("status INTERNAL", "status UNIMPLEMENTED"), _UNHEARD),
    "two messages": Body(
        frames.message(b"abc") * 2, ("status INTERNAL", "status UNIMPLEMENTED"), _SERVED
    ),
    "a prefix cut off": Body(b"\0\0\0", _INTERNAL, _UNHEARD),
    "a message cut off": Body(frames.message(b"abc")[:-1], _INTERNAL, _UNHEARD),
    "bytes after the message": Body(frames.message(b"abc") + b"\0", _INTERNAL, _SERVED),
    "a length that lies": Body(b"\0\xff\xff\xff\xff" + b"abc", _TOO_LONG, _TOO_LONG),
    "a flag of 2": Body(frames.message(b"abc", flag=2), _INTERNAL, (*_UNHEARD, *_SERVED)),
    "compressed without an encoding": Body(frames.message(b"abc", flag=1), _INTERNAL, _INTERNAL),
    "compressed as identity": Body(
        frames.message(b"abc", flag=1), _INTERNAL, _INTERNAL, encoding="identity"
    ),
    "gzip": Body(_packed(b"abc"), _SERVED, _SERVED, encoding="gzip"),
    "deflate": Body(
        frames.message(zlib.compress(b"abc"), flag=1), _SERVED, _SERVED, encoding="deflate"
    ),
    "gzip, this message plain": Body(frames.message(b"abc"), _SERVED, _SERVED, encoding="gzip"),
    "gzip of nothing": Body(_packed(b""), _SERVED, _SERVED, encoding="gzip"),
    "no gzip": Body(frames.message(b"abc", flag=1), _INTERNAL, _INTERNAL, encoding="gzip"),
    "gzip cut off": Body(
        frames.message(gzip.compress(b"abc" * 99)[:-9], flag=1),
        _INTERNAL,
        _INTERNAL,
        encoding="gzip",
    ),
    "deflate said, gzip sent": Body(_packed(b"abc"), _INTERNAL, _INTERNAL, encoding="deflate"),
    # 64 KiB that become 64 MiB.
    "a bomb": Body(
        frames.message(_BOMB, flag=1),
        _TOO_LONG,
        _TOO_LONG,
        encoding="gzip",
    ),
}


@pytest.mark.parametrize("path", [ECHO, UNARY + "Tasked"])
@pytest.mark.parametrize("name", _BODIES)
async def test_bodies_of_a_unary_call(server: Running, name: str, path: str) -> None:
    body = _BODIES[name]
    fields = frames.request_fields(path, {"grpc-encoding": body.encoding})
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, fields))
        await wire.upload(1, body.payload)

        allowed = body.allowed(server.name)
        assert await wire.outcome(1, allowed) in allowed
        # The connection goes on.
        assert (await wire.call(3, ECHO)).messages == [b"abc"]


@pytest.mark.parametrize("name", ["a prefix cut off", "no gzip", "a bomb", "a flag of 2"])
async def test_bodies_of_a_stream(server: Running, name: str) -> None:
    """The messages before the wrong one are answered."""
    body = _BODIES[name]
    fields = frames.request_fields(STREAM + "Echo", {"grpc-encoding": body.encoding})
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, fields), frames.data(1, frames.message(b"first")))
        await wire.until(lambda: bool(wire.exchange(1).body))
        await wire.upload(1, body.payload)

        allowed = body.streamed(server.name)
        assert await wire.outcome(1, allowed) in allowed
        messages = wire.exchange(1).messages
        # Of a flag that is none, grpcio makes something.
        assert messages == [b"first"] or (server.name == "grpcio" and messages[0] == b"first")
        assert (await wire.call(3, ECHO)).messages == [b"abc"]


@pytest.mark.parametrize("path", [ECHO, STREAM + "Echo"])
@pytest.mark.parametrize(("extra", "status"), [(0, "OK"), (1, "RESOURCE_EXHAUSTED")])
@pytest.mark.parametrize("is_packed", [False, True])
async def test_the_limit_counts_the_message_itself(
    server: Running, path: str, extra: int, status: str, *, is_packed: bool
) -> None:
    content = bytes(MAX_MESSAGE_BYTES + extra)
    payload = _packed(content) if is_packed else frames.message(content)
    fields = frames.request_fields(path, {"grpc-encoding": "gzip" if is_packed else None})
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, fields))
        await wire.upload(1, payload)
        exchange = await wire.ended(1)
        assert (await wire.call(3, ECHO)).messages == [b"abc"]

    assert exchange.status == status
    assert len(exchange.messages) == (status == "OK")


@pytest.mark.parametrize("path", [ECHO, STREAM + "Echo"])
async def test_a_message_too_long_is_refused_by_its_prefix(server: Running, path: str) -> None:
    """Before its bytes are here."""
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(path)))
        await wire.send(frames.data(1, frames.message(bytes(MAX_MESSAGE_BYTES + 1))[:100]))

        assert await wire.outcome(1) == "status RESOURCE_EXHAUSTED"


async def test_a_bomb_is_not_unpacked_first(server: Running) -> None:
    """What Python holds at most; of grpcio's own memory nothing is seen here."""
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(ECHO, {"grpc-encoding": "gzip"})))
        tracemalloc.start()
        try:
            await wire.upload(1, frames.message(_BOMB, flag=1))
            assert await wire.outcome(1) == "status RESOURCE_EXHAUSTED"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 8 << 20

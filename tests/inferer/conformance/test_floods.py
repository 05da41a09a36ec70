"""Callers that send too much of what costs them little: they are stopped, or it costs us little."""

import asyncio
import contextlib
import gc
import struct
from collections.abc import Collection, Mapping
from typing import NamedTuple

import pytest

from inferer.transport import grpcio
from inferer.transport.native import bounds
from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY
from tests.inferer.conformance.frames import MAX_CONCURRENT_STREAMS
from tests.inferer.conformance.transports import Running, serving
from tests.inferer.conformance.wire import Wire, connected
from tests.waiting import until

ECHO = UNARY + "Echo"
#: Of a connection, and of a server.
STREAMS, CONNECTIONS = 1024, 512
#: A stream too many. Which one nobody can know before the limit was told (RFC 9113, 5.1.2).
REFUSED = {
    "native": ("reset REFUSED_STREAM", "status RESOURCE_EXHAUSTED"),
    "grpcio": ("reset REFUSED_STREAM", "reset ENHANCE_YOUR_CALM"),
}
_CALM = ("goaway ENHANCE_YOUR_CALM",)
#: Ended, with whatever reason; "closed": what was not read took the reason with it.
_STOPPED = (*_CALM, "goaway PROTOCOL_ERROR", "goaway INTERNAL_ERROR", "closed")
_SERVED = ("status OK",)
_EITHER = (*_STOPPED, "served")
_OPEN = frames.headers(1, frames.request_fields(STREAM + "Echo"))
_HEADERS = frames.encoded(frames.request_fields(ECHO))


#: A stream after all others.
_LAST = 1_000_001


class Flood(NamedTuple):
    """What is sent once, then `times` times in chunks, without reading in between."""

    first: bytes
    again: bytes
    times: int
    #: What may have become of the connection; "served": it still answers.
    native: Collection[str]
    grpcio: Collection[str]

    def allowed(self, transport: str) -> Collection[str]:
        return self.native if transport == "native" else self.grpcio


_FLOODS: Mapping[str, Flood] = {
    # CVE-2019-9512: each asks for an answer.
    "pings": Flood(b"", frames.ping(), 20_000, _STOPPED, _STOPPED),
    # CVE-2019-9515.
    "settings": Flood(b"", frames.settings(), 20_000, _EITHER, ("served",)),
    "settings with content": Flood(b"", frames.settings({4: 70_000}), 20_000, _EITHER, ("served",)),
    # CVE-2019-9518.
    "empty data": Flood(_OPEN, frames.data(1, b""), 20_000, _EITHER, _EITHER),
    "empty continuations": Flood(
        frames.headers(1, _HEADERS[:9], done=False),
        frames.continuation(1, b"", done=False),
        20_000,
        _STOPPED,
        _STOPPED,
    ),
    # VU#421644: fields without end.
    "long continuations": Flood(
        frames.headers(1, _HEADERS[:9], done=False),
        frames.continuation(1, frames.encoded([("x", "y" * 4000)]), done=False),
        2000,
        (*_STOPPED, "goaway COMPRESSION_ERROR"),
        _STOPPED,
    ),
    # CVE-2019-9516.
    "fields without names": Flood(
        frames.headers(1, _HEADERS, done=False),
        frames.continuation(1, b"\x00\x00\x00" * 1000, done=False),
        500,
        _STOPPED,
        _STOPPED,
    ),
    # CVE-2019-9513.
    "priorities": Flood(b"", frames.priority(5, 3), 20_000, _EITHER, ("served",)),
    "small windows": Flood(_OPEN, frames.window(0, 1), 20_000, _EITHER, ("served",)),
    "unknown frames": Flood(b"", frames.frame(0xFA, 0, 0), 20_000, _EITHER, ("served",)),
    "acknowledgements": Flood(b"", frames.ping(ack=True), 20_000, _EITHER, ("served",)),
}


async def became(wire: Wire) -> str:
    """Of the connection: "served" where it answers a call."""
    await wire.send(frames.request(_LAST, ECHO))
    outcome = await wire.outcome(_LAST)
    return "served" if outcome == "status OK" else outcome


@pytest.mark.parametrize("name", _FLOODS)
async def test_floods(server: Running, name: str) -> None:
    flood = _FLOODS[name]
    async with connected(server.address) as wire:
        await wire.send(flood.first)
        for _ in range(20):
            await wire.send(flood.again * (flood.times // 20))
            await asyncio.sleep(0)
        # While it goes on, others are served.
        async with connected(server.address) as other:
            assert (await other.call(1, ECHO)).messages == [b"abc"]

        assert await became(wire) in flood.allowed(server.name)


# grpcio makes coroutines of calls that it never begins.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_rapid_resets(server: Running) -> None:
    """CVE-2023-44487: streams that are reset at once are no streams to any limit of concurrency."""
    async with connected(server.address) as wire:
        for begin in range(1, 6001, 600):
            await wire.send(
                *(
                    frames.request(stream, UNARY + "Slow") + frames.reset(stream)
                    for stream in range(begin, begin + 600, 2)
                )
            )
        outcome = await became(wire)

    # grpcio goes on or not, but what they began has ended.
    assert (
        outcome
        in {
            "native": _STOPPED,
            "grpcio": (*_EITHER, "reset ENHANCE_YOUR_CALM"),
        }[server.name]
    )
    await until(server.application.is_idle)
    gc.collect()


async def test_a_hundred_cancelled_calls_are_no_flood(server: Running) -> None:
    async with connected(server.address) as wire:
        for stream in range(1, 201, 2):
            await wire.send(frames.request(stream, UNARY + "Slow"))
        await until(lambda: server.application.has_begun(100))
        await wire.send(*(frames.reset(stream) for stream in range(1, 201, 2)))

        await until(lambda: server.application.has_cancelled(100))
        assert await became(wire) == "served"


async def test_streams_beyond_the_limit_are_refused_one_by_one(server: Running) -> None:
    """A caller that does not know the limit yet may have sent more: the others are served."""
    async with connected(server.address) as wire:
        wire.acknowledges = False
        opened = range(1, 2 * (STREAMS + 50), 2)
        await wire.send(*(frames.request(stream, UNARY + "Slow") for stream in opened))

        async def is_sorted_out() -> bool:
            await wire.sync()
            refused = sum(wire.exchange(stream).is_over for stream in opened)
            return len(server.application.calls) + refused == len(opened)

        await until(is_sorted_out)
        assert wire.settings[MAX_CONCURRENT_STREAMS] == STREAMS
        begun = server.application.running
        # On a machine with too much to do, grpcio refuses more.
        assert begun == STREAMS or (server.name == "grpcio" and 0 < begun <= STREAMS)

        server.application.release.set()
        outcomes = [await wire.outcome(stream) for stream in opened]
    assert outcomes.count("status OK") == begun
    assert set(outcomes) - {"status OK"} <= set(REFUSED[server.name])


async def test_streams_beyond_a_known_limit_are_refused(server: Running) -> None:
    async with connected(server.address) as wire:
        await wire.sync()
        opened = range(1, 2 * STREAMS, 2)
        await wire.send(*(frames.request(stream, UNARY + "Slow") for stream in opened))
        await until(lambda: server.application.has_begun(STREAMS))
        await wire.send(frames.request(2 * STREAMS + 1, UNARY + "Slow"))

        assert await wire.outcome(2 * STREAMS + 1) in (
            *REFUSED[server.name],
            *(["goaway PROTOCOL_ERROR"] if server.name == "native" else []),
        )
        assert server.application.running <= STREAMS


_TOO_LONG = ("status RESOURCE_EXHAUSTED", "reset ENHANCE_YOUR_CALM", "http 431")
# A server that stops in the middle of a block cannot go on with the connection's next one.
_CUT_OFF = (*_STOPPED, "goaway COMPRESSION_ERROR")


@pytest.mark.parametrize(
    ("length", "native", "grpcio"),
    [
        (15_000, _SERVED, _SERVED),
        # grpcio tells its limit of 16 KiB; it does not hold to it those who send more all the same.
        (17_000, _TOO_LONG, (*_TOO_LONG, *_SERVED)),
        (70_000, (*_TOO_LONG, *_CUT_OFF), (*_TOO_LONG, *_CUT_OFF, *_SERVED)),
        (700_000, (*_TOO_LONG, *_CUT_OFF), (*_TOO_LONG, *_CUT_OFF, *_SERVED)),
    ],
)
async def test_fields_beyond_the_limit_are_refused(
    server: Running, length: int, native: Collection[str], grpcio: Collection[str]
) -> None:
    # A text that HPACK makes no shorter.
    block = _HEADERS + b"\x00\x06x-long" + hpack_length(length) + b"y" * length
    pieces = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, pieces[0], done=len(pieces) == 1))
        for index, piece in enumerate(pieces[1:], 2):
            await wire.send(frames.continuation(1, piece, done=index == len(pieces)))
        await wire.send(frames.data(1, frames.message(b"abc"), end=True))

        outcome = await wire.outcome(1)
        assert outcome in {"native": native, "grpcio": grpcio}[server.name]
    assert bool(server.application.calls) == (outcome == "status OK")


def hpack_length(length: int) -> bytes:
    """A length in HPACK's integers with a prefix of 7 bits (RFC 7541, 5.1)."""
    rest, found = length - 0x7F, [0x7F]
    while rest >= 0x80:
        found.append(rest % 0x80 | 0x80)
        rest >>= 7
    return bytes([*found, rest])


async def test_fields_that_are_small_only_on_the_wire_are_refused(server: Running) -> None:
    """16,000 references of a byte each to one field of 3,900: 62 MB."""
    # Kept in the table (RFC 7541, 6.2.1), where it is number 62.
    indexed = _HEADERS + b"\x40\x01x" + hpack_length(3900) + b"y" * 3900
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, indexed, done=False))
        await wire.send(frames.continuation(1, b"\xbe" * 16_000, done=True))
        await wire.send(frames.data(1, frames.message(b"abc"), end=True))

        assert await wire.outcome(1) in (
            *_TOO_LONG,
            *_CUT_OFF,
        )
    assert not server.application.calls


async def test_a_few_pings_are_answered_with_what_they_carry(server: Running) -> None:
    async with connected(server.address) as wire:
        for number in (1, 2):
            payload = struct.pack(">Q", number)
            await wire.send(frames.ping(payload))
            await wire.until(lambda payload=payload: wire.has_ponged(payload))
            assert wire.has_ponged(payload)
            assert (await wire.call(2 * number - 1, ECHO)).status == "OK"


async def test_pings_one_after_another_are_too_many(server: Running) -> None:
    """Each waits for its answer, so that it is no flood by volume: gRFC A8 counts them."""
    async with connected(server.address) as wire:
        for number in range(10):
            payload = struct.pack(">Q", number)
            await wire.send(frames.ping(payload))
            await wire.until(lambda payload=payload: wire.has_ponged(payload) or bool(wire.goaways))
        await wire.end()

        assert wire.goaways == [0xB]  # ENHANCE_YOUR_CALM


async def test_answers_between_them_make_pings_harmless(server: Running) -> None:
    """As those of clients that measure the bandwidth: one ping with each request."""
    async with connected(server.address) as wire:
        for stream in range(1, 61, 2):
            await wire.send(frames.ping())
            assert (await wire.call(stream, ECHO)).status == "OK"

        assert not wire.goaways


@pytest.mark.slow
async def test_who_says_nothing_is_hung_up_on(server: Running) -> None:
    """After 5 s, with half a preface too."""
    async with (
        connected(server.address, greets=False) as silent,
        connected(server.address, greets=False) as halfway,
    ):
        await halfway.send(frames.PREFACE[:10])
        await asyncio.gather(silent.until(lambda: False, 20), halfway.until(lambda: False, 20))

        assert silent.is_closed
        assert halfway.is_closed


async def test_calls_beyond_the_limit_of_all_connections_are_refused(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And taken again when others have ended, however."""
    monkeypatch.setattr(bounds, "MAX_CALLS", 3)
    monkeypatch.setattr(grpcio, "MAX_CONCURRENT_RPCS", 3)
    async with (
        serving(transport) as server,
        connected(server.address) as wire,
        connected(server.address) as other,
    ):
        await wire.send(frames.request(1, UNARY + "Slow"))
        await wire.send(frames.headers(3, frames.request_fields(STREAM + "Deaf")))
        await other.send(frames.request(1, UNARY + "Slow"))
        await until(lambda: server.application.has_begun(3))
        assert (await other.call(3, ECHO)).status == "RESOURCE_EXHAUSTED"
        assert len(server.application.calls) == 3

        await wire.send(frames.reset(1), frames.reset(3))
        await until(lambda: server.application.has_cancelled(2))
        for stream in (5, 7, 9):
            assert (await other.call(stream, ECHO)).status == "OK"


async def test_connections_beyond_the_limit_are_hung_up_on(server: Running) -> None:
    """The others are served, and whoever comes when they have left."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            wire = await stack.enter_async_context(connected(server.address))
            assert (await wire.call(1, ECHO)).status == "OK"
        async with connected(server.address) as extra:
            await extra.send(frames.request(1, ECHO))
            assert await extra.outcome(1) == "closed"

"""How long callers of the native transport may take for what they do.

The clock is set forward, and the server looks every millisecond instead of every second, so that
nothing waits for long.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from inferer.transport.native import bounds
from inferer.transport.native import server as native_server
from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY
from tests.inferer.conformance.frames import INITIAL_WINDOW_SIZE
from tests.inferer.conformance.insides import (
    SWEEP_S,
    Ahead,
    connections,
    hub_of,
    open_count,
    until_known,
)
from tests.inferer.conformance.transports import MAX_MESSAGE_BYTES, Running, serving
from tests.inferer.conformance.wire import Wire, connected
from tests.waiting import until

ECHO, SLOW = UNARY + "Echo", UNARY + "Slow"
LAST_STREAM, WINDOW_MAX = 2**31 - 1, 2**31 - 1


@pytest.fixture
def transport() -> str:
    return "native"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Ahead:
    monkeypatch.setattr(native_server, "_SWEEP_S", SWEEP_S)
    return Ahead()


def last_streams(wire: Wire) -> list[int]:
    """The last stream that each GOAWAY says is served."""
    return [seen.last_stream_id for seen in wire.seen if isinstance(seen, frames.GoAwayFrame)]


@pytest.mark.parametrize("said", [b"", frames.PREFACE[:10], frames.PREFACE])
async def test_who_does_not_greet_in_time_is_hung_up_on(
    server: Running, clock: Ahead, said: bytes
) -> None:
    async with connected(server.address, greets=False) as silent, connected(server.address) as wire:
        await silent.send(said)
        await wire.sync()
        await until_known(server, 2)
        await clock.passes(bounds.HANDSHAKE_S - 1)
        assert open_count(server) == 2

        await clock.passes(1.1)
        assert open_count(server) == 1
        assert await silent.rest() is not None
        assert (await wire.call(1, ECHO)).status == "OK"


async def test_who_stays_after_the_last_word_is_dropped(server: Running, clock: Ahead) -> None:
    async with connected(server.address, greets=False):
        await until_known(server, 1)
        await clock.passes(bounds.HANDSHAKE_S + 0.1)
        assert (len(connections(server)), open_count(server)) == (1, 0)

        clock.ahead_s += bounds.LINGER_S + 0.1
        await until_known(server, 0)


async def test_a_connection_that_is_not_used_ends(server: Running, clock: Ahead) -> None:
    async with connected(server.address) as wire:
        assert (await wire.call(1, ECHO)).status == "OK"
        await clock.passes(bounds.IDLE_S - 1)
        assert open_count(server) == 1
        await clock.passes(1.1)
        await wire.end()

        assert last_streams(wire) == [LAST_STREAM, 1]
        assert set(wire.goaways) == {0}


@pytest.mark.parametrize("path", [SLOW, STREAM + "Deaf"])
async def test_a_running_call_is_use_and_its_end_begins_the_time_anew(
    server: Running, clock: Ahead, path: str
) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, path))
        await until(server.application.has_begun)
        await clock.passes(bounds.IDLE_S + 1)
        server.application.release.set()
        assert (await wire.ended(1)).status == "OK"

        await clock.passes(bounds.IDLE_S - 1)
        assert (open_count(server), wire.goaways) == (1, [])
        await clock.passes(2)
        await wire.end()
        assert wire.goaways


async def test_pings_now_and_then_are_use_and_no_flood(server: Running, clock: Ahead) -> None:
    async with connected(server.address) as wire:
        gaps_s = [bounds.PING_GAP_S] * (bounds.PING_STRIKES + 1) + [bounds.IDLE_S - 1] * 2
        for number, gap_s in enumerate(gaps_s):
            await clock.passes(gap_s)
            await wire.send(frames.ping(b"%08d" % number))
            await wire.until(lambda number=number: wire.has_ponged(b"%08d" % number))

        assert (await wire.call(1, ECHO)).status == "OK"
        assert not wire.goaways


async def test_an_old_connection_asks_its_caller_to_go_elsewhere(
    server: Running, clock: Ahead
) -> None:
    """In two steps, like a drain, and what runs is answered."""
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, SLOW))
        await until(server.application.has_begun)
        await clock.passes(bounds.AGE_S - 1)
        await wire.sync()
        assert not wire.goaways
        await clock.passes(1.1)
        await wire.until(lambda: bool(wire.goaways))
        assert (await wire.call(3, ECHO, b"on its way")).messages == [b"on its way"]

        await clock.passes(1)
        await wire.until(lambda: len(wire.goaways) >= 2)
        assert last_streams(wire) == [LAST_STREAM, 3]
        server.application.release.set()
        assert (await wire.ended(1)).status == "OK"
        await wire.end()


@pytest.mark.parametrize("path", [SLOW, STREAM + "Deaf"])
async def test_calls_of_an_old_connection_have_a_while_to_end(
    server: Running, clock: Ahead, path: str
) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, path))
        await until(server.application.has_begun)
        await clock.passes(bounds.AGE_S + 1)
        await clock.passes(bounds.AGE_GRACE_S - 1)
        assert server.application.running == 1
        await clock.passes(2)
        exchange = await wire.ended(1)
        await wire.end()

    assert exchange.status == "UNAVAILABLE"
    await until(server.application.is_idle)
    assert server.application.cancelled == 1


@pytest.mark.parametrize("path", [ECHO, STREAM + "Listen"])
@pytest.mark.parametrize("length", [1, 4, 40])
async def test_a_call_whose_message_does_not_arrive_is_ended(
    server: Running, clock: Ahead, path: str, length: int
) -> None:
    """Its caller stays, and the rest of the connection with it."""
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(path)))
        await wire.send(frames.data(1, frames.message(bytes(100))[:length]))
        await wire.sync()
        await clock.looked(int(bounds.STALL_S / 2))
        assert len(hub_of(server).connections) == 1
        assert not wire.exchange(1).is_over
        exchange = await wire.ended(1)

        assert exchange.status == "DEADLINE_EXCEEDED"
        assert "did not arrive" in exchange.headers["grpc-message"]
        await wire.until(lambda: exchange.reset is not None)
        assert (await wire.call(3, ECHO)).status == "OK"
    await until(server.application.is_idle)


async def test_a_call_without_a_message_is_ended(server: Running) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(ECHO)))

        assert (await wire.ended(1)).status == "DEADLINE_EXCEEDED"
    assert not server.application.calls


@pytest.mark.parametrize("path", [ECHO, STREAM + "Echo"])
async def test_a_message_may_come_slowly(server: Running, clock: Ahead, path: str) -> None:
    content = b"slowly"
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(path)))
        for byte in frames.message(content):
            await wire.send(frames.data(1, bytes([byte])))
            await clock.looked(int(bounds.STALL_S / 4))
        await wire.send(frames.data(1, b"", end=True))

        assert (await wire.ended(1)).messages == [content]


async def test_a_stream_may_be_silent_between_messages(server: Running, clock: Ahead) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Echo")))
        await wire.send(frames.data(1, frames.message(b"first")))
        await clock.looked(int(2 * bounds.STALL_S))
        await wire.send(frames.data(1, frames.message(b"second"), end=True))

        assert (await wire.ended(1)).messages == [b"first", b"second"]


async def test_a_caller_that_the_server_holds_back_is_not_slow(
    server: Running, clock: Ahead
) -> None:
    """Its stream is full of messages that the application has not taken."""
    message = frames.message(bytes(MAX_MESSAGE_BYTES))
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Deaf")))
        sent = 0
        while wire.room(1) > 0 or sent == 0:
            await wire.upload(1, message[sent % len(message) :][: wire.room(1)], end=False)
            sent = wire.sent.get(1, 0)
            for _ in range(10):
                await wire.sync()
        assert sent % len(message)
        await clock.looked(int(2 * bounds.STALL_S))
        assert not wire.exchange(1).is_over

        server.application.release.set()
        await wire.upload(1, message[sent % len(message) :])
        count = sent // len(message) + 1
        assert (await wire.ended(1)).messages == [b"%d" % count]


async def fill(wire: Wire, server: Running) -> None:
    """Asks for more than the caller's socket takes, and a call that is never answered."""
    opening = frames.headers(1, frames.request_fields(STREAM + "Talk"), end=True)
    await wire.send(frames.window(0, WINDOW_MAX - frames.WINDOW_BYTES), opening)
    await wire.send(frames.request(3, SLOW))

    async def is_full() -> bool:
        return any(connection._is_paused for connection in connections(server))

    await until(is_full)


async def test_who_does_not_read_for_a_while_is_dropped(server: Running, clock: Ahead) -> None:
    settings = {INITIAL_WINDOW_SIZE: WINDOW_MAX}
    async with connected(server.address, settings, receive_bytes=4096) as wire:
        await fill(wire, server)
        await clock.passes(bounds.STALL_S - 1)
        assert server.application.running == 2
        clock.ahead_s += 1.1
        await until_known(server, 0)

        await until(server.application.is_idle)
        assert server.application.cancelled == 2


async def test_who_reads_again_in_time_gets_everything(server: Running, clock: Ahead) -> None:
    settings = {INITIAL_WINDOW_SIZE: WINDOW_MAX}
    async with connected(server.address, settings, receive_bytes=1 << 16) as wire:
        await fill(wire, server)
        await clock.passes(bounds.STALL_S - 1)
        assert (await wire.ended(1)).status == "OK"
        await clock.passes(bounds.STALL_S + 1)
        server.application.release.set()

        assert (await wire.ended(3)).messages == [b"abc"]


@contextlib.asynccontextmanager
async def draining(clock: Ahead) -> AsyncGenerator[tuple[Running, Wire]]:
    """A server that drains, and a caller whose stream 1 is a call that runs; both end well."""
    async with serving("native", clock) as server, connected(server.address) as wire:
        await wire.send(frames.request(1, SLOW))
        await until(server.application.has_begun)
        stopping = asyncio.create_task(server.server.stop(100 * bounds.AGE_GRACE_S))
        await wire.until(lambda: bool(wire.goaways))
        yield server, wire
        server.application.release.set()
        assert (await wire.ended(1)).messages == [b"abc"]
        await wire.end()
        wire.abort()
        await stopping


async def test_a_look_between_the_steps_of_a_drain_does_not_shorten_it(clock: Ahead) -> None:
    """What is sent between them is served."""
    async with draining(clock) as (server, wire):
        del server
        await clock.looked(4)
        assert (await wire.call(3, ECHO, b"on its way")).messages == [b"on its way"]


async def test_a_drain_may_be_longer_than_the_end_of_an_old_connection(clock: Ahead) -> None:
    async with draining(clock) as (server, _):
        await clock.passes(bounds.AGE_GRACE_S + 1)
        await clock.passes(bounds.STALL_S + 1)
        assert server.application.running == 1

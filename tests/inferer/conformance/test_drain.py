"""The end of a server: whoever is being served is served, whoever comes goes elsewhere."""

import asyncio
import functools
import time

import grpc.aio
import pytest
from hyperframe.frame import GoAwayFrame

from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY
from tests.inferer.conformance.callers import AioCaller, Failure
from tests.inferer.conformance.transports import Running, make, serving
from tests.inferer.conformance.wire import Wire, connected, is_serving
from tests.waiting import until

ECHO = UNARY + "Echo"
#: More than any test takes: a drain that waits for this has failed.
GRACE_S = 30.0


def last_streams(wire: Wire) -> list[int]:
    """The last stream that each GOAWAY says is served."""
    return [seen.last_stream_id for seen in wire.seen if isinstance(seen, GoAwayFrame)]


async def is_refused(address: str) -> bool:
    """Whether a new connection is not taken, or is closed unheard."""
    try:
        return not await is_serving(address)
    except (ConnectionError, AssertionError):
        return True


async def test_running_calls_end_and_new_ones_are_not_taken(transport: str) -> None:
    async with serving(transport) as server, connected(server.address) as wire:
        await wire.send(frames.request(1, UNARY + "Slow", b"running"))
        await wire.send(frames.headers(3, frames.request_fields(STREAM + "Echo")))
        await until(lambda: server.application.has_begun(2))
        stopping = asyncio.create_task(server.server.stop(GRACE_S))
        await until(functools.partial(is_refused, server.address))
        await wire.until(lambda: len(last_streams(wire)) >= 2)
        assert wire.goaways == [0, 0]

        # What was open goes on: a message on a stream, and the end of a call.
        await wire.send(frames.data(3, frames.message(b"late"), end=True))
        assert (await wire.ended(3)).messages == [b"late"]
        assert not stopping.done()
        server.application.release.set()
        assert (await wire.ended(1)).messages == [b"running"]
        await wire.end()
        wire.abort()
        await asyncio.wait_for(stopping, 5)


async def test_the_end_comes_in_two_steps(transport: str) -> None:
    """First "no more, please", then "no more than these": calls on their way are not lost."""
    async with serving(transport) as server, connected(server.address) as wire:
        await wire.send(frames.request(1, UNARY + "Slow"))
        await until(server.application.has_begun)
        stopping = asyncio.create_task(server.server.stop(GRACE_S))
        await wire.until(lambda: bool(wire.goaways))
        assert last_streams(wire) == [2**31 - 1]
        await wire.send(frames.request(3, ECHO, b"on its way"))
        exchange = await wire.ended(3)
        if transport == "native":
            assert exchange.messages == [b"on its way"]
        else:  # grpcio takes it and refuses it; its clients repeat neither
            assert exchange.outcome in ("status UNAVAILABLE", "status CANCELLED")
        await wire.until(lambda: len(wire.goaways) >= 2)
        assert last_streams(wire) == [2**31 - 1, 3]

        # One that is later is not served, and not half. grpcio, which closes at once when the last
        # call has ended, may lose its answer by what it has not read.
        if transport == "native":
            await wire.send(frames.request(5, ECHO, b"too late"))
        server.application.release.set()
        assert (await wire.ended(1)).status == "OK"
        await wire.end()
        assert not wire.exchange(5).body
        assert len(server.application.calls) == (2 if transport == "native" else 1)
        wire.abort()
        await stopping


async def test_a_connection_without_calls_ends_at_once(transport: str) -> None:
    async with serving(transport) as server, connected(server.address) as wire:
        assert (await wire.call(1, ECHO)).status == "OK"
        begun_s = time.monotonic()
        stopping = asyncio.create_task(server.server.stop(GRACE_S))
        await wire.end()
        wire.abort()
        await stopping

        assert time.monotonic() - begun_s < GRACE_S / 3
        assert set(wire.goaways) == {0}


@pytest.mark.slow  # grpcio waits for what it takes as a handshake, 5 s
async def test_a_connection_that_never_spoke_does_not_hold_up_the_end(transport: str) -> None:
    async with serving(transport) as server, connected(server.address, greets=False):
        await asyncio.wait_for(server.server.stop(GRACE_S), GRACE_S / 2)


@pytest.mark.parametrize("path", [UNARY + "Slow", STREAM + "Deaf"])
async def test_calls_that_do_not_end_are_cancelled_after_the_grace(
    transport: str, path: str
) -> None:
    async with serving(transport) as server, connected(server.address) as wire:
        await wire.send(frames.request(1, path))
        await until(server.application.has_begun)
        stopping = asyncio.create_task(server.server.stop(0.2))
        await wire.until(lambda: wire.exchange(1).is_over)
        await wire.end()
        await stopping

        # One to repeat elsewhere.
        assert (
            wire.exchange(1).outcome
            in {
                "native": ("status UNAVAILABLE",),
                "grpcio": ("status UNAVAILABLE", "status CANCELLED"),
            }[transport]
        )
        await until(server.application.is_idle)
        assert server.application.cancelled == 1


async def test_without_grace_everything_ends_now(transport: str) -> None:
    async with serving(transport) as server, connected(server.address) as wire:
        await wire.send(*(frames.request(stream, UNARY + "Slow") for stream in (1, 3, 5)))
        await until(lambda: server.application.has_begun(3))
        await asyncio.wait_for(server.server.stop(0), 5)
        await wire.end()

        await until(server.application.is_idle)
        assert server.application.cancelled == 3


async def test_a_server_stops_once(transport: str) -> None:
    async with serving(transport) as server:
        await server.server.stop(0)
        await server.server.stop(0)
    await make(transport, server.application).stop(0)


async def test_a_port_in_use_is_an_error(server: Running) -> None:
    other = make(server.name, server.application)
    with pytest.raises(OSError, match=f"cannot listen on {server.address}"):
        await other.start(server.address)

    await other.stop(0)


async def test_callers_move_to_another_server_without_a_failure(transport: str) -> None:
    """grpcio's own client with both addresses and no retries, and never a moment without calls."""
    async with serving(transport) as first, serving(transport) as second:
        target = f"ipv4:{first.address},{second.address}"
        async with grpc.aio.insecure_channel(target) as channel:
            caller = AioCaller(channel)
            moved = asyncio.Event()
            callers = [asyncio.create_task(_call_until(caller, moved)) for _ in range(8)]
            await until(lambda: first.application.has_begun(50))
            assert not second.application.calls
            await first.server.stop(GRACE_S)
            await until(lambda: second.application.has_begun(50))
            moved.set()
            answered = await asyncio.gather(*callers)

    failed = {failure for failures, _ in answered for failure in failures}
    # grpcio cancels calls that it took from the wire and had not begun.
    allowed = {"native": (), "grpcio": ("CANCELLED", "UNAVAILABLE")}[transport]
    assert [text for text in failed if not text.startswith(allowed)] == []
    calls = len(first.application.calls) + len(second.application.calls)
    assert calls + sum(len(failures) for failures, _ in answered) == sum(
        count for _, count in answered
    )


async def _call_until(caller: AioCaller, moved: asyncio.Event) -> tuple[list[str], int]:
    """What failed, and how many calls there were."""
    failures, count = list[str](), 0
    while not moved.is_set():
        count += 1
        try:
            await caller.unary(UNARY + "Tasked", b"%d" % count)
        except Failure as failure:
            failures.append(str(failure))
    return failures, count

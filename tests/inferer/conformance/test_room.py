"""How much callers of the native transport may leave lying about: messages, calls, answers.

How many pings, resets, streams and connections are too many: test_floods.
"""

import pytest

from inferer.transport.native import bounds
from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY, huge
from tests.inferer.conformance.frames import INITIAL_WINDOW_SIZE
from tests.inferer.conformance.insides import hub_of, until_known
from tests.inferer.conformance.transports import MAX_MESSAGE_BYTES, Running
from tests.inferer.conformance.wire import connected
from tests.waiting import until

ECHO, SLOW, HUGE = UNARY + "Echo", UNARY + "Slow", UNARY + "Huge"


@pytest.fixture
def transport() -> str:
    return "native"


@pytest.mark.parametrize("first", [ECHO, STREAM + "Echo"])
@pytest.mark.parametrize("second", [ECHO, STREAM + "Echo"])
async def test_messages_on_their_way_share_a_bound(
    server: Running, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    """Of all connections together, whatever the calls."""
    monkeypatch.setattr(bounds, "MAX_BUFFERED_BYTES", 100_000)
    content = huge(60_000)
    message = frames.message(content)
    async with connected(server.address) as wire, connected(server.address) as other:
        await wire.send(frames.headers(1, frames.request_fields(first)))
        await wire.upload(1, message[:-1], end=False)
        await wire.sync()
        await other.send(frames.headers(1, frames.request_fields(second)))
        await other.upload(1, message[:-1], end=False)
        exchange = await other.ended(1)
        assert exchange.status == "RESOURCE_EXHAUSTED"
        assert "on their way" in exchange.headers["grpc-message"]

        await wire.upload(1, message[-1:])
        assert (await wire.ended(1)).messages == [content]
        await other.send(frames.headers(3, frames.request_fields(second)))
        await other.upload(3, message)
        assert (await other.ended(3)).messages == [content]
    assert hub_of(server)._buffered == 0


async def test_messages_that_a_stream_has_not_taken_count_too(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_BUFFERED_BYTES", 100_000)
    message = frames.message(huge(60_000))
    async with connected(server.address) as wire, connected(server.address) as other:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Deaf")))
        await wire.upload(1, message, end=False)
        await wire.sync()
        await other.send(frames.headers(1, frames.request_fields(ECHO)))
        await other.upload(1, message[:-1], end=False)
        assert (await other.ended(1)).status == "RESOURCE_EXHAUSTED"

        server.application.release.set()
        await until(lambda: has_consumed(server, 1))
        await other.send(frames.headers(3, frames.request_fields(ECHO)))
        await other.upload(3, message[:-1], end=False)
        await other.upload(3, message[-1:])
        assert (await other.ended(3)).messages == [huge(60_000)]


async def has_consumed(server: Running, count: int) -> bool:
    """Whether streams have taken so many messages."""
    return server.application.consumed >= count


async def test_of_a_stream_that_is_refused_nothing_is_kept(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its application does not know yet, and however much more comes."""
    monkeypatch.setattr(bounds, "MAX_BUFFERED_BYTES", 50_000)
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Deaf")))
        await wire.upload(1, frames.message(huge(MAX_MESSAGE_BYTES))[:-1], end=False)
        await wire.sync()
        assert hub_of(server)._buffered == 0

        server.application.release.set()
        assert (await wire.ended(1)).status == "RESOURCE_EXHAUSTED"


_CUT = frames.message(bytes(5_000))[:-1]
_ENDS = {
    "whole": frames.data(1, b"x", end=True),
    "reset": frames.reset(1),
    "cut off": frames.data(1, b"", end=True),
    "another message too long": frames.data(1, b"x\x00\xff\xff\xff\xff", end=True),
    "a broken rule": frames.settings({frames.MAX_FRAME_SIZE: 1}),
}


@pytest.mark.parametrize("path", [SLOW, STREAM + "Deaf"])
@pytest.mark.parametrize("name", _ENDS)
async def test_however_a_call_ends_its_bytes_and_its_place_are_free_again(
    server: Running, path: str, name: str
) -> None:
    hub = hub_of(server)
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(path)) + frames.data(1, _CUT))
        await wire.sync()
        assert (hub._buffered, hub.call_count) == (len(_CUT), 1)
        server.application.release.set()
        await wire.send(_ENDS[name])

        async def is_free() -> bool:
            return (hub._buffered, hub.call_count) == (0, 0)

        await until(is_free)


async def test_a_caller_that_leaves_takes_its_bytes_and_calls_along(server: Running) -> None:
    hub = hub_of(server)
    async with connected(server.address) as wire:
        for stream, path in ((1, ECHO), (3, STREAM + "Echo")):
            await wire.send(frames.headers(stream, frames.request_fields(path)))
            await wire.send(frames.data(stream, _CUT))
        await wire.sync()
        assert (hub._buffered, hub.call_count) == (2 * len(_CUT), 2)
    await until_known(server, 0)

    assert (hub._buffered, hub.call_count) == (0, 0)


async def test_who_does_not_take_answers_gets_no_more_of_them(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until they are taken; others are served meanwhile."""
    monkeypatch.setattr(bounds, "ANSWERS_BYTES", 1 << 20)
    length = 600_000
    settings = {INITIAL_WINDOW_SIZE: 0}
    async with connected(server.address, settings) as wire, connected(server.address) as other:
        wire.refills = False
        for stream in (1, 3):
            await wire.send(frames.request(stream, HUGE, b"%d" % length))
            await wire.until(lambda stream=stream: bool(wire.exchange(stream).headers))
        await wire.send(frames.request(5, ECHO))
        exchange = await wire.ended(5)
        assert exchange.status == "RESOURCE_EXHAUSTED"
        assert "read them first" in exchange.headers["grpc-message"]
        assert (await other.call(1, HUGE, b"%d" % length)).messages == [huge(length)]

        await wire.send(
            frames.window(0, 4 * length), frames.settings({INITIAL_WINDOW_SIZE: length + 5})
        )
        for stream in (1, 3):
            assert (await wire.ended(stream)).messages == [huge(length)]
        assert (await wire.call(7, ECHO)).messages == [b"abc"]


async def test_answers_that_wait_share_a_bound(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes theirs is served all the same."""
    monkeypatch.setattr(bounds, "ALL_ANSWERS_BYTES", 1 << 20)
    ask, closed = frames.request(1, HUGE, b"600000"), {INITIAL_WINDOW_SIZE: 0}
    async with connected(server.address, closed) as wire, connected(server.address) as other:
        async with connected(server.address, closed) as third:
            for one in (wire, third):
                await one.send(ask)
                await one.until(lambda one=one: bool(one.exchange(1).headers))
            assert (await wire.call(3, ECHO)).status == "RESOURCE_EXHAUSTED"
            assert (await third.call(3, ECHO)).status == "RESOURCE_EXHAUSTED"
            assert (await other.call(1, HUGE, b"600000")).messages == [huge(600_000)]
        await until_known(server, 2)

        # What one left behind is free; what the other has not taken is below the bound.
        await wire.send(frames.request(5, UNARY + "Fail", b"full"))
        assert (await wire.ended(5)).headers["grpc-message"] == "10 rows wait"
        await wire.send(frames.settings({INITIAL_WINDOW_SIZE: 1 << 20}))
        assert (await wire.ended(1)).messages == [huge(600_000)]
        assert (await wire.call(7, ECHO)).messages == [b"abc"]
    await until_known(server, 0)
    assert hub_of(server)._backlog == 0

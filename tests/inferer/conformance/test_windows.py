"""Flow control: what may be in flight both ways, and who waits for whom (RFC 9113, 5.2)."""

import asyncio

import pytest

from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, TALK_BYTES, TALK_MESSAGES, UNARY, huge
from tests.inferer.conformance.frames import INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE
from tests.inferer.conformance.transports import MAX_MESSAGE_BYTES, Running
from tests.inferer.conformance.wire import Wire, connected
from tests.waiting import until

ECHO = UNARY + "Echo"
HUGE = UNARY + "Huge"
LENGTH = 200_000
#: What a server may hold of one stream, made for a caller that takes nothing or sent to a call that
#: reads nothing: windows, buffers and the message at hand. Talk would make 32 MiB.
HELD_BYTES = 8 << 20
_WINDOW_MAX = 2**31 - 1


async def is_steady(wire: Wire, server: Running) -> None:
    """Returns once what streams make no longer grows; the server answers meanwhile."""
    before = -1
    while before != server.application.produced:
        before = server.application.produced
        for _ in range(20):
            await wire.sync()


async def test_without_a_window_no_data_comes_and_with_one_all(server: Running) -> None:
    async with connected(server.address, {INITIAL_WINDOW_SIZE: 0}) as wire:
        wire.refills = False
        await wire.send(frames.request(1, HUGE, b"%d" % LENGTH))
        await wire.until(lambda: bool(wire.exchange(1).headers))
        await wire.sync()
        assert not wire.exchange(1).body
        await wire.send(frames.window(1, LENGTH + 5), frames.window(0, LENGTH))

        exchange = await wire.ended(1)
        assert exchange.messages == [huge(LENGTH)]
        assert exchange.status == "OK"


async def test_a_window_that_opens_by_settings_counts(server: Running) -> None:
    async with connected(server.address, {INITIAL_WINDOW_SIZE: 0}) as wire:
        await wire.send(frames.request(1, HUGE, b"1000"))
        await wire.sync()
        assert not wire.exchange(1).body
        await wire.send(frames.settings({INITIAL_WINDOW_SIZE: 600}))
        await wire.until(lambda: len(wire.exchange(1).body) >= 600)
        assert len(wire.exchange(1).body) == 600

        await wire.send(frames.settings({INITIAL_WINDOW_SIZE: 100_000}))
        assert (await wire.ended(1)).messages == [huge(1000)]


async def test_a_window_that_shrinks_below_zero_holds_data_back(server: Running) -> None:
    async with connected(server.address, {INITIAL_WINDOW_SIZE: 1000}) as wire:
        wire.refills = False
        await wire.send(frames.request(1, HUGE, b"2000"))
        await wire.until(lambda: len(wire.exchange(1).body) >= 1000)
        # Of 1,000 sent, 0 may be: the window is -1,000, and 1,001 more let one byte pass.
        await wire.send(frames.settings({INITIAL_WINDOW_SIZE: 0}), frames.window(1, 1001))
        await wire.until(lambda: len(wire.exchange(1).body) >= 1001)
        await wire.sync()
        assert len(wire.exchange(1).body) == 1001

        await wire.send(frames.window(1, 5000))
        assert (await wire.ended(1)).messages == [huge(2000)]


async def test_a_window_of_single_bytes_is_kept(server: Running) -> None:
    async with connected(server.address, {INITIAL_WINDOW_SIZE: 1}) as wire:
        await wire.send(frames.request(1, HUGE, b"100"))
        exchange = await wire.ended(1)

    assert exchange.messages == [huge(100)]
    sizes = [found.body_len for found in wire.seen if found.type == 0x0 and found.body_len]
    assert sizes == [1] * 105


async def test_one_stream_without_a_window_does_not_hold_up_another(server: Running) -> None:
    async with connected(server.address, {INITIAL_WINDOW_SIZE: 10}) as wire:
        wire.refills = False
        await wire.send(frames.request(1, HUGE, b"1000"))
        await wire.until(lambda: len(wire.exchange(1).body) >= 10)

        assert (await wire.call(3, ECHO, b"abc")).messages == [b"abc"]
        assert len(wire.exchange(1).body) == 10


async def test_the_connection_has_a_window_too(server: Running) -> None:
    async with connected(server.address, {INITIAL_WINDOW_SIZE: _WINDOW_MAX}) as wire:
        wire.refills = False
        await wire.send(frames.request(1, HUGE, b"%d" % LENGTH))
        await wire.until(lambda: len(wire.exchange(1).body) >= frames.WINDOW_BYTES)
        await wire.sync()
        assert len(wire.exchange(1).body) == frames.WINDOW_BYTES
        # The answer to another call has headers, which take no window.
        await wire.send(frames.request(3, UNARY + "Fail", b"full"))
        assert (await wire.ended(3)).status == "RESOURCE_EXHAUSTED"

        await wire.send(frames.window(0, LENGTH))
        assert (await wire.ended(1)).messages == [huge(LENGTH)]


async def test_frames_are_no_larger_than_the_caller_takes(server: Running) -> None:
    async with connected(server.address, {MAX_FRAME_SIZE: frames.FRAME_BYTES}) as wire:
        exchange = await wire.call(1, HUGE, b"%d" % LENGTH)

    assert exchange.messages == [huge(LENGTH)]
    assert max(found.body_len for found in wire.seen) <= frames.FRAME_BYTES


@pytest.mark.parametrize("path", [ECHO, STREAM + "Echo"])
async def test_a_large_request_gets_the_window_it_needs(server: Running, path: str) -> None:
    content = huge(MAX_MESSAGE_BYTES)
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(path)))
        await wire.upload(1, frames.message(content))
        exchange = await wire.ended(1)

    assert exchange.messages == [content]


async def test_what_failed_calls_took_of_the_connections_window_comes_back(
    server: Running,
) -> None:
    """5 MB through a window of 64 KiB that all calls of the connection share."""
    content = frames.message(bytes(60_000))
    async with connected(server.address) as wire:
        for stream in range(1, 121, 6):
            await wire.send(frames.headers(stream, frames.request_fields("/no.Such/Call")))
            await wire.upload(stream, content)
            assert (await wire.ended(stream)).status == "UNIMPLEMENTED"
            await wire.send(frames.headers(stream + 2, frames.request_fields(UNARY + "Slow")))
            await wire.upload(stream + 2, content[:-1], end=False)
            await wire.send(frames.reset(stream + 2))
            await wire.send(frames.headers(stream + 4, frames.request_fields(STREAM + "Deaf")))
            await wire.upload(stream + 4, content[:20_000], end=False)
            await wire.send(frames.reset(stream + 4))

        await wire.until(lambda: wire.room(0) > frames.WINDOW_BYTES // 4)
        assert (await wire.call(999, ECHO)).messages == [b"abc"]


async def test_a_caller_without_a_window_stops_a_stream(server: Running) -> None:
    async with connected(server.address) as wire:
        wire.refills = False
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Talk"), end=True))
        await wire.until(lambda: len(wire.exchange(1).body) >= frames.WINDOW_BYTES)
        await is_steady(wire, server)

        assert server.application.produced * TALK_BYTES <= HELD_BYTES
        assert len(wire.exchange(1).body) == frames.WINDOW_BYTES


async def test_a_caller_that_reads_nothing_stops_its_streams(server: Running) -> None:
    """Its windows are open, its socket's buffer is full."""
    settings = {INITIAL_WINDOW_SIZE: _WINDOW_MAX}
    async with connected(server.address, settings, receive_bytes=4096) as wire:
        opening = frames.headers(1, frames.request_fields(STREAM + "Talk"), end=True)
        await wire.send(frames.window(0, _WINDOW_MAX - frames.WINDOW_BYTES), opening)
        await until(server.application.has_begun)
        produced = [-1]

        async def is_still() -> bool:
            produced.append(server.application.produced)
            return len(set(produced[-20:])) == 1

        await until(is_still)
        # The kernel's own buffers take some on top: 4 MiB by default.
        assert server.application.produced * TALK_BYTES <= HELD_BYTES + (8 << 20)
        assert (await _echoed(server.address)) == [b"abc"]


async def _echoed(address: str) -> list[bytes]:
    async with connected(address) as other:
        return (await other.call(1, ECHO)).messages


async def test_a_slow_caller_gets_all_of_a_stream(server: Running) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Talk"), end=True))
        exchange = await wire.ended(1)

    assert len(exchange.body) == TALK_MESSAGES * (TALK_BYTES + 5)
    assert exchange.status == "OK"


async def test_a_call_that_reads_nothing_stops_its_caller(server: Running) -> None:
    piece = frames.message(bytes(frames.FRAME_BYTES - 5))
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Deaf")))
        sent = 0
        while wire.sent.get(1, 0) <= HELD_BYTES:
            for _ in range(10):
                await wire.sync()
            if wire.room(1) < len(piece):
                break
            await wire.upload(1, piece, end=False)
            sent += 1
        assert 1 <= sent <= HELD_BYTES // len(piece)
        # Another stream of the connection still gets as much through as it likes.
        await wire.send(frames.headers(3, frames.request_fields(ECHO)))
        await wire.upload(3, frames.message(huge(MAX_MESSAGE_BYTES)))
        assert (await wire.ended(3)).messages == [huge(MAX_MESSAGE_BYTES)]

        # And this one goes on when its messages are taken, with nothing else to wake the server.
        await wire.sync()
        server.application.release.set()
        await wire.until(lambda: wire.room(1) >= len(piece))
        await wire.upload(1, piece)
        assert (await wire.ended(1)).messages == [b"%d" % (sent + 1)]


@pytest.mark.parametrize("length", [0, 1, 16_379, 16_380, 65_530, 65_531, 100_000])
async def test_answers_of_any_length_fit_the_initial_windows(server: Running, length: int) -> None:
    async with connected(server.address) as wire:
        exchange = await wire.call(1, HUGE, b"%d" % length)

    assert exchange.messages == [huge(length)]


async def test_huge_answers_on_one_connection_share_it(server: Running) -> None:
    async with connected(server.address) as wire:
        streams = range(1, 33, 2)
        await wire.send(*(frames.request(stream, HUGE, b"%d" % LENGTH) for stream in streams))
        exchanges = [await wire.ended(stream) for stream in streams]

    assert [exchange.messages == [huge(LENGTH)] for exchange in exchanges] == [True] * 16


async def test_many_connections_are_served_side_by_side(server: Running) -> None:
    async def one(number: int) -> list[bytes]:
        async with connected(server.address) as wire:
            return (await wire.call(1, ECHO, b"%d" % number)).messages

    answers = await asyncio.gather(*(one(number) for number in range(64)))

    assert answers == [[b"%d" % number] for number in range(64)]

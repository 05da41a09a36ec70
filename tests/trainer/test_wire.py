"""Messages between a supervisor and its child: whole, or an error that says what broke."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import wire
from trainer.wire import WireError
from twofold.internal.v1 import child_pb2

Ends = tuple[socket.socket, socket.socket]
CUT = "ended within a message"


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def make_event(text: str) -> child_pb2.ChildEvent:
    return child_pb2.ChildEvent(failed=child_pb2.ChildFailed(message=text))


async def read_async(*parts: bytes) -> child_pb2.ChildEvent | None:
    """Reads from a stream of these bytes, ended."""
    reader = asyncio.StreamReader()
    for part in parts:
        reader.feed_data(part)
    reader.feed_eof()
    return await wire.read_message_async(reader, child_pb2.ChildEvent)


def read_sync(*parts: bytes) -> child_pb2.ChildEvent | None:
    one, other = socket.socketpair()
    with one, other:
        for part in parts:
            one.sendall(part)
        one.shutdown(socket.SHUT_WR)
        return wire.read_message(other, child_pb2.ChildEvent)


def test_messages_arrive_in_order_and_then_the_end(ends: Ends) -> None:
    sent = [make_event(text) for text in ("a", "", "b" * 5_000)]
    for event in sent:
        wire.write_message(ends[0], event)
    ends[0].close()

    received = [wire.read_message(ends[1], child_pb2.ChildEvent) for _ in range(4)]

    assert received == [*sent, None]


def test_a_message_larger_than_every_buffer_arrives(ends: Ends) -> None:
    event = make_event("x" * (3 << 20))
    sender = threading.Thread(target=wire.write_message, args=(ends[0], event))
    sender.start()

    received = wire.read_message(ends[1], child_pb2.ChildEvent)

    sender.join()
    assert received == event


async def test_both_ends_speak_the_same(ends: Ends) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=ends[0])
    try:
        await wire.write_message_async(writer, make_event("there"))
        assert wire.read_message(ends[1], child_pb2.ChildEvent) == make_event("there")

        wire.write_message(ends[1], make_event("back"))
        ends[1].close()
        assert await wire.read_message_async(reader, child_pb2.ChildEvent) == make_event("back")
        assert await wire.read_message_async(reader, child_pb2.ChildEvent) is None
    finally:
        writer.close()
        await writer.wait_closed()


def test_the_length_is_in_front_and_little_endian() -> None:
    body = make_event("a").SerializeToString()

    assert wire.encode(make_event("a")) == len(body).to_bytes(4, "little") + body
    assert wire.encode(child_pb2.ChildEvent()) == bytes(4)


@given(size_bytes=st.integers(0, 30), missing_bytes=st.integers(1, 10))
def test_a_cut_message_is_told_from_an_end(size_bytes: int, missing_bytes: int) -> None:
    """Also where just the body is missing, and is as long as a length."""
    whole = wire.encode(make_event("x" * size_bytes))
    cut = whole[: max(0, len(whole) - missing_bytes)]

    if not cut:
        return
    with pytest.raises(WireError, match=CUT):
        read_sync(cut)
    with pytest.raises(WireError, match=CUT):
        asyncio.run(read_async(cut))


@pytest.mark.parametrize("body_bytes", [1, 4, 5])
async def test_a_stream_that_ends_after_a_length_is_cut(body_bytes: int) -> None:
    prefix = body_bytes.to_bytes(4, "little")

    with pytest.raises(WireError, match=CUT):
        read_sync(prefix)
    with pytest.raises(WireError, match=CUT):
        await read_async(prefix)


async def test_an_end_is_no_error() -> None:
    assert read_sync() is None
    assert await read_async() is None


async def test_an_empty_message_is_a_message() -> None:
    assert read_sync(bytes(4)) == child_pb2.ChildEvent()
    assert await read_async(bytes(4)) == child_pb2.ChildEvent()


async def test_a_length_beyond_the_limit_is_refused_before_memory_is_taken() -> None:
    prefix = (wire.LIMIT_BYTES + 1).to_bytes(4, "little")

    with pytest.raises(WireError, match="message of 67108865 bytes; at most 67108864"):
        read_sync(prefix)
    with pytest.raises(WireError, match="message of 67108865 bytes; at most 67108864"):
        await read_async(prefix)


def test_no_message_beyond_the_limit_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    size_bytes = len(make_event("abc").SerializeToString())
    monkeypatch.setattr(wire, "LIMIT_BYTES", size_bytes)
    wire.encode(make_event("abc"))

    with pytest.raises(WireError, match=f"at most {size_bytes} are allowed"):
        wire.encode(make_event("abcd"))


async def test_what_is_no_such_message_is_refused() -> None:
    junk = (3).to_bytes(4, "little") + b"\xff\xff\xff"

    with pytest.raises(WireError, match="not a ChildEvent"):
        read_sync(junk)
    with pytest.raises(WireError, match="not a ChildEvent"):
        await read_async(junk)

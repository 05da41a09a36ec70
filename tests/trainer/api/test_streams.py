"""Streams are bounded per principal and end when the server drains."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from trainer.api.streams import StreamSlots, until
from twofold.errors import LimitExceeded, Unavailable
from twofold.principal import LOCAL, Principal


def test_slots_are_counted_per_principal_and_freed() -> None:
    slots = StreamSlots(1, "max_watch_streams", "close one")
    other = Principal("local", "other")
    with slots.taken_by(LOCAL):
        with pytest.raises(LimitExceeded) as caught, slots.taken_by(LOCAL):
            pass
        with slots.taken_by(other):
            pass
    with slots.taken_by(LOCAL):
        pass

    assert caught.value.fields["limit"] == "max_watch_streams"
    assert caught.value.message == "1 streams are open; close one"


class Source:
    def __init__(self, count: int) -> None:
        self.count = count
        self.is_closed = False

    async def items(self) -> AsyncIterator[int]:
        try:
            for number in range(self.count):
                yield number
            if self.count == 1:
                await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def test_all_items_pass() -> None:
    source = Source(3)

    assert [number async for number in until(asyncio.Event(), source.items())] == [0, 1, 2]
    assert source.is_closed


async def test_a_drain_ends_the_stream_and_its_source() -> None:
    source, stop = Source(1), asyncio.Event()
    items = until(stop, source.items())
    assert await anext(items) == 0
    stop.set()

    with pytest.raises(Unavailable, match="last cursor"):
        await anext(items)
    assert source.is_closed

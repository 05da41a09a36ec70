import asyncio
import math
from collections import Counter
from collections.abc import Callable

import pytest

from inferer.turns import INLINE_BUDGET_S, InlineTurns, Share, Turns
from tests.inferer.fakes import FakeThread


class Thread:
    """The engine's thread, and versions that always have a batch for it."""

    def __init__(self) -> None:
        self.turns = Turns(FakeThread())
        self.order: list[str] = []
        self._end: Callable[[], None] = lambda: None
        self._shares: dict[str, Share] = {}

    def join(self, name: str, batch_s: float, count: int = 1_000_000) -> None:
        """A version whose batches take so long, and how many it has."""
        share = self._shares.setdefault(name, Share())
        left = iter(range(count - 1))

        def run() -> None:
            self.order.append(name)
            is_last = next(left, None) is None
            self._end = lambda: self.turns.leave(share, batch_s, None if is_last else run)

        self.turns.take(share, run)

    async def run(self, batches: int) -> None:
        for _ in range(batches):
            self._end()
            await asyncio.sleep(0)


async def test_equals_alternate() -> None:
    thread = Thread()
    for name in "abc":
        thread.join(name, 1.0)

    await thread.run(8)

    assert "".join(thread.order) == "abcabcabc"


async def test_long_batches_get_no_more_time_than_short_ones() -> None:
    thread = Thread()
    thread.join("long", 1.0)
    thread.join("short", 0.01)

    await thread.run(1010)

    count = Counter(thread.order)
    assert count["long"] == pytest.approx(10, abs=1)
    assert count["short"] == pytest.approx(1000, abs=1)


async def test_who_was_idle_saves_nothing_up_and_waits_for_one_batch_of_each() -> None:
    thread = Thread()
    thread.join("a", 1.0)
    thread.join("b", 1.0)
    await thread.run(100)
    before = len(thread.order)

    thread.join("new", 1.0)
    await thread.run(30)

    since = thread.order[before:]
    assert since.index("new") <= 2
    count = Counter(since)
    assert count.keys() == {"a", "b", "new"}
    assert max(count.values()) - min(count.values()) <= 1


async def test_a_thread_that_was_idle_begins_anew() -> None:
    """Who had it for long, alone, owes nobody."""
    thread = Thread()
    thread.join("a", 100.0, count=2)
    await thread.run(2)
    assert not thread.turns.is_taken

    thread.join("b", 1.0)
    thread.join("a", 1.0)
    await thread.run(8)

    assert "".join(thread.order) == "aa" + "ba" * 4 + "b"


class Loop:
    """Versions that have a batch for the loop in every turn."""

    def __init__(self) -> None:
        self.inline = InlineTurns()
        self.order: list[str] = []

    def version(self, name: str, seconds: float, count: int) -> None:
        left = iter(range(count))

        def act() -> float:
            self.order.append(name)
            if next(left, None) is not None:
                self.inline.soon(act)
            return seconds

        self.inline.soon(act)


async def test_a_turn_of_the_loop_has_a_batch_of_each_version_at_most() -> None:
    loop = Loop()
    loop.version("a", 0.0, 9)
    loop.version("b", 0.0, 9)

    await asyncio.sleep(0)
    assert loop.order == ["a", "b"]
    await asyncio.sleep(0)
    assert loop.order == ["a", "b"] * 2


async def test_many_versions_together_hold_the_loop_up_no_longer_than_one() -> None:
    loop = Loop()
    for name in "abcdef":
        loop.version(name, INLINE_BUDGET_S / 2, 9)

    seen: list[int] = []
    for _ in range(6):
        await asyncio.sleep(0)
        seen.append(len(loop.order))

    assert seen == [2, 4, 6, 8, 10, 12]
    assert "".join(loop.order) == "abcdef" * 2


async def test_one_that_fails_takes_nobody_with_it() -> None:
    loop = Loop()
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failed.append(context.get("exception"))
    )

    def fail() -> float:
        raise RuntimeError

    acts: list[Callable[[], float]] = [fail, lambda: len(loop.order.append("b") or "")]
    for act in acts:
        loop.inline.soon(act)
    for _ in range(3):
        await asyncio.sleep(0)

    assert loop.order == ["b"]
    assert len(failed) == 1


async def test_who_left_the_thread_keeps_it_busy_no_longer() -> None:
    turns, share = Turns(FakeThread()), Share()
    turns.take(share, lambda: None)
    turns.busy_until_s = 5.0

    turns.leave(share, 1.0)

    assert turns.busy_until_s == -math.inf

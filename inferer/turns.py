"""Who computes when: no version keeps the others waiting, on the engine's thread or on the loop.

A batch is never interrupted, so that fairness is about who is next. All of it is called on the
event loop's thread.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

#: So long batches run on the event loop before it looks at its connections again.
INLINE_BUDGET_S = 0.001


class Share:
    """What one version had of the engine's thread; see Turns."""

    __slots__ = ("finished_s", "started_s")

    def __init__(self) -> None:
        # On the scale of Turns, which is seconds of work and not of a clock.
        self.started_s = 0.0
        self.finished_s = 0.0


class Turns:
    """The engine's thread, which versions take in turns, one batch each.

    Who waits for its turn has not cut its batch yet: it grows meanwhile, and what runs out of time
    or is cancelled never runs. The next is who had the least of the thread while it had work, so
    that a version with long batches gets no more time than one with short ones, and who was idle
    saves nothing up. Source: start-time fair queueing (Goyal, Vin, Cheng 1996): who had no more
    than the others waits for one batch of each of them at most, beside the one that runs.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.inline = InlineTurns()
        self.is_taken = False
        #: Not before this (Clock.monotonic_s) will the batch end that runs now, as far as is known.
        self.busy_until_s = -math.inf
        # Start of the turn that is taken, or the end of the last one, on the scale of Share.
        self._now_s = 0.0
        self._order = 0
        self._waiting: list[tuple[float, int, Share, Callable[[], None]]] = []

    def take(self, share: Share, act: Callable[[], None]) -> None:
        """Calls `act` when it is its turn, now if nobody has it; `act` must `leave` in the end."""
        if self.is_taken:
            self._wait(share, act)
        else:
            self.is_taken = True
            self._begin(max(self._now_s, share.finished_s), share)
            act()

    def _wait(self, share: Share, act: Callable[[], None]) -> None:
        self._order += 1
        start_s = max(self._now_s, share.finished_s)
        heapq.heappush(self._waiting, (start_s, self._order, share, act))

    def _begin(self, start_s: float, share: Share) -> None:
        self._now_s = share.started_s = start_s

    def leave(self, share: Share, spent_s: float, again: Callable[[], None] | None = None) -> None:
        """Lets the next one have its turn; this one took so long, and wants another (`again`)."""
        share.finished_s = share.started_s + spent_s
        self.busy_until_s = -math.inf
        if again is not None:
            self._wait(share, again)
        if self._waiting:
            start_s, _, following, act = heapq.heappop(self._waiting)
            self._begin(start_s, following)
            asyncio.get_running_loop().call_soon(act)
        else:
            self.is_taken = False
            self._now_s = max(self._now_s, share.finished_s)


class InlineTurns:
    """Batches that run on the event loop itself: each version one in its turn, in order.

    After INLINE_BUDGET_S of them the loop looks at its connections again, so that neither one model
    nor many together hold up what arrives, is cancelled, or goes to the engine's thread.
    """

    def __init__(self) -> None:
        self._waiting = deque[Callable[[], float]]()
        self._is_scheduled = False

    def soon(self, act: Callable[[], float]) -> None:
        """Calls `act` in the loop's next turn, or in a later one; it returns the seconds it took.

        Not at once: every request that is readable in this turn of the loop joins its batch.
        """
        self._waiting.append(act)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        left_s, waiting = INLINE_BUDGET_S, self._waiting
        try:
            # Who comes back has had its batch in this turn of the loop.
            for _ in range(len(waiting)):
                left_s -= waiting.popleft()()
                if left_s <= 0:
                    break
        finally:  # also where one raised: the others are not to blame
            if waiting and not self._is_scheduled:
                self._schedule()

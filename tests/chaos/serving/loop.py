"""An event loop whose time jumps to the next timer, and threads that are part of it.

What goes to an executor runs on the loop too, one function at a time per executor, and its result
is delivered later: the same seed gives the same order of everything, and nothing waits.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from random import Random
from typing import TypeVar, TypeVarTuple, Unpack

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

_START_S = 1000.0


class _Jumping(selectors.SelectSelector):
    """Instead of waiting for a file, lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = _START_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. `delays_s` says how long a function takes, from the shortest to the longest."""

    def __init__(self, random: Random, delays_s: tuple[float, float]) -> None:
        self._jumping = _Jumping()
        self._random = random
        self._delays_s = delays_s
        #: Functions of this executor run at its first moment; of others, some time within theirs.
        self.prompt: Executor | None = None
        # Until when each executor is busy.
        self._busy: dict[Executor, float] = {}
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumping.now_s

    def pass_time(self, delay_s: float) -> None:
        """The thread of the loop computes for so long: nothing else happens meanwhile."""
        self._jumping.now_s += delay_s

    def run_in_executor(  # pyright: ignore[reportIncompatibleMethodOverride] - a future of ours
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Arguments]], Result],
        *args: *Arguments,
    ) -> asyncio.Future[Result]:
        """Runs `func` when the executor is free; the default one always is."""
        future: asyncio.Future[Result] = self.create_future()
        begin_s, end_s = self._when(executor)

        def run() -> None:
            if future.cancelled():  # before it began
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to the caller
                self.call_at(
                    end_s, _deliver, future, functools.partial(future.set_exception, error)
                )
            else:
                deliver = functools.partial(future.set_result, result)
                self.call_at(end_s, _deliver, future, deliver)

        if begin_s <= self.time():
            run()
        else:
            self.call_at(begin_s, run)
        return future

    def _when(self, executor: Executor | None) -> tuple[float, float]:
        """When a function runs that goes to an executor now, and when its result is there."""
        begin_s = max(self.time(), self._busy.get(executor, 0.0)) if executor else self.time()
        end_s = begin_s + self._random.uniform(*self._delays_s)
        if executor is not None:
            self._busy[executor] = end_s
        if executor is None or executor is not self.prompt:
            begin_s += (end_s - begin_s) * self._random.random()
        return begin_s, end_s


def _deliver(future: asyncio.Future[Result], deliver: Callable[[], None]) -> None:
    if not future.done():  # else the caller has left
        deliver()


class LoopClock:
    """A Clock over a loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def time_ms(self) -> int:
        """See Clock."""
        return int(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        """See Clock."""
        return self._loop.time()

    async def sleep(self, delay_s: float) -> None:
        """See Clock."""
        await asyncio.sleep(delay_s)

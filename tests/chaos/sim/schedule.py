"""Virtual time and who runs next: processes of threads, each on a greenlet of its own.

Only one thread runs at a time, and only `pause` lets another one run. What happens is a function
of the seed: time is counted, never read, and every choice is drawn from one generator.
"""

import random
import threading
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush, heappushpop
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet

from tests.chaos.sim.disk import Dead

_T = TypeVar("_T")
#: Milliseconds of the epoch at which every run begins.
EPOCH_MS = 1_700_000_000_000


class Killed(BaseException):
    """The process is dead: nothing that it still tries has any effect."""


class Process:
    """What can be killed and stopped as a whole; a new one is made for each restart."""

    def __init__(self, schedule: "Schedule", name: str) -> None:
        self.schedule = schedule
        self.name = name
        self.is_dead = False
        #: Until then it stands still, as after SIGSTOP.
        self.stopped_until_us = 0
        #: Added to the wall clock.
        self.skew_ms = 0
        #: Steps done so far, and what happens at which.
        self.step_count = 0
        self.traps: dict[int, Callable[[], None]] = {}
        #: What happens at which hit of a fault point: how many are left, and what.
        self.points: dict[str, tuple[int, Callable[[], None]]] = {}
        self.threads: list[Thread] = []

    def __repr__(self) -> str:
        return f"Process({self.name})"

    def spawn(self, act: Callable[[], object]) -> "Thread":
        """A thread that begins now."""
        thread = Thread(self, act)
        self.threads.append(thread)
        self.schedule.wake(thread)
        return thread

    def kill(self) -> None:
        """Ends it: its threads never get past where they are."""
        self.is_dead = True
        for thread in self.threads:
            if thread is not self.schedule.current:
                self.schedule.wake(thread)

    def step(self, what: str, delay_us: int) -> None:
        """A place where others may run, and where a trap may lie."""
        if self.is_dead:
            raise Killed
        self.step_count += 1
        trap = self.traps.pop(self.step_count, None) if self.traps else None
        if trap is not None:
            self.schedule.tell(self.name, f"step {self.step_count}: {what}")
            trap()
        schedule = self.schedule
        wake_us = schedule.now_us + delay_us
        if self.stopped_until_us <= wake_us and not self.is_dead:
            heap = schedule.heap
            if not heap or wake_us < heap[0][0]:
                schedule.now_us = wake_us  # as `pause`, for the many steps that nobody interrupts
                return
        schedule.pause(delay_us)

    def come_to(self, point: str) -> None:
        """A fault point of the product, where a trap may lie."""
        left, trap = self.points.pop(point, (0, _nothing))
        if left > 1:
            self.points[point] = left - 1, trap
        elif left == 1:
            self.schedule.tell(self.name, f"at {point}")
            trap()
            self.step(point, 0)


def _nothing() -> None:
    """No trap."""


class _Carrier(greenlet):
    """Runs one thread after the other: a greenlet's first switch takes as long as many steps."""

    def __init__(self, hub: greenlet) -> None:
        super().__init__(self._carry, hub)
        self.thread: Thread | None = None

    def _carry(self) -> None:
        while self.thread is not None:
            hub = self.thread.run()
            self.thread = None  # holds nothing of the run that was
            _idle.carriers.append(self)
            hub.switch()


class _Idle(threading.local):
    """Carriers that nobody uses, by the system's thread, to which greenlets are bound."""

    def __init__(self) -> None:
        self.carriers: list[_Carrier] = []


_idle = _Idle()


class Thread:
    """One of a process' threads."""

    def __init__(self, process: Process, act: Callable[[], object]) -> None:
        self.process = process
        self._act = act
        self.has_begun = False
        self.is_done = False
        #: Its turn in the schedule; an older one that is still there is void.
        self.turn = 0
        #: Who waits for its end.
        self.waiter: Thread | None = None
        idle = _idle.carriers
        self.carrier = idle.pop() if idle else _Carrier(process.schedule.hub)
        self.carrier.thread = self

    def run(self) -> greenlet:
        """Runs it, on its carrier, to its end; where to go on from there."""
        self.has_begun = True
        schedule = self.process.schedule
        try:
            self._act()
        except (Killed, Dead):
            if not self.process.is_dead:
                raise
        except Exception as error:  # noqa: BLE001 - the top of a thread
            schedule.failed(self.process, error)
        finally:
            self.is_done = True
            self.turn = 0
            if self.waiter is not None:
                schedule.wake(self.waiter)
        return schedule.hub

    def end(self) -> None:
        """Lets it end where it stands; its process must be dead."""
        if self.has_begun:
            self.carrier.throw(Killed)
        else:
            _idle.carriers.append(self.carrier)


class Schedule:
    """Runs the threads of a run, one at a time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a schedule, not a secret
        self.now_us = 0
        self.hub: greenlet = getcurrent()
        self.story: list[str] | None = None
        #: What broke in a thread and should not have: a defect of the product or of the harness.
        self.errors: list[str] = []
        #: Who waits until when, and their turn. Only the schedule changes it.
        self.heap: list[_Wait] = []
        #: Who runs. Outside of `run` that says nothing.
        self.current: Thread | None = None
        self._turn = 0

    def tell(self, who: str, what: str) -> None:
        """One line of the story, where somebody wants it."""
        if self.story is not None:
            self.story.append(f"{self.now_us / 1e6:10.6f} {who:10} {what}")

    def failed(self, process: Process, error: Exception) -> None:
        """A thread ended by an error that nobody expects."""
        self.tell(process.name, f"broke: {error!r}")
        self.errors.append(f"{process.name} broke: {type(error).__name__}: {error}")

    def wake(self, thread: Thread) -> None:
        """Lets a thread go on now, whatever it waits for."""
        if not thread.is_done:
            thread.turn = self._turn = self._turn + 1
            heappush(self.heap, (self.now_us, self._turn, thread))

    def pause(self, delay_us: int) -> None:
        """Lets others run; returns after `delay_us`, or as soon as somebody wakes this thread."""
        thread = self.current
        assert thread is not None
        process, heap = thread.process, self.heap
        wake_us = self.now_us + delay_us
        is_first = not heap or wake_us < heap[0][0]
        if is_first and process.stopped_until_us <= wake_us and not process.is_dead:
            self.now_us = wake_us  # nobody else comes before
            return
        thread.turn = self._turn = self._turn + 1
        following = self._next(heappushpop(heap, (wake_us, self._turn, thread)))
        if following is not thread:
            following.carrier.switch()
        if process.is_dead:
            raise Killed

    def running(self) -> Thread:
        """The thread that asks."""
        assert self.current is not None
        return self.current

    def join(self, thread: Thread) -> None:
        """Waits for a thread's end."""
        while not thread.is_done:
            thread.waiter = self.running()
            self.pause(3_600_000_000)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Runs until it `is_over`, which may become so only as a thread ends."""
        while self.heap and not is_over():
            # Comes back when a thread has ended; others give way to each other directly.
            self._next(heappop(self.heap)).carrier.switch()

    def _next(self, wait: "_Wait") -> Thread:
        """Whose turn it is, `wait` being the earliest; the time goes on to it."""
        while True:
            wake_us, turn, thread = wait
            if thread.turn == turn:
                process = thread.process
                if process.stopped_until_us <= wake_us or process.is_dead:
                    break
                heappush(self.heap, (process.stopped_until_us, turn, thread))
            if not self.heap:
                raise RuntimeError("nobody is left to run")
            wait = heappop(self.heap)
        self.now_us = max(self.now_us, wake_us)
        self.current = thread
        return thread

    def close(self) -> None:
        """Ends every thread that is left."""
        for process in {id(entry[2].process): entry[2].process for entry in self.heap}.values():
            process.is_dead = True
        while self.heap:
            _, turn, thread = heappop(self.heap)
            if thread.turn == turn:
                self.current = thread
                thread.end()


#: Until when who waits; of equal ones, the first to begin.
_Wait = tuple[int, int, Thread]


def drive(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine whose every wait is one of the schedule's."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("_T", end.value)
    coroutine.close()
    raise TypeError("something waits for what is not the simulation's")


class SimClock:
    """A process' clock, which may be wrong. See twofold.seams.Clock."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def time_ms(self) -> int:
        return EPOCH_MS + self._process.schedule.now_us // 1000 + self._process.skew_ms

    def monotonic_s(self) -> float:
        return self._process.schedule.now_us / 1e6

    async def sleep(self, delay_s: float) -> None:
        self._process.schedule.pause(int(delay_s * 1e6))


class SimRandomness:
    """See twofold.seams.Randomness."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def token_bytes(self, count: int) -> bytes:
        return self._source.randbytes(count)

    def uniform(self) -> float:
        return self._source.random()


async def inline(act: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:  # noqa: ANN401
    """See twofold.seams.OffLoop: here everything may block."""
    return act(*args, **kwargs)

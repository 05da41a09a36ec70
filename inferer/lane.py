"""A version's lane: its queue, its one running batch, its counts.

Everything here belongs to the event loop's thread; only `Program.run` of a slow batch is called on
the engine's thread. Small batches run inline: a thread hop costs more than they do.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from inferer.batcher import Batcher, Cut, Entry, Limits
from inferer.convert import Inputs
from inferer.statistics import Failure, Timing, VersionStatistics
from twofold import errors
from twofold.errors import TwofoldError
from twofold.seams import Clock
from twofold.tensors import Array

#: Longer batches leave the event loop: other models and connections must not wait for them.
INLINE_LIMIT_S = 0.001
#: Callers that are turned away come back after this at the earliest, 1 s at the latest.
_RETRY_AFTER_S = (0.01, 1.0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Executed:
    """A batch that ran: per request its outputs, or why it failed."""

    results: Sequence[Mapping[str, Array] | Exception]
    timing: Timing


class Program(Protocol):
    """A loaded network, ready to run batches."""

    def expected_s(self, rows: int) -> float:
        """How long a batch of so many rows is expected to take."""
        ...

    def run(self, parts: Sequence[Mapping[str, Array]]) -> Executed:
        """Runs the requests as one batch; one that fails does not fail the others."""
        ...


class Answer(NamedTuple):
    """A request's outputs, and what they took."""

    outputs: Mapping[str, Array]
    queue_ns: int
    compute_ns: int
    batch_rows: int


#: Takes what becomes of a request, once; also where its caller left while it ran.
Done = Callable[[Answer | TwofoldError], None]


@dataclass(slots=True)
class _Waiting:
    inputs: Inputs
    done: Done
    #: Tells it in time that it is late.
    alarm: asyncio.TimerHandle | None = None

    def end(self, outcome: Answer | TwofoldError) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
        self.done(outcome)


class Turns:
    """The engine's thread, which versions take in turns, one batch each.

    Who waits for its turn has not cut its batch yet: it grows meanwhile, and what runs out of time
    or is cancelled never runs.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.is_taken = False
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, act: Callable[[], None]) -> None:
        """Calls `act` when it is its turn, now if nobody has it; `act` must `leave` in the end."""
        if self.is_taken:
            self._waiting.append(act)
        else:
            self.is_taken = True
            act()

    def leave(self) -> None:
        """Lets the next one have its turn."""
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._waiting.popleft())
        else:
            self.is_taken = False


class Lane:
    """Answers the requests of one version, batch by batch."""

    def __init__(
        self, resource: str, program: Program, limits: Limits, slow: Turns, clock: Clock
    ) -> None:
        self.statistics = VersionStatistics()
        self._resource = resource
        self._program = program
        self._limits = limits
        self._slow = slow
        self._clock = clock
        self._batcher = Batcher[_Waiting](limits)
        # Or waits for its turn to.
        self._is_running = False
        # The call of _step that is scheduled, and when it is due; None: nothing is.
        self._scheduled: tuple[float, asyncio.Handle] | None = None

    def __repr__(self) -> str:
        state = "running" if self._is_running else "idle"
        return f"<Lane {self._resource} {state}, {self._batcher!r}>"

    @property
    def queue_rows(self) -> int:
        """Rows that wait."""
        return self._batcher.rows

    @property
    def queue_requests(self) -> int:
        """Requests that wait."""
        return len(self._batcher)

    def admit(self, inputs: Inputs, deadline_s: float, done: Done) -> int:
        """Queues a request; its ticket, for `withdraw`. Calls `done` later, never within.

        `done` gets the answer, or DeadlineExceeded where `deadline_s` passed before its batch was
        cut, Internal where the network failed on it, Unavailable where the engine has closed.

        Raises:
            QueueFull: no room; with a hint when to come back.
            DeadlineExceeded: `deadline_s` has passed.
        """
        now_s = self._clock.monotonic_s()
        if deadline_s <= now_s:
            self.statistics.count_refusal(Failure.DEADLINE)
            raise self._too_late()
        if not self._batcher.has_room(inputs.rows):
            self.statistics.count_refusal(Failure.QUEUE_FULL)
            raise self._full(inputs.rows)
        waiting = _Waiting(inputs, done)
        ticket = self._batcher.admit(waiting, inputs.rows, now_s, deadline_s)
        waiting.alarm = self._alarm(ticket, deadline_s - now_s)
        self._schedule()
        return ticket

    async def submit(self, inputs: Inputs, deadline_s: float) -> Answer:
        """The answer; cancelling the caller takes the request out. Raises what `admit` tells."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | TwofoldError) -> None:
            if future.done():  # cancelled while it ran
                return
            if isinstance(outcome, Answer):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        ticket = self.admit(inputs, deadline_s, done)
        try:
            return await future
        finally:
            if future.cancelled():
                self.withdraw(ticket)

    def withdraw(self, ticket: int) -> None:
        """Takes out a request whose caller left, unless it is out already."""
        if (entry := self._batcher.withdraw(ticket)) is not None:
            if entry.payload.alarm is not None:
                entry.payload.alarm.cancel()
            self._count_unanswered(entry, Failure.CANCELLED)

    def _alarm(self, ticket: int, delay_s: float) -> asyncio.TimerHandle | None:
        """Tells a request in time that it is late, where the next cut may be far away."""
        is_busy = self._is_running or self._slow.is_taken
        is_cut_near = not is_busy and not self._limits.max_queue_delay_s
        if is_cut_near or delay_s == math.inf:
            return None
        return asyncio.get_running_loop().call_later(delay_s, self._expire, ticket)

    def _expire(self, ticket: int) -> None:
        if (entry := self._batcher.withdraw(ticket)) is not None:
            self._refuse_late(entry)

    def _schedule(self) -> None:
        """Sees to it that the next batch is cut when it is due."""
        due_s = self._batcher.due_s()
        if due_s is None or self._is_running:
            return
        if self._scheduled is not None:
            scheduled_s, handle = self._scheduled
            if scheduled_s <= due_s:
                return
            handle.cancel()
        loop = asyncio.get_running_loop()
        delay_s = due_s - self._clock.monotonic_s()
        # call_soon, not now: every request that is readable in this turn of the loop joins.
        soon = delay_s <= 0
        handle = loop.call_soon(self._step) if soon else loop.call_later(delay_s, self._step)
        self._scheduled = (-math.inf if soon else due_s, handle)

    def _step(self) -> None:
        """Cuts a batch and runs it: here, or on the engine's thread when that is free."""
        self._scheduled = None
        rows = min(self._batcher.rows, self._limits.max_batch_size)
        if self._program.expected_s(rows) > INLINE_LIMIT_S:
            self._is_running = True
            self._slow.take(self._run_slow)
            return
        batch = self._cut()
        if batch:
            started_s = self._clock.monotonic_s()
            self._finish(batch, self._program.run(_parts(batch)), started_s)
        self._schedule()

    def _cut(self) -> Sequence[Entry[_Waiting]]:
        """The next batch; tells the requests that are late."""
        cut = self._batcher.cut(self._clock.monotonic_s())
        self._refuse_expired(cut)
        return cut.batch

    def _run_slow(self) -> None:
        """Runs a batch on the engine's thread; it is this lane's turn."""
        batch = self._cut()
        if not batch:
            self._end_turn()
            return
        started_s, loop = self._clock.monotonic_s(), asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(self._slow.executor, self._program.run, _parts(batch))
        except RuntimeError:  # the engine is closed
            _refuse_shutdown(batch)
            self._end_turn()
            return
        running.add_done_callback(lambda done: self._finish_slow(batch, done, started_s))

    def _end_turn(self) -> None:
        self._is_running = False
        self._slow.leave()
        self._schedule()

    def _finish_slow(
        self,
        batch: Sequence[Entry[_Waiting]],
        done: "asyncio.Future[Executed]",
        started_s: float,
    ) -> None:
        if done.cancelled():  # the engine closed before the batch began
            _refuse_shutdown(batch)
        else:
            self._finish(batch, done.result(), started_s)
        self._end_turn()

    def _finish(
        self, batch: Sequence[Entry[_Waiting]], executed: Executed, started_s: float
    ) -> None:
        rows = sum(entry.rows for entry in batch)
        self.statistics.count_batch(rows, len(batch), executed.timing)
        for entry, result in zip(batch, executed.results, strict=True):
            queue_ns = int((started_s - entry.arrival_s) * 1e9)
            self.statistics.count_queue(queue_ns)
            self._count(entry, is_success=not isinstance(result, Exception))
            if isinstance(result, Exception):
                self.statistics.failures[Failure.INTERNAL] += 1
                _log.error("batch failed", extra={"version": self._resource}, exc_info=result)
                entry.payload.end(errors.Internal())
            else:
                answer = Answer(result, queue_ns, executed.timing.compute_ns, rows)
                entry.payload.end(answer)

    def _refuse_expired(self, cut: Cut[_Waiting]) -> None:
        for entry in cut.expired:
            self._refuse_late(entry)

    def _refuse_late(self, entry: Entry[_Waiting]) -> None:
        self._count_unanswered(entry, Failure.DEADLINE)
        entry.payload.end(self._too_late())

    def _count_unanswered(self, entry: Entry[_Waiting], why: Failure) -> None:
        """A request that left the queue without running still counts there."""
        self.statistics.count_queue(int((self._clock.monotonic_s() - entry.arrival_s) * 1e9))
        self._count(entry, is_success=False)
        self.statistics.failures[why] += 1

    def _count(self, entry: Entry[_Waiting], *, is_success: bool) -> None:
        duration_ns = int((self._clock.monotonic_s() - entry.arrival_s) * 1e9)
        self.statistics.count_request(duration_ns, self._clock.time_ms(), is_success=is_success)

    def _too_late(self) -> errors.DeadlineExceeded:
        return errors.DeadlineExceeded(f"the deadline passed before {self._resource} ran it")

    def _full(self, rows: int) -> errors.QueueFull:
        waiting = self._batcher.rows
        low_s, high_s = _RETRY_AFTER_S
        expected_s = self._program.expected_s(waiting)
        return errors.QueueFull(
            f"{waiting} rows wait for {self._resource} and {rows} more exceed "
            f"{self._limits.max_queue_size}; come back later",
            retry_after_s=min(max(expected_s, low_s), high_s),
            resource=self._resource,
        )


def _parts(batch: Sequence[Entry[_Waiting]]) -> list[Mapping[str, Array]]:
    return [entry.payload.inputs.arrays for entry in batch]


def _refuse_shutdown(batch: Sequence[Entry[_Waiting]]) -> None:
    for entry in batch:
        entry.payload.end(errors.Unavailable("shutting down"))

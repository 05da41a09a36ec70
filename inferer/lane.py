"""A version's lane: its queue, its one running batch, its counts.

Everything here belongs to the event loop's thread; only `Program.run` of a slow batch is called on
the engine's thread. Small batches run inline: a thread hop costs more than they do.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from inferer.batcher import NO_WISHES, Batcher, Entry, Limits, Wishes
from inferer.outlook import Outlook
from inferer.sole import Tensors
from inferer.statistics import Failure, Timing, VersionStatistics
from inferer.turns import Share, Turns
from twofold import errors
from twofold.errors import TwofoldError
from twofold.seams import Clock
from twofold.tensors import Array

#: Longer batches leave the event loop: other models and connections must not wait for them.
INLINE_LIMIT_S = 0.001
#: Callers that are turned away come back after this at the earliest, 1 s at the latest.
_RETRY_AFTER_S = (0.01, 1.0)

_log = logging.getLogger(__name__)


class Executed(NamedTuple):
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


#: What waits: a request's tensors, and who takes its outcome.
_Waiting = tuple[Tensors, Done]
#: See Lane._scheduled.
_AT_ONCE = (-math.inf, None)


class Lane:
    """Answers the requests of one version, batch by batch."""

    def __init__(
        self, resource: str, program: Program, limits: Limits, slow: Turns, clock: Clock
    ) -> None:
        self.statistics = VersionStatistics()
        self._resource = resource
        self.program = program
        self._limits = limits
        self._is_delaying = limits.max_queue_delay_s > 0
        self._slow = slow
        self._clock = clock
        self._batcher = Batcher[_Waiting](limits)
        self._outlook = Outlook(program.expected_s, limits)
        self._share = Share()
        # Or waits for its turn to.
        self._is_running = False
        # Whether time matters to any that wait.
        self._has_deadlines = False
        # When the call of _step that is scheduled is due, and its timer; None: nothing is.
        self._scheduled: tuple[float, asyncio.TimerHandle | None] | None = None
        # What tells requests in time that they are late, by ticket; most need none.
        self._alarms: dict[int, asyncio.TimerHandle] = {}

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

    @property
    def limits(self) -> Limits:
        """What its queue may hold and its batches may be."""
        return self._limits

    def admit(
        self, inputs: Tensors, deadline_s: float, done: Done, wishes: Wishes = NO_WISHES
    ) -> int:
        """Queues a request; its ticket, for `withdraw`. Calls `done` later, never within.

        `done` gets the answer, or DeadlineExceeded where it waited too long or cannot be answered
        by `deadline_s` any more, Internal where the network failed on it, Unavailable where the
        engine has closed.

        Raises:
            QueueFull: no room; with a hint when to come back.
            DeadlineExceeded: `deadline_s` has passed, or cannot be kept.
        """
        now_s, rows, batcher = self._clock.monotonic_s(), inputs.rows, self._batcher
        if deadline_s <= now_s:
            self.statistics.count_refusal(Failure.DEADLINE)
            raise self._too_late()
        if not batcher.has_room(rows, wishes.priority):
            self.statistics.count_refusal(Failure.QUEUE_FULL)
            raise self._full(rows, wishes.priority)
        entry = batcher.admit((inputs, done), rows, now_s, deadline_s, wishes)
        if entry.refuse_s < math.inf:
            self._has_deadlines = True
            has_time = entry.refuse_s - now_s > self._outlook.longest_s
            if not has_time or self._is_running or self._slow.is_taken or self._is_delaying:
                self._watch(entry, wishes.priority)
        if self._scheduled is not _AT_ONCE:
            self._schedule()
        return entry.ticket

    def _watch(self, entry: Entry[_Waiting], priority: int) -> None:
        """Sets an alarm that tells a request in time that it is late, where no cut is near.

        Raises DeadlineExceeded, and takes it out again, where it is too late already.
        """
        self._check_time(entry, self._batcher.rows_before(priority) - entry.rows)
        if self._is_running or self._slow.is_taken or self._is_delaying:
            left_s = entry.refuse_s - entry.arrival_s
            loop, ticket = asyncio.get_running_loop(), entry.ticket
            self._alarms[ticket] = loop.call_later(left_s, self._expire, ticket)

    def _check_time(self, entry: Entry[_Waiting], rows_before: int) -> None:
        begin_s, end_s = self._outlook.earliest(rows_before, entry.rows)
        # Not before the running batch ends, whose version it is, where it will run on that thread.
        if self._is_running or (self._slow.is_taken and not self._is_inline(entry.rows)):
            free_s = max(self._slow.busy_until_s, entry.arrival_s)
        else:
            free_s = entry.arrival_s
        if free_s + begin_s >= entry.refuse_s or free_s + end_s > entry.deadline_s:
            self._batcher.withdraw(entry.ticket)
            self._outlook.refused()
            self.statistics.count_refusal(Failure.DEADLINE)
            least_s, left_s = free_s + end_s - entry.arrival_s, entry.refuse_s - entry.arrival_s
            raise errors.DeadlineExceeded(
                f"{self._resource} needs at least {least_s * 1000:.3g} ms for what waits and this "
                f"request, of which {left_s * 1000:.3g} ms are left; allow more time or come later",
                resource=self._resource,
            )

    def _is_inline(self, rows: int) -> bool:
        """Whether a batch of so many rows is short enough for the event loop."""
        expected_s = self.program.expected_s(rows)
        return expected_s <= INLINE_LIMIT_S and expected_s * self._outlook.pace <= INLINE_LIMIT_S

    async def submit(
        self, inputs: Tensors, deadline_s: float, wishes: Wishes = NO_WISHES
    ) -> Answer:
        """The answer; cancelling the caller takes the request out. Raises what `admit` tells."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        ticket = self.admit(inputs, deadline_s, partial(_settle, future), wishes)
        try:
            return await future
        finally:
            if future.cancelled():
                self.withdraw(ticket)
            del future  # an error that it holds, holds this frame

    def withdraw(self, ticket: int) -> None:
        """Takes out a request whose caller left, unless it is out already."""
        if (entry := self._batcher.withdraw(ticket)) is not None:
            self._disarm(ticket)
            self._count_unanswered(entry, Failure.CANCELLED)

    def _expire(self, ticket: int) -> None:
        if (entry := self._batcher.withdraw(ticket)) is not None:
            self._refuse_late(entry)

    def _schedule(self) -> None:
        """Sees to it that the next batch is cut when it is due."""
        due_s = self._batcher.due_s()
        if due_s is None or self._is_running:
            return
        if self._scheduled is not None:
            scheduled_s, timer = self._scheduled
            if scheduled_s <= due_s:
                return
            if timer is not None:
                timer.cancel()
        delay_s = due_s - self._clock.monotonic_s()
        if delay_s <= 0:
            self._scheduled = _AT_ONCE
            self._slow.inline.soon(self._step)
        else:
            timer = asyncio.get_running_loop().call_later(delay_s, self._step)
            self._scheduled = (due_s, timer)

    def _step(self) -> float:
        """Runs the batch that is due: here, or on the engine's thread; the seconds it took here."""
        self._scheduled = None
        rows = min(self._batcher.rows, self._limits.max_batch_size)
        if self._is_delaying and not self._is_due():
            self._schedule()
            return 0.0
        if not self._is_inline(rows):
            self._is_running = True
            self._slow.take(self._share, self._run_slow)
            return 0.0
        batch, started_s = self._cut(rows)
        if batch:
            self._finish(batch, self.program.run(_parts(batch)), started_s)
        self._schedule()
        return self._clock.monotonic_s() - started_s

    def _is_due(self) -> bool:
        """Whether a batch still is: those that made it so may have left."""
        due_s = self._batcher.due_s()
        return due_s is not None and due_s <= self._clock.monotonic_s()

    def _cut(self, rows: int) -> tuple[Sequence[Entry[_Waiting]], float]:
        """The next batch, of about so many rows, and when it begins; tells who is late."""
        outlook, now_s = self._outlook, self._clock.monotonic_s()
        if not self._has_deadlines:
            return self._batcher.cut(now_s).batch, now_s
        cut = self._batcher.cut(now_s, outlook.least_s(1), outlook.least_s(rows))
        for entry in cut.expired:
            if entry.refuse_s > now_s:
                outlook.refused()
            self._refuse_late(entry)
        self._has_deadlines = bool(self._batcher.rows)
        return cut.batch, now_s

    def _run_slow(self) -> None:
        """Runs a batch on the engine's thread; it is this lane's turn."""
        batch, started_s = self._cut(min(self._batcher.rows, self._limits.max_batch_size))
        if not batch:
            self._end_turn(0.0)
            return
        loop, slow = asyncio.get_running_loop(), self._slow
        try:
            running = loop.run_in_executor(slow.executor, self.program.run, _parts(batch))
        except RuntimeError:  # the engine is closed
            self._refuse_shutdown(batch)
            self._end_turn(0.0)
            return
        rows = sum(entry.rows for entry in batch)
        slow.busy_until_s = started_s + self._outlook.least_s(rows)
        running.add_done_callback(lambda done: self._finish_slow(batch, done, started_s))

    def _end_turn(self, spent_s: float) -> None:
        rows = min(self._batcher.rows, self._limits.max_batch_size)
        self._is_running = self._is_due() and not self._is_inline(rows)
        # Who has more for the thread says so now: later, others would pass who had less of it.
        again = self._run_slow if self._is_running else None
        self._slow.leave(self._share, spent_s, again)
        self._schedule()

    def _finish_slow(
        self,
        batch: Sequence[Entry[_Waiting]],
        done: "asyncio.Future[Executed]",
        started_s: float,
    ) -> None:
        try:
            if done.cancelled():  # the engine closed before the batch began
                self._refuse_shutdown(batch)
            else:
                self._finish(batch, done.result(), started_s)
        finally:
            self._end_turn(self._clock.monotonic_s() - started_s)

    def _finish(
        self, batch: Sequence[Entry[_Waiting]], executed: Executed, started_s: float
    ) -> None:
        timing, rows = executed.timing, sum([entry.rows for entry in batch])
        self.statistics.count_batch(rows, len(batch), timing)
        self._outlook.learn(rows, timing.compute_ns / 1e9)
        waits_ns = [int((started_s - entry.arrival_s) * 1e9) for entry in batch]
        self._count_ran(executed, waits_ns, started_s)
        compute_ns = timing.compute_ns
        for entry, queue_ns, result in zip(batch, waits_ns, executed.results, strict=True):
            if isinstance(result, Exception):
                _log.error("batch failed", extra={"version": self._resource}, exc_info=result)
                _drop_frames(result)
                self._end(entry, errors.Internal())
            else:
                self._end(entry, Answer(result, queue_ns, compute_ns, rows))

    def _count_ran(self, executed: Executed, waits_ns: Sequence[int], started_s: float) -> None:
        """Before anybody is answered: who asks for the counts then finds itself there."""
        ran_ns, now_ms = int((self._clock.monotonic_s() - started_s) * 1e9), self._clock.time_ms()
        is_failure = [isinstance(result, Exception) for result in executed.results]
        if not any(is_failure):
            self.statistics.count_answered(waits_ns, ran_ns, now_ms)
            return
        for queue_ns, failed in zip(waits_ns, is_failure, strict=True):
            if failed:
                self.statistics.count_failed(queue_ns, queue_ns + ran_ns, now_ms)
                self.statistics.failures[Failure.INTERNAL] += 1
            else:
                self.statistics.count_answered([queue_ns], ran_ns, now_ms)

    def _end(self, entry: Entry[_Waiting], outcome: Answer | TwofoldError) -> None:
        if self._alarms:
            self._disarm(entry.ticket)
        _, done = entry.payload
        try:
            done(outcome)
        except Exception as error:  # noqa: BLE001 - the others of its batch are not to blame
            _log.error("an answer was not taken", exc_info=error)

    def _disarm(self, ticket: int) -> None:
        if (alarm := self._alarms.pop(ticket, None)) is not None:
            alarm.cancel()

    def _refuse_late(self, entry: Entry[_Waiting]) -> None:
        self._count_unanswered(entry, Failure.DEADLINE)
        self._end(entry, self._too_late())

    def _count_unanswered(self, entry: Entry[_Waiting], why: Failure) -> None:
        """A request that left the queue without running still counts there."""
        waited_ns = int((self._clock.monotonic_s() - entry.arrival_s) * 1e9)
        self.statistics.count_failed(waited_ns, waited_ns, self._clock.time_ms())
        self.statistics.failures[why] += 1

    def _refuse_shutdown(self, batch: Sequence[Entry[_Waiting]]) -> None:
        for entry in batch:
            self._end(entry, errors.Unavailable("shutting down"))

    def _too_late(self) -> errors.DeadlineExceeded:
        text = f"{self._resource} could not run it before its deadline or the end of its timeout"
        return errors.DeadlineExceeded(text)

    def _full(self, rows: int, priority: int) -> errors.QueueFull:
        waiting, policy = self._batcher.queue_of(priority)
        low_s, high_s = _RETRY_AFTER_S
        expected_s = self.program.expected_s(waiting)
        return errors.QueueFull(
            f"{waiting} rows wait for {self._resource} and {rows} more exceed "
            f"{policy.max_queue_size}; come back later",
            retry_after_s=min(max(expected_s, low_s), high_s),
            resource=self._resource,
        )


def _settle(future: "asyncio.Future[Answer]", outcome: Answer | TwofoldError) -> None:
    if future.done():  # cancelled while it ran
        return
    if isinstance(outcome, Answer):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


def _drop_frames(error: BaseException | None) -> None:
    """Those that an error came through hold its batch, and what holds the error itself."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _parts(batch: Sequence[Entry[_Waiting]]) -> list[Mapping[str, Array]]:
    return [entry.payload[0].arrays for entry in batch]

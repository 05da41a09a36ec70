"""A version's queue under simulation: the real batcher, driven as `inferer.lane` drives it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from inferer.batcher import NO_WISHES, Batcher, Cut, Entry, Limits, Wishes


@dataclass(slots=True)
class Request:
    """A request and how it ended; "" while it has not."""

    number: int
    rows: int
    deadline_s: float = math.inf
    wishes: Wishes = NO_WISHES
    end: str = ""
    ticket: int = -1
    #: Then it must not run any more; once it waits.
    over_s: float = math.inf


class Stage(Protocol):
    """What the parts of a run share."""

    now_s: float
    random: Random
    counts: Counter[str]

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        """Calls `act` then."""
        ...

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Calls `act` in so many seconds."""
        ...

    def wrong(self, invariant: str, text: str) -> None:
        """A promise was broken."""
        ...

    def tell(self, *words: object) -> None:
        """A line of the story."""
        ...

    def lane(self, version: int) -> "Lane":
        """The lane of a version that was just loaded."""
        ...


class Lane:
    """One version's queue and its running batch, beside a plain account of what should wait."""

    def __init__(self, stage: Stage, version: int, limits: Limits) -> None:
        self.version = version
        self._stage = stage
        self._limits = limits
        self._batcher = Batcher[Request](limits)
        # What should wait, by ticket, in order of arrival.
        self._waiting: dict[int, Request] = {}
        self._is_running = False

    def submit(self, request: Request) -> None:
        """Queues a request, or refuses it."""
        level = self._level(request)
        queued = sum(found.rows for found in self._waiting.values() if self._level(found) == level)
        has_room = self._batcher.has_room(request.rows, request.wishes.priority)
        most = self._limits.policies[level - 1].max_queue_size
        if has_room != (not queued or queued + request.rows <= most):
            self._stage.wrong("J9", f"has_room is {has_room} with {queued} rows for {request}")
        if not has_room:
            self._end(request, "refused")
            return
        now_s = self._stage.now_s
        deadline_s, wishes = request.deadline_s, request.wishes
        entry = self._batcher.admit(request, request.rows, now_s, deadline_s, wishes)
        ticket, request.over_s = entry.ticket, self._over_s(request, now_s)
        if ticket <= request.ticket or ticket in self._waiting:
            self._stage.wrong("ORDER", f"ticket {ticket} was given twice")
        request.ticket = ticket
        self._waiting[ticket] = request
        self._schedule()

    def _level(self, request: Request) -> int:
        """Its priority; that of a request that names none, or one there is not, is the default."""
        named, levels = request.wishes.priority, range(1, len(self._limits.policies) + 1)
        return named if named in levels else self._limits.default_priority_level

    def _over_s(self, request: Request, now_s: float) -> float:
        """When it is too late to run a request that came now."""
        policy = self._limits.policies[self._level(request) - 1]
        timeout_s = min(request.wishes.timeout_s, policy.default_timeout_s)
        return min(request.deadline_s, now_s + timeout_s)

    def withdraw(self, request: Request, how: str) -> None:
        """Takes a request out whose caller left or whose time is up; running ones stay."""
        entry = self._batcher.withdraw(request.ticket)
        if (entry is not None) != (self._waiting.pop(request.ticket, None) is not None):
            self._stage.wrong("ORDER", f"withdrawing {request} found {entry}")
        if entry is not None:
            self._end(request, how)

    def _schedule(self) -> None:
        due_s = self._batcher.due_s()
        if (due_s is None) != (not self._waiting):
            self._stage.wrong("J5", f"{len(self._waiting)} wait, and the next is due at {due_s}")
        if due_s is not None and not self._is_running:
            self._stage.at(max(due_s, self._stage.now_s), self._step)

    def _step(self) -> None:
        """Cuts and runs a batch, unless an earlier call did or what was due has left."""
        due_s = self._batcher.due_s()
        if self._is_running or due_s is None:
            return
        if due_s > self._stage.now_s:
            self._schedule()
            return
        cut = self._batcher.cut(self._stage.now_s)
        self._check(cut)
        for entry in (*cut.expired, *cut.batch):
            self._waiting.pop(entry.ticket, None)
        for entry in cut.expired:
            self._end(entry.payload, "late")
        if cut.batch:
            self._run(cut.batch)
        else:
            self._schedule()

    def _run(self, batch: Iterable[Entry[Request]]) -> None:
        self._is_running = True
        self._stage.counts["batches"] += 1
        requests = [entry.payload for entry in batch]

        def finish() -> None:
            self._is_running = False
            for request in requests:
                self._end(request, "answered")
            self._schedule()

        self._stage.after(self._stage.random.random() * 0.1, finish)

    def _end(self, request: Request, how: str) -> None:
        self._stage.tell("version", self.version, how, request)
        if request.end:
            self._stage.wrong("J5", f"{request} ended once more: {how}")
        request.end = how

    def _check(self, cut: Cut[Request]) -> None:
        """A batch is the first of those that wait and have time, by priority, and fits."""
        now_s, wrong = self._stage.now_s, self._stage.wrong
        tickets = [entry.ticket for entry in cut.batch]
        self._stage.tell("version", self.version, "runs", tickets, "of", list(self._waiting))
        if sum(entry.payload.rows for entry in cut.batch) > self._limits.max_batch_size:
            wrong("ROWS", f"a batch of {tickets} is too large")
        for entry in (*cut.batch, *cut.expired):
            self._check_left(entry, is_run=entry.ticket in tickets)
        in_order = sorted(self._waiting.items(), key=lambda pair: self._level(pair[1]))
        live = [ticket for ticket, found in in_order if found.over_s > now_s]
        if tickets != live[: len(tickets)] or (live and not tickets):
            wrong("ORDER", f"a batch of {tickets} is not the head of {live}")

    def _check_left(self, entry: Entry[Request], *, is_run: bool) -> None:
        """What leaves the queue was waiting; it runs in time or is refused as late, rightly."""
        now_s, wrong = self._stage.now_s, self._stage.wrong
        is_late = entry.payload.over_s <= now_s
        if self._waiting.get(entry.ticket) is not entry.payload:
            wrong("ORDER", f"{entry} was not waiting")
        if is_run and is_late:
            wrong("DEADLINE", f"{entry.payload} runs at {now_s}, after its deadline")
        if not is_run and not is_late:
            wrong("J5", f"{entry.payload} was refused as late at {now_s}")

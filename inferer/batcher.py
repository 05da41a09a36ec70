"""Which requests run together: row-counted, bounded, by priority and then in order of arrival.

Without a delay a batch is whatever arrived while the last one ran, so a lone request waits for
nobody. The options have Triton's names and meaning. Pure: no clock, no I/O; times come in as
seconds of Clock.monotonic_s. Not thread-safe: one owner, the lane. No operation depends on how many
wait; a cut, and with preferred sizes and a delay also `due_s`, may look at one batch of them.
"""

import math
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How requests of one priority wait."""

    max_queue_size: int
    """Most rows that wait."""
    default_timeout_s: float = math.inf
    """How long a request may wait; infinite: as long as its caller does."""
    allow_timeout_override: bool = True
    """Whether a request may shorten that."""
    timeout_action: Literal["REJECT", "DELAY"] = "REJECT"
    """What becomes of one that waited longer: refused, or behind all others of its priority."""

    def timeout_s(self, wishes: "Wishes") -> float:
        """How long a request may wait here."""
        default_s = self.default_timeout_s
        return min(default_s, wishes.timeout_s) if self.allow_timeout_override else default_s


@dataclass(frozen=True, slots=True)
class Limits:
    """What a queue may hold and a batch may be."""

    max_batch_size: int
    """Most rows of a batch; no request is larger."""
    max_queue_size: int
    """Most rows that wait where there are no `queues`."""
    max_queue_delay_s: float = 0.0
    """How long a request may wait for others to fill its batch; 0: not at all."""
    preferred_batch_size: tuple[int, ...] = ()
    """Rows that a batch should have rather than others; each is at most `max_batch_size`."""
    queues: tuple[QueuePolicy, ...] = ()
    """Of each priority level, the highest (1) first; none: one level."""
    default_priority_level: int = 1
    """The level of requests that name none, or one there is not."""

    @property
    def policies(self) -> tuple[QueuePolicy, ...]:
        """The policy of every level; at least one."""
        return self.queues or (QueuePolicy(self.max_queue_size),)


class Wishes(NamedTuple):
    """What a request asks of its queue."""

    priority: int = 0
    """Its level, from 1, the highest; 0: the default."""
    timeout_s: float = math.inf
    """How long it would wait at most."""


#: Of most requests.
NO_WISHES = Wishes()


class Entry(NamedTuple, Generic[Payload]):
    """A request that waits. A named tuple: one is made in a third of a frozen dataclass's time."""

    ticket: int
    rows: int
    arrival_s: float
    #: By then it must be answered.
    deadline_s: float
    #: From then on it is refused: its deadline, or the end of its timeout where that rejects.
    refuse_s: float
    #: From then on it stands behind the others of its priority.
    delay_s: float
    payload: Payload


class Cut(NamedTuple, Generic[Payload]):
    """What left the queue: one batch, and the requests that are too late for any."""

    batch: list[Entry[Payload]]
    expired: list[Entry[Payload]]


class _Level(Generic[Payload]):
    """The requests of one priority, by ticket, so that a cancelled one leaves at once."""

    __slots__ = ("delayed", "delayed_rows", "is_delaying", "number", "policy", "rows", "waiting")

    def __init__(self, number: int, policy: QueuePolicy) -> None:
        self.number = number
        self.policy = policy
        self.is_delaying = policy.timeout_action == "DELAY"
        # In order of arrival.
        self.waiting: dict[int, Entry[Payload]] = {}
        # In the order in which they were put back.
        self.delayed: dict[int, Entry[Payload]] = {}
        # Of both; of the latter.
        self.rows = 0
        self.delayed_rows = 0

    def pop(self, ticket: int) -> Entry[Payload] | None:
        entry = self.waiting.pop(ticket, None)
        if entry is None and self.delayed and (entry := self.delayed.pop(ticket, None)):
            self.delayed_rows -= entry.rows
        if entry is not None:
            self.rows -= entry.rows
        return entry

    def clear(self) -> None:
        self.waiting.clear()
        self.delayed.clear()
        self.rows = self.delayed_rows = 0

    @property
    def oldest_s(self) -> float:
        """When the first of those came that were not put back."""
        return next(iter(self.waiting.values())).arrival_s

    def postpone(self, now_s: float, late_s: float, rows: int) -> None:
        """Puts back who waited too long, as far as the next `rows` rows reach that are not late."""
        late: list[Entry[Payload]] = []
        for entry in self.waiting.values():
            if entry.delay_s <= now_s:
                late.append(entry)
            elif entry.refuse_s > late_s and (rows := rows - entry.rows) <= 0:
                break
        for entry in late:
            self.delayed[entry.ticket] = self.waiting.pop(entry.ticket)
            self.delayed_rows += entry.rows


class Batcher(Generic[Payload]):
    """A queue of requests. Every admitted one leaves once: cut, expired or withdrawn."""

    def __init__(self, limits: Limits) -> None:
        self._max_batch_size = limits.max_batch_size
        self._max_queue_delay_s = limits.max_queue_delay_s
        self._levels = [
            _Level[Payload](number, policy) for number, policy in enumerate(limits.policies)
        ]
        self._level_count = len(self._levels)
        self._default = self._levels[limits.default_priority_level - 1]
        self._delaying = [level for level in self._levels if level.is_delaying]
        # In the order in which they are served.
        self._queues = [
            queue
            for level in self._levels
            for queue in (level.waiting, level.delayed)[: 1 + level.is_delaying]
        ]
        self._has_timeouts = any(policy.default_timeout_s < math.inf for policy in limits.policies)
        self._rows = 0
        self._ticket = 0
        self._preferred = frozenset(limits.preferred_batch_size)
        # Whether a batch of a preferred size waits; None: not known. Only with a delay.
        self._is_preferred: bool | None = False
        self._seeks_preferred = bool(self._preferred) and limits.max_queue_delay_s > 0

    def __repr__(self) -> str:
        return f"<Batcher {len(self)} requests, {self._rows} rows>"

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return self._rows

    def has_room(self, rows: int, priority: int = 0) -> bool:
        """Whether a request of so many rows may wait; where none of its priority does, any may."""
        level = self._level(priority) if priority else self._default
        waiting = level.rows
        return not waiting or waiting + rows <= level.policy.max_queue_size

    def rows_before(self, priority: int = 0) -> int:
        """The rows that would run before a request that comes now, or with it."""
        level = self._level(priority)
        higher = sum(other.rows for other in self._levels[: level.number])
        return higher + level.rows - level.delayed_rows

    def queue_of(self, priority: int) -> tuple[int, QueuePolicy]:
        """The rows that wait at a priority, and its policy."""
        level = self._level(priority)
        return level.rows, level.policy

    def _level(self, priority: int) -> _Level[Payload]:
        return self._levels[priority - 1] if 0 < priority <= self._level_count else self._default

    def admit(
        self,
        payload: Payload,
        rows: int,
        now_s: float,
        deadline_s: float = math.inf,
        wishes: Wishes = NO_WISHES,
    ) -> Entry[Payload]:
        """Queues a request that `has_room` for."""
        level, refuse_s, delay_s = self._default, deadline_s, math.inf
        if wishes is not NO_WISHES or self._has_timeouts:
            level = self._level(wishes.priority)
            timeout_s = level.policy.timeout_s(wishes)
            if level.is_delaying:
                delay_s = now_s + timeout_s
            else:
                refuse_s = min(deadline_s, now_s + timeout_s)
        self._ticket = ticket = self._ticket + self._level_count
        ticket += level.number
        entry = Entry(ticket, rows, now_s, deadline_s, refuse_s, delay_s, payload)
        level.waiting[ticket] = entry
        level.rows += rows
        self._rows += rows
        if self._seeks_preferred:
            self._note_admitted(level)
        return entry

    def _note_admitted(self, level: _Level[Payload]) -> None:
        is_last = self.rows_before(level.number + 1) == self._rows
        if not is_last:
            self._is_preferred = None
        elif self._rows in self._preferred:
            self._is_preferred = True

    def withdraw(self, ticket: int) -> Entry[Payload] | None:
        """Takes out a request whose caller left; None where it is out already."""
        entry = self._levels[ticket % self._level_count].pop(ticket)
        if entry is not None:
            self._rows -= entry.rows
            self._is_preferred = None
        return entry

    def due_s(self) -> float | None:
        """When the next batch should be cut; None: nothing waits. May lie in the past."""
        if not self._rows:
            return None
        if self._rows >= self._max_batch_size:
            return -math.inf
        if self._seeks_preferred and self._has_preferred():
            return -math.inf
        return self._oldest_s() + self._max_queue_delay_s

    def _oldest_s(self) -> float:
        """When the oldest came; long ago where one waited too long and was put back."""
        if self._level_count == 1 and not self._default.delayed:
            for entry in self._default.waiting.values():
                return entry.arrival_s
        if any(level.delayed for level in self._levels):
            return -math.inf
        return min(level.oldest_s for level in self._levels if level.waiting)

    def _has_preferred(self) -> bool:
        """Whether those that come first have a preferred size together."""
        if self._is_preferred is None:
            in_order = [entry for queue in self._queues for entry in queue.values()]
            self._is_preferred = self._preferred_prefix(in_order) > 0
        return self._is_preferred

    def _preferred_prefix(self, entries: list[Entry[Payload]]) -> int:
        """How many of the first of `entries` have the largest preferred size; 0: never."""
        rows = count = 0
        for index, entry in enumerate(entries, start=1):
            rows += entry.rows
            if rows in self._preferred:
                count = index
        return count

    def cut(self, now_s: float, least_s: float = 0.0, batch_s: float = 0.0) -> Cut[Payload]:
        """Takes out the next batch: the longest prefix that fits, without what is too late.

        Of those the longest with a preferred size, unless somebody waited for the whole delay.
        Who would be late in a batch of all that wait is its last, so that it is shorter. Where
        more waits than one batch holds, who would be late in a full one is refused instead: else
        all batches would be short then, and everybody late.

        Args:
            now_s: now.
            least_s: at least so long takes the shortest batch.
            batch_s: at least so long takes a batch of all that wait, or a full one.
        """
        limit = self._max_batch_size
        late_s = now_s + (batch_s if self._rows > limit else least_s)
        for level in self._delaying:
            level.postpone(now_s, late_s, limit)
        cut: Cut[Payload] = Cut([], [])
        room, times = limit, (now_s, late_s, max(now_s + batch_s, late_s))
        for queue in self._queues:
            if queue and (room := self._take(queue, room, cut, times)) < 0:
                break
        if self._preferred:
            self._prefer(cut, times)
        self._remove(cut)
        return cut

    def _take(
        self,
        queue: dict[int, Entry[Payload]],
        room: int,
        cut: Cut[Payload],
        times: tuple[float, float, float],
    ) -> int:
        """Adds what fits to the cut; the rows that may follow, -1: the batch ends here."""
        now_s, late_s, urgent_s = times
        batch = cut.batch
        for entry in queue.values():
            if entry.refuse_s <= urgent_s:  # rare, so that others pass by one comparison
                if entry.refuse_s <= now_s or entry.deadline_s <= late_s:
                    cut.expired.append(entry)
                    continue
                if entry.deadline_s <= urgent_s:
                    if entry.rows <= room:
                        batch.append(entry)
                    return -1
            if entry.rows > room:
                return -1
            batch.append(entry)
            room -= entry.rows
        return room

    def _prefer(self, cut: Cut[Payload], times: tuple[float, float, float]) -> None:
        """Shortens the batch to a preferred size, unless it would hold up who must not wait."""
        now_s, _, urgent_s = times
        if not cut.batch or cut.batch[-1].deadline_s <= urgent_s:
            return
        delay_s = self._max_queue_delay_s
        if delay_s and self._oldest_s() + delay_s <= now_s:
            return
        if count := self._preferred_prefix(cut.batch):
            del cut.batch[count:]

    def _remove(self, cut: Cut[Payload]) -> None:
        self._is_preferred = None
        if len(cut.batch) + len(cut.expired) == sum(map(len, self._queues)):
            for level in self._levels:
                level.clear()
            self._rows, self._is_preferred = 0, False
            return
        for entries in cut:
            for entry in entries:
                self._levels[entry.ticket % self._level_count].pop(entry.ticket)
                self._rows -= entry.rows

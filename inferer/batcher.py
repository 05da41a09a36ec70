"""Which requests run together: row-counted, bounded, first come first served, wait-free.

A batch is whatever arrived while the last one ran, so a lone request waits for nobody. Pure: no
clock, no I/O; times come in as seconds of Clock.monotonic_s. Not thread-safe: one owner, the lane.
"""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a queue may hold and a batch may be."""

    max_batch_size: int
    """Most rows of a batch; no request is larger."""
    max_queue_size: int
    """Most rows that wait."""
    max_queue_delay_s: float = 0.0
    """How long a request may wait for others to fill its batch; 0: not at all."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[Payload]):
    """A request that waits."""

    ticket: int
    rows: int
    arrival_s: float
    deadline_s: float
    payload: Payload


@dataclass(frozen=True, slots=True)
class Cut(Generic[Payload]):
    """What left the queue: one batch, and the requests whose deadline had passed."""

    batch: list[Entry[Payload]]
    expired: list[Entry[Payload]]


class Batcher(Generic[Payload]):
    """A queue of requests. Every admitted one leaves once: cut, expired or withdrawn."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # In order of arrival; by ticket, so that a cancelled one leaves at once.
        self._waiting: dict[int, Entry[Payload]] = {}
        self._rows = 0
        self._next_ticket = 0

    def __repr__(self) -> str:
        return f"<Batcher {len(self._waiting)} requests, {self._rows} rows>"

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return self._rows

    def has_room(self, rows: int) -> bool:
        """Whether a request of so many rows may wait; an empty queue takes any."""
        return not self._waiting or self._rows + rows <= self._limits.max_queue_size

    def admit(self, payload: Payload, rows: int, now_s: float, deadline_s: float = math.inf) -> int:
        """Queues a request that `has_room` for; its ticket."""
        ticket = self._next_ticket
        self._next_ticket += 1
        self._waiting[ticket] = Entry(ticket, rows, now_s, deadline_s, payload)
        self._rows += rows
        return ticket

    def withdraw(self, ticket: int) -> Entry[Payload] | None:
        """Takes out a request whose caller left; None where it is out already."""
        entry = self._waiting.pop(ticket, None)
        if entry is not None:
            self._rows -= entry.rows
        return entry

    def due_s(self) -> float | None:
        """When the next batch should be cut; None: nothing waits. May lie in the past."""
        if not self._waiting:
            return None
        if self._rows >= self._limits.max_batch_size:
            return -math.inf
        oldest = next(iter(self._waiting.values()))
        return oldest.arrival_s + self._limits.max_queue_delay_s

    def cut(self, now_s: float) -> Cut[Payload]:
        """Takes out the next batch: the longest prefix that fits, without what has expired."""
        batch: list[Entry[Payload]] = []
        expired: list[Entry[Payload]] = []
        room = self._limits.max_batch_size
        for entry in self._waiting.values():
            if entry.deadline_s <= now_s:
                expired.append(entry)
            elif entry.rows <= room:
                batch.append(entry)
                room -= entry.rows
            else:
                break
        for entry in [*batch, *expired]:
            self.withdraw(entry.ticket)
        return Cut(batch, expired)

"""Streams of Redis with consumer groups, as far as the queue uses them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from twofold.queue.connection import Reply

Id: TypeAlias = tuple[int, int]
ZERO: Id = (0, 0)
_LAST: Id = (1 << 64, 0)


@dataclass(slots=True)
class Pending:
    """An entry that was delivered and not acknowledged."""

    consumer: bytes
    delivered_ms: int
    count: int = 1


@dataclass(slots=True)
class Group:
    """A consumer group."""

    delivered: Id
    pending: dict[Id, Pending] = field(default_factory=dict[Id, Pending])
    #: When each consumer last asked.
    consumers: dict[bytes, int] = field(default_factory=dict[bytes, int])

    def copy(self) -> "Group":
        pending = {
            entry: Pending(held.consumer, held.delivered_ms, held.count)
            for entry, held in self.pending.items()
        }
        return Group(self.delivered, pending, dict(self.consumers))


@dataclass(slots=True)
class Stream:
    """Entries by identifier, which rises."""

    entries: dict[Id, list[Reply]] = field(default_factory=dict[Id, list[Reply]])
    last: Id = ZERO
    groups: dict[bytes, Group] = field(default_factory=dict[bytes, Group])

    def copy(self) -> "Stream":
        groups = {name: group.copy() for name, group in self.groups.items()}
        return Stream(dict(self.entries), self.last, groups)

    def add(self, now_ms: int, fields: list[Reply]) -> Id:
        """Appends an entry at the server's time."""
        ms, sequence = self.last
        self.last = (now_ms, 0) if now_ms > ms else (ms, sequence + 1)
        self.entries[self.last] = fields
        return self.last

    def trim(self, length: int) -> None:
        """Forgets the oldest beyond `length`."""
        for entry in list(self.entries)[: max(0, len(self.entries) - length)]:
            del self.entries[entry]

    def after(self, cursor: Id) -> list[Id]:
        """Identifiers after a cursor."""
        return [] if self.last <= cursor else [entry for entry in self.entries if entry > cursor]

    def shown(self, ids: Iterable[Id]) -> list[Reply]:
        """Entries as replies show them."""
        return [[text_of(entry), self.entries[entry]] for entry in ids]

    def deliver(self, group: Group, consumer: bytes, now_ms: int, count: int) -> list[Reply]:
        """XREADGROUP: entries that nobody had, now pending for `consumer`."""
        group.consumers[consumer] = now_ms
        found = self.after(group.delivered)[:count]
        for entry in found:
            group.pending[entry] = Pending(consumer, now_ms)
            group.delivered = entry
        return self.shown(found)

    def claim(self, group: Group, consumer: bytes, now_ms: int, idle_ms: int, entry: Id) -> bool:
        """XCLAIM: whether the pending entry is the consumer's now."""
        held = group.pending.get(entry)
        group.consumers.setdefault(consumer, now_ms)
        if held is None or now_ms - held.delivered_ms < idle_ms:
            return False
        if entry not in self.entries:
            del group.pending[entry]  # since Redis 7
            return False
        held.consumer, held.delivered_ms = consumer, now_ms
        return True

    def force(self, group: Group, consumer: bytes, now_ms: int, entry: Id) -> None:
        """FORCE of XCLAIM: makes an entry of the stream pending that was not."""
        if entry in self.entries:
            group.pending.setdefault(entry, Pending(consumer, now_ms))

    def autoclaim(self, group: Group, consumer: bytes, now_ms: int, idle_ms: int) -> list[Reply]:
        """XAUTOCLAIM over the whole list: claimed entries and deleted ones."""
        taken: list[Id] = []
        gone: list[Reply] = []
        for entry in sorted(group.pending):
            held = group.pending[entry]
            if now_ms - held.delivered_ms < idle_ms:
                continue
            if self.claim(group, consumer, now_ms, idle_ms, entry):
                held.count += 1
                taken.append(entry)
            else:
                gone.append(text_of(entry))
        return [b"0-0", self.shown(taken), gone]


def text_of(entry: Id) -> bytes:
    """An identifier as replies show it."""
    return b"%d-%d" % entry


def id_of(text: bytes) -> Id:
    """An identifier as commands give it."""
    if text == b"+":
        return _LAST
    if text == b"-":
        return ZERO
    ms, _, sequence = text.partition(b"-")
    return int(ms), int(sequence or b"0")

"""A Redis in memory: only the commands that the queue uses, the script run by a real Lua.

Times are the schedule's. Nothing acknowledged is lost by a kill, as with appendfsync always;
a wipe and a failover lose what they say.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, cast

from tests.chaos.sim import lua
from tests.chaos.sim.streams import ZERO, Group, Stream, id_of, text_of
from twofold.errors import LimitExceeded
from twofold.queue.connection import Argument, GroupExists, NoGroup, Reply, Script

Hash: TypeAlias = dict[bytes, bytes]
_UP_MS = 3_600_000
#: Arguments of XPENDING after the group: first, last, count, consumer.
_WITH_CONSUMER = 4
_GROWING = frozenset({b"HSET", b"XADD", b"ZADD", b"XGROUP"})


class Members(dict[bytes, int]):
    """A sorted set: scores by member."""


Value: TypeAlias = Hash | Stream | Members


class Server:
    """One server. `now_ms` is its clock, the only one that may matter."""

    def __init__(self, now_ms: Callable[[], int], new_id: Callable[[], bytes]) -> None:
        self._now_ms = now_ms
        self._new_id = new_id
        self.data: dict[bytes, Value] = {}
        self.expires: dict[bytes, int] = {}
        self.run_id = new_id()
        #: It has been up for long: what a young server does is what `restart` is for.
        self.begun_ms = now_ms() - _UP_MS
        self.is_full = False
        #: Called with the key that got news, for blocked readers.
        self.on_news: Callable[[bytes], None] = _nobody

    def restart(self) -> None:
        """Dies and comes back with all it had."""
        self.run_id = self._new_id()
        self.begun_ms = self._now_ms()

    def snapshot(self) -> tuple[dict[bytes, Value], dict[bytes, int]]:
        """What a replica has, to be given to `fail_over`."""
        data = {key: _kept(value, value.copy()) for key, value in self.data.items()}
        return data, dict(self.expires)

    def fail_over(self, replica: tuple[dict[bytes, Value], dict[bytes, int]]) -> None:
        """The replica takes over; what it had not yet got is lost."""
        self.data, self.expires = replica
        self.restart()

    def execute(self, arguments: Sequence[Argument]) -> Reply:
        """One command's reply; raises NoGroup, GroupExists, LimitExceeded."""
        name, *rest = map(_bytes_of, arguments)
        if self.is_full and name in _GROWING:
            raise LimitExceeded("the queue's memory is full; try again later", limit="memory")
        return _METHODS[name](self, *rest)

    def evaluate(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        """A script's reply."""
        if self.is_full and "allow-oom" not in script.text.partition("\n")[0]:
            raise LimitExceeded("the queue's memory is full; try again later", limit="memory")
        return lua.run(script, map(_bytes_of, keys), map(_bytes_of, arguments), self)

    def command(self, name: bytes, *arguments: bytes) -> Reply:
        """A script's command; see lua.Commands."""
        return _METHODS[name](self, *arguments)

    # Keys

    def _alive(self, key: bytes) -> Any:  # noqa: ANN401 - of the type that its commands want
        if key in self.expires and self.expires[key] <= self._now_ms():
            del self.expires[key]
            self.data.pop(key, None)
        return self.data.get(key)

    def _hash(self, key: bytes) -> Hash:
        found = self._alive(key)
        return {} if found is None else found

    def _stream(self, key: bytes) -> Stream:
        found = self._alive(key)
        return Stream() if found is None else found

    def _group(self, key: bytes, name: bytes) -> tuple[Stream, Group]:
        stream = self._stream(key)
        if name not in stream.groups:
            raise NoGroup
        return stream, stream.groups[name]

    def _members(self, key: bytes) -> Members:
        found = self._alive(key)
        return Members() if found is None else found

    def _do_exists(self, key: bytes) -> Reply:
        return int(self._alive(key) is not None)

    def _do_pexpire(self, key: bytes, life_ms: bytes) -> Reply:
        if key not in self.data:
            return 0
        self.expires[key] = self._now_ms() + int(life_ms)
        return 1

    def _do_pttl(self, key: bytes) -> Reply:
        if self._alive(key) is None:
            return -2
        return self.expires[key] - self._now_ms() if key in self.expires else -1

    def _do_keys(self, pattern: bytes) -> Reply:
        return [key for key in sorted(self.data) if key.startswith(pattern.rstrip(b"*"))]

    def _do_flushall(self) -> Reply:
        self.data, self.expires = {}, {}
        return b"OK"

    def _do_time(self) -> Reply:
        now_ms = self._now_ms()
        return [b"%d" % (now_ms // 1000), b"%d" % (now_ms % 1000 * 1000)]

    def _do_info(self, *_: bytes) -> Reply:
        uptime = (self._now_ms() - self.begun_ms) // 1000
        return b"redis_version:7.2.4\r\nrun_id:%s\r\nuptime_in_seconds:%d\r\n" % (
            self.run_id,
            uptime,
        )

    # Hashes

    def _do_hget(self, key: bytes, field: bytes) -> Reply:
        return self._hash(key).get(field)

    def _do_hgetall(self, key: bytes) -> Reply:
        return [part for pair in self._hash(key).items() for part in pair]

    def _do_hset(self, key: bytes, *pairs: bytes) -> Reply:
        if self._alive(key) is None:
            self.data[key] = {}
        found = self._hash(key)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def _do_hsetnx(self, key: bytes, field: bytes, value: bytes) -> Reply:
        if field in self._hash(key):
            return 0
        self._do_hset(key, field, value)
        return 1

    # Sorted sets

    def _do_zadd(self, key: bytes, *pairs: bytes) -> Reply:
        if self._alive(key) is None:
            self.data[key] = Members()
        members = self._members(key)
        before = len(members)
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            members[member] = int(score)
        return len(members) - before

    def _do_zrem(self, key: bytes, *gone: bytes) -> Reply:
        members = self._members(key)
        count = sum(members.pop(member, None) is not None for member in gone)
        if not members:
            self.data.pop(key, None)
        return count

    def _do_zcard(self, key: bytes) -> Reply:
        return len(self._members(key))

    def _do_zscore(self, key: bytes, member: bytes) -> Reply:
        score = self._members(key).get(member)
        return None if score is None else b"%d" % score

    def _do_zrange(self, key: bytes, first: bytes, last: bytes, *scores: bytes) -> Reply:
        end = len(self._members(key)) if int(last) < 0 else int(last) + 1
        found = self._ordered(key)[int(first) : end]
        if not scores:
            return [member for _, member in found]
        return [part for score, member in found for part in (member, b"%d" % score)]

    def _ordered(self, key: bytes) -> list[tuple[int, bytes]]:
        return sorted((score, member) for member, score in self._members(key).items())

    # Streams

    def _do_xadd(self, key: bytes, *arguments: bytes) -> Reply:
        if self._alive(key) is None:
            self.data[key] = Stream()
        stream, star = self._stream(key), arguments.index(b"*")
        entry = stream.add(self._now_ms(), list(arguments[star + 1 :]))
        if star and len(stream.entries) > int(arguments[star - 1]):
            stream.trim(int(arguments[star - 1]))
        self.on_news(key)
        return text_of(entry)

    def _do_xlen(self, key: bytes) -> Reply:
        return len(self._stream(key).entries)

    def _do_xdel(self, key: bytes, *ids: bytes) -> Reply:
        entries = self._stream(key).entries
        return sum(entries.pop(id_of(entry), None) is not None for entry in ids)

    def _do_xack(self, key: bytes, name: bytes, *ids: bytes) -> Reply:
        group = self._stream(key).groups.get(name)
        if group is None:
            return 0
        return sum(group.pending.pop(id_of(entry), None) is not None for entry in ids)

    def _do_xrange(self, key: bytes, first: bytes, last: bytes, *count: bytes) -> Reply:
        stream, low, high = self._stream(key), id_of(first), id_of(last)
        found = [entry for entry in stream.entries if low <= entry <= high]
        return stream.shown(found[: int(count[1])] if count else found)

    def _do_xrevrange(self, key: bytes, last: bytes, first: bytes, *count: bytes) -> Reply:
        del last, first  # always everything
        stream = self._stream(key)
        return stream.shown(list(reversed(stream.entries))[: int(count[1])])

    def _do_xread(self, *arguments: bytes) -> Reply:
        key, cursor = arguments[-2:]
        found = self._stream(key).after(id_of(cursor))
        return [[key, self._stream(key).shown(found)]] if found else None

    def _do_xreadgroup(self, *arguments: bytes) -> Reply:
        count = int(arguments[arguments.index(b"COUNT") + 1])
        key = arguments[-2]
        stream, group = self._group(key, arguments[1])
        found = stream.deliver(group, arguments[2], self._now_ms(), count)
        return [[key, found]] if found else None

    def _do_xclaim(
        self, key: bytes, name: bytes, consumer: bytes, idle_ms: bytes, entry: bytes, *how: bytes
    ) -> Reply:
        stream, group = self._group(key, name)
        now_ms, entry_id = self._now_ms(), id_of(entry)
        if b"FORCE" in how:
            stream.force(group, consumer, now_ms, entry_id)
        is_taken = stream.claim(group, consumer, now_ms, int(idle_ms), entry_id)
        return [entry] if is_taken else []

    def _do_xautoclaim(
        self, key: bytes, name: bytes, consumer: bytes, idle_ms: bytes, cursor: bytes, *_: bytes
    ) -> Reply:
        del cursor  # always from the beginning: the list is short
        stream, group = self._group(key, name)
        return stream.autoclaim(group, consumer, self._now_ms(), int(idle_ms))

    def _do_xpending(self, key: bytes, name: bytes, *extended: bytes) -> Reply:
        _, group = self._group(key, name)
        pending = sorted(group.pending.items())
        if not extended:
            holders = sorted({held.consumer for _, held in pending})
            counts: list[Reply] = [[name, b"%d" % self._held_by(group, name)] for name in holders]
            ids = [text_of(entry) for entry, _ in pending]
            return [len(ids), ids[0], ids[-1], counts] if ids else [0, None, None, None]
        now_ms = self._now_ms()
        return [
            [text_of(entry), held.consumer, now_ms - held.delivered_ms, held.count]
            for entry, held in pending
            if len(extended) < _WITH_CONSUMER or held.consumer == extended[-1]
        ]

    def _do_xgroup(self, what: bytes, key: bytes, name: bytes, *rest: bytes) -> Reply:
        if what == b"DELCONSUMER":
            _, group = self._group(key, name)
            group.consumers.pop(rest[0], None)
            held = [entry for entry, one in group.pending.items() if one.consumer == rest[0]]
            for entry in held:
                del group.pending[entry]  # destroyed, as Redis does
            return len(held)
        if self._alive(key) is None:
            self.data[key] = Stream()
        stream = self._stream(key)
        if name in stream.groups:
            raise GroupExists
        stream.groups[name] = Group(stream.last if rest[0] == b"$" else ZERO)
        return b"OK"

    def _do_xinfo(self, what: bytes, key: bytes, *rest: bytes) -> Reply:
        del what  # always CONSUMERS
        _, group = self._group(key, rest[0])
        now_ms = self._now_ms()
        return [
            [b"name", name, b"pending", self._held_by(group, name), b"idle", now_ms - seen_ms]
            for name, seen_ms in sorted(group.consumers.items())
        ]

    @staticmethod
    def _held_by(group: Group, consumer: bytes) -> int:
        return sum(held.consumer == consumer for held in group.pending.values())


#: Methods by command.
_METHODS = {
    name[4:].upper().encode(): cast("Callable[..., Reply]", method)
    for name, method in vars(Server).items()
    if name.startswith("_do_")
}


def _nobody(_: bytes) -> None:
    """No reader waits."""


def _kept(original: Value, copy: object) -> Value:
    # dict.copy() of a subclass is a plain dict.
    if isinstance(original, Members):
        return Members(cast("dict[bytes, int]", copy))
    return cast("Value", copy)


@lru_cache(4_096)
def _bytes_of(argument: Argument) -> bytes:
    if isinstance(argument, str):
        return argument.encode()
    return argument if isinstance(argument, bytes) else b"%d" % argument

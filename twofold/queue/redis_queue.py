"""The queue in Redis: reads jobs, and applies what `twofold.transitions.decide` said."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Self, cast

from twofold.jobs import WAITING, Job
from twofold.queue import codec, schema
from twofold.queue.connection import (
    BLOCK_LIMIT_S,
    PATIENCE_S,
    Argument,
    Commands,
    Connection,
    GroupExists,
    NoGroup,
    Reply,
    Script,
)
from twofold.queue.plan import announcement, plan_change
from twofold.queue.server import check_server, parse_info

#: Entries looked at by one XAUTOCLAIM, which itself stops after ten times as many.
_RECLAIM_COUNT = 50
_DUE_COUNT = 100
#: A worker holds one job; answers that were lost, and jobs that it dropped, add a few.
_HELD_COUNT = 10
#: A consumer without entries that has not asked for this long belongs to a worker that is gone.
_CONSUMER_IDLE_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a queue's stream."""

    id: str
    job: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An event of a job: the job as it then stood."""

    cursor: str
    job: Job

    @property
    def time_ms(self) -> int:
        """When, by the server's clock."""
        return int(self.cursor.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Depth:
    """How much stands where."""

    waiting: int = 0
    delayed: int = 0
    running: int = 0
    dead: int = 0

    def __add__(self, other: "Depth") -> "Depth":
        return Depth(
            self.waiting + other.waiting,
            self.delayed + other.delayed,
            self.running + other.running,
            self.dead + other.dead,
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """The server's run, and its data since they were last empty: both change if data are lost."""

    mark: str
    is_checked: bool


@cache
def _script() -> Script:
    """The one script. It also runs while the server's memory is full: see `check_memory`."""
    body = resources.files("twofold.queue").joinpath("apply.lua").read_text("utf-8")
    return Script("#!lua flags=allow-oom\n" + body)


#: Without that flag a server whose memory is full refuses a script, whatever it does.
_PROBE = Script("#!lua\nreturn 1")
#: A command on one key that must work also then.
_PERMITTED = Script("#!lua flags=allow-oom\nreturn redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))")
#: Deletes a group's consumers that hold nothing and have not asked for some milliseconds. At once:
#: what one is given between a look and its deletion would be destroyed, and its job with it.
_FORGET = Script("""#!lua flags=allow-oom
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local about = {}
  for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
  if about.pending == 0 and about.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about.name)
  end
end""")


class RedisQueue:
    """The queue of all tenants on one server. Connects when it is first used.

    Every call may raise errors.Unavailable, after some seconds of trying.
    """

    def __init__(
        self,
        url: str,
        patience_s: float = PATIENCE_S,
        connect: Callable[[str, float], Commands] = Connection,
    ) -> None:
        self._connection = connect(url, patience_s)
        self._script = _script()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._connection.close()

    async def check_server(self, *, insecure: bool = False) -> None:
        """Refuses a server that is too old, forgets or evicts; see twofold.queue.server."""
        await check_server(self._connection, insecure=insecure)

    async def time_ms(self) -> int:
        """The server's clock."""
        return _time_ms(await self._connection.call("TIME"))

    async def read(self, tenant: str, job_id: str) -> tuple[Job | None, int]:
        """The job, None where it is unknown, and the server's time."""
        found, now = await self._connection.call_all(
            [("HGETALL", schema.job(tenant, job_id)), ("TIME",)]
        )
        return codec.restored(found), _time_ms(now)

    async def read_many(self, tenant: str, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs, in order; None for those that are unknown."""
        if not job_ids:
            return []
        commands = [("HGETALL", schema.job(tenant, job_id)) for job_id in job_ids]
        found = await self._connection.call_all(commands)
        return [codec.restored(reply) for reply in found]

    async def check_memory(self) -> None:
        """Raises LimitExceeded while the server's memory is full.

        For new work only: what is accepted must be enqueued, beat, end and be acknowledged.
        """
        await self._connection.evaluate(_PROBE, [], [])

    async def create(self, tenant: str, job: Job, token: str) -> Job | None:
        """Stores and enqueues a new job; None where there is one of its id already."""
        (created,) = await self.create_all(tenant, [(job, token)])
        return created

    async def create_all(self, tenant: str, jobs: Sequence[tuple[Job, str]]) -> list[Job | None]:
        """As `create`, for each job with the token of its change, in one round trip."""
        plans = [(plan_change(tenant, None, job), token) for job, token in jobs]
        runs = [(plan.keys, ["", token, *plan.arguments]) for plan, token in plans]
        replies = await self._connection.evaluate_all(self._script, runs)
        return [_applied(*made, reply) for made, reply in zip(jobs, replies, strict=True)]

    async def apply(self, tenant: str, old: Job, new: Job, token: str) -> Job | None:
        """Turns `old` into `new`; the job as stored, or None where `old` is no longer current."""
        plan = plan_change(tenant, old, new)
        arguments = [old.change, token, *plan.arguments]
        reply = await self._connection.evaluate(self._script, plan.keys, arguments)
        return _applied(new, token, reply)

    async def drop(self, tenant: str, entry: str) -> None:
        """Deletes an entry that stands for nothing."""
        key = schema.queue(tenant)
        # XACK alone frees no memory. Last: acknowledged but not deleted it would seem to wait for
        # ever, and what is deleted but not acknowledged XAUTOCLAIM takes away.
        await self._connection.call_all([("XDEL", key, entry), ("XACK", key, schema.GROUP, entry)])

    async def next_entry(self, tenant: str, worker: str, block_s: float) -> Entry | None:
        """Receives one entry as consumer `worker`; waits up to `block_s`, at most two seconds."""
        wait_s = min(block_s, BLOCK_LIMIT_S)
        command: list[Argument] = ["XREADGROUP", "GROUP", schema.GROUP, worker, "COUNT", 1]
        if wait_s > 0:
            command += ["BLOCK", max(1, int(wait_s * 1000))]
        command += ["STREAMS", schema.queue(tenant), ">"]
        try:
            reply = await self._connection.block(wait_s, *command)
        except NoGroup:
            await self._make_group(tenant)
            reply = None
            with contextlib.suppress(NoGroup):  # emptied once more while we waited
                reply = await self._connection.block(wait_s, *command)
        entries = _stream_entries(reply)
        return _entry(*entries[0]) if entries else None

    async def held_entries(self, tenant: str, worker: str) -> list[Entry]:
        """The first entries that were given to `worker` and not taken back since.

        Does not touch them: reading them as XREADGROUP does would renew their leases.
        """
        key = schema.queue(tenant)
        try:
            reply = await self._connection.call(
                *("XPENDING", key, schema.GROUP, "-", "+", _HELD_COUNT, worker)
            )
        except NoGroup:
            return []
        ids = [cast("bytes", cast("list[Reply]", one)[0]) for one in cast("list[Reply]", reply)]
        commands = [("XRANGE", key, entry, entry) for entry in ids]
        found = await self._connection.call_all(commands) if commands else []
        return [_entry(*pair) for entries in found for pair in _entries(entries)]

    async def idle_entries(self, tenant: str, reaper: str, idle_ms: int) -> list[Entry]:
        """Takes over all entries that nobody has touched for `idle_ms`."""
        found: list[Entry] = []
        cursor = "0-0"
        while True:
            try:
                reply = await self._connection.call(
                    *("XAUTOCLAIM", schema.queue(tenant), schema.GROUP, reaper, idle_ms, cursor),
                    *("COUNT", _RECLAIM_COUNT),
                )
            except NoGroup:
                await self._make_group(tenant)
                return found
            parts = cast("list[Reply]", reply)
            found += [_entry(*pair) for pair in _entries(parts[1])]
            cursor = cast("bytes", parts[0]).decode()
            if cursor == "0-0":
                return found

    async def due_jobs(self, tenant: str) -> list[str]:
        """Delayed jobs whose time has come, oldest first; not all where there are many."""
        # One round trip: what is not due yet is left out here.
        first = ("ZRANGE", schema.delayed(tenant), 0, _DUE_COUNT - 1, "WITHSCORES")
        found, now = await self._connection.call_all([first, ("TIME",)])
        flat, now_ms = cast("list[bytes]", found), _time_ms(now)
        due = zip(flat[::2], flat[1::2], strict=True)
        return [job.decode() for job, score in due if float(score) <= now_ms]

    async def forget_delayed(self, tenant: str, job_id: str) -> None:
        """Takes a job that no longer exists out of the delayed ones."""
        await self._connection.call("ZREM", schema.delayed(tenant), job_id)

    async def forget_workers(self, tenant: str) -> None:
        """Deletes consumers of workers that are long gone and hold nothing.

        XGROUP DELCONSUMER destroys what a consumer holds: one that has asked within a day, or that
        holds an entry, is never deleted.
        """
        with contextlib.suppress(NoGroup):
            await self._connection.evaluate(
                _FORGET, [schema.queue(tenant)], [schema.GROUP, _CONSUMER_IDLE_MS]
            )

    async def is_steady(self, for_ms: int, stall_ms: int) -> bool:
        """Whether server and network have been up for `for_ms`, as far as we saw.

        After an outage every entry looks abandoned, until its holder could beat again. Outages
        below `stall_ms` do not count: no lease ends because of one.
        """
        about = parse_info(await self._connection.call("INFO", "server"))
        up_ms = int(about.get("uptime_in_seconds", "0")) * 1000
        return up_ms > for_ms and self._connection.steady_s(stall_ms / 1000) * 1000 > for_ms

    async def lost_members(self, tenant: str, jobs: Sequence[Job]) -> list[Job]:
        """Those of live jobs that stand in neither the stream nor the delayed ones, as they must.

        Only as of now: decide again on each job as it then is.
        """
        commands: list[tuple[Argument, ...]] = [
            ("ZSCORE", schema.delayed(tenant), job.id)
            if job.phase in WAITING
            else ("XRANGE", schema.queue(tenant), job.entry or "0-1", job.entry or "0-1")
            for job in jobs
        ]
        found = await self._connection.call_all(commands) if commands else []
        return [job for job, reply in zip(jobs, found, strict=True) if not reply]

    async def origin(self, tenant: str, token: Callable[[], str]) -> Origin:
        """Where the server's data come from, and whether they were compared with the store.

        `token` makes a unique one, which marks data without a mark.
        """
        key = schema.checked(tenant)
        look: list[tuple[Argument, ...]] = [("HGETALL", key), ("INFO", "server")]
        fields, about = await self._connection.call_all(look)
        if "born" not in codec.pairs(fields):
            await self._connection.evaluate(_PERMITTED, [key], ["HSETNX", "born", token()])
            fields, about = await self._connection.call_all(look)
        found = codec.pairs(fields)
        run_id = parse_info(about).get("run_id", "")
        mark = f"{run_id} {found.get('born', b'').decode()}"
        return Origin(mark, found.get("done", b"").decode() == mark)

    async def set_checked(self, tenant: str, origin: Origin) -> None:
        """Notes that data of this origin were compared with the store."""
        key = schema.checked(tenant)
        await self._connection.evaluate(_PERMITTED, [key], ["HSET", "done", origin.mark])

    async def belong(self, tenant: str, store: str) -> str:
        """The identity of the store that the queue belongs to: `store` where there was none."""
        key = schema.checked(tenant)
        await self._connection.evaluate(_PERMITTED, [key], ["HSETNX", "store", store])
        found = await self._connection.call("HGET", key, "store")
        return store if found is None else cast("bytes", found).decode()

    async def last_cursor(self, tenant: str, job_id: str) -> str:
        """The cursor of a job's newest event; "0-0" where there is none."""
        key = schema.events(tenant, job_id)
        entries = _entries(await self._connection.call("XREVRANGE", key, "+", "-", "COUNT", 1))
        return entries[0][0].decode() if entries else "0-0"

    async def events(self, tenant: str, job_id: str, cursor: str, block_s: float) -> list[Snapshot]:
        """A job's events after `cursor`; waits up to `block_s`, at most two seconds, for one."""
        wait_s = min(block_s, BLOCK_LIMIT_S)
        reply = await self._connection.block(
            wait_s,
            *("XREAD", "COUNT", 100, "BLOCK", max(1, int(wait_s * 1000))),
            *("STREAMS", schema.events(tenant, job_id), cursor),
        )
        snapshots: list[Snapshot] = []
        for entry_id, fields in _stream_entries(reply):
            job = codec.restored(fields)
            if job is not None:
                snapshots.append(Snapshot(entry_id.decode(), job))
        return snapshots

    async def announce_versions(self, tenant: str) -> None:
        """Tells inferers to look at the store."""
        await self._connection.call(*announcement(tenant))

    async def depth(self, tenant: str) -> Depth:
        """How much stands where."""
        key = schema.queue(tenant)
        commands = [("XLEN", key), ("ZCARD", schema.delayed(tenant)), ("XLEN", schema.dead(tenant))]
        length, delayed, dead = cast("list[int]", await self._connection.call_all(commands))
        try:
            summary = await self._connection.call("XPENDING", key, schema.GROUP)
        except NoGroup:
            summary = [0]
        running = cast("int", cast("list[Reply]", summary)[0])
        return Depth(max(0, length - running), delayed, running, dead)

    async def _make_group(self, tenant: str) -> None:
        """Makes the consumer group, from the stream's first entry on."""
        with contextlib.suppress(GroupExists):
            await self._connection.call(
                *("XGROUP", "CREATE", schema.queue(tenant), schema.GROUP, "0", "MKSTREAM")
            )


_APPLIED = 1


def _applied(job: Job, token: str, reply: Reply) -> Job | None:
    """The job as stored; None where another change came first."""
    status, entry = cast("tuple[int, bytes]", tuple(cast("list[Reply]", reply)))
    if status != _APPLIED:
        return None
    return job._replace(change=token, entry=entry.decode() or job.entry)


def _time_ms(reply: Reply) -> int:
    seconds, microseconds = cast("list[bytes]", reply)
    return int(seconds) * 1000 + int(microseconds) // 1000


def _stream_entries(reply: Reply) -> list[tuple[bytes, Reply]]:
    """The entries of a reply of XREAD or XREADGROUP for one stream."""
    if not reply:
        return []
    first = cast("list[Reply]", cast("list[Reply]", reply)[0])
    return _entries(first[1])


def _entries(reply: Reply) -> list[tuple[bytes, Reply]]:
    found = [cast("list[Reply]", entry) for entry in cast("list[Reply]", reply) if entry]
    return [(cast("bytes", entry[0]), entry[1]) for entry in found]


def _entry(entry_id: bytes, fields: Reply) -> Entry:
    return Entry(entry_id.decode(), codec.pairs(fields).get("job", b"").decode())

"""The queue in Redis: reads jobs, and applies what `twofold.transitions.decide` said."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Self, cast

from twofold.errors import LimitExceeded
from twofold.jobs import Job
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
from twofold.queue.plan import Plan, announcement, plan_change
from twofold.queue.server import check_server, parse_info

#: Entries looked at by one XAUTOCLAIM, which itself stops after ten times as many.
_RECLAIM_COUNT = 50
_DUE_COUNT = 100
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
class Requested:
    """The request key was taken: the job that the request made, and the request's digest."""

    job: str
    sha256: str


def _scripts() -> tuple[Script, Script]:
    """The one script, strict and as it runs while the server's memory is full."""
    body = resources.files("twofold.queue").joinpath("apply.lua").read_text("utf-8")
    # A full memory refuses new jobs, but running ones must beat, finish and be acknowledged.
    return Script("#!lua\n" + body), Script("#!lua flags=allow-oom\n" + body)


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
        self._strict, self._permitted = _scripts()

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
        return codec.restored(codec.pairs(found)), _time_ms(now)

    async def read_many(self, tenant: str, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs, in order; None for those that are unknown."""
        if not job_ids:
            return []
        commands = [("HGETALL", schema.job(tenant, job_id)) for job_id in job_ids]
        found = await self._connection.call_all(commands)
        return [codec.restored(codec.pairs(reply)) for reply in found]

    async def find_request(self, tenant: str, request_id: str) -> Requested | None:
        """The job that a request made within the last 24 hours."""
        value = await self._connection.call("GET", schema.request(tenant, request_id))
        return _requested(value) if value is not None else None

    async def create(
        self, tenant: str, job: Job, *, request_sha256: str, max_waiting: int, token: str
    ) -> Job | Requested:
        """Stores and enqueues a new job, unless its request made one before.

        Raises:
            LimitExceeded: `max_waiting` jobs wait already, or the server's memory is full.
        """
        plan = Plan(tenant, job.id)
        request = schema.request(tenant, job.request_id) if job.request_id else ""
        if request:
            # First: a repeat gets its job also where there is no room for another.
            plan.add("UNUSED", request)
        plan.add("ROOM", schema.queue(tenant), max_waiting, plan.key(schema.delayed(tenant)))
        if request:
            life = ("PX", schema.REQUEST_LIFE_MS)
            plan.add("SET", request, f"{job.id} {request_sha256}", *life)
        plan_change(plan, None, job)
        status, detail = await self._run(self._strict, plan, 0, token)
        if status == _TAKEN:
            return _requested(detail)
        if status == _NO_ROOM:
            waiting = int(detail)
            raise LimitExceeded(
                f"{waiting} jobs wait; allowed: {max_waiting}; try again later",
                limit="max_queued_jobs",
                value=waiting,
                allowed=max_waiting,
            )
        # A differing revision means that an earlier try went through and a worker was quick.
        return replace(job, entry=detail.decode()) if status == _APPLIED else job

    async def apply(self, tenant: str, old: Job, new: Job, token: str) -> Job | None:
        """Turns `old` into `new`; the job as stored, or None where `old` is no longer current."""
        plan = Plan(tenant, new.id)
        plan_change(plan, old, new)
        status, detail = await self._run(self._permitted, plan, old.revision, token)
        return replace(new, entry=detail.decode()) if status == _APPLIED else None

    async def drop(self, tenant: str, entry: str) -> None:
        """Deletes an entry that stands for nothing."""
        key = schema.queue(tenant)
        # XACK alone frees no memory.
        await self._connection.call_all([("XACK", key, schema.GROUP, entry), ("XDEL", key, entry)])

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
            reply = await self._connection.block(wait_s, *command)
        entries = _stream_entries(reply)
        return _entry(*entries[0]) if entries else None

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
        now_ms = await self.time_ms()
        limit: list[Argument] = ["LIMIT", 0, _DUE_COUNT]
        reply = await self._connection.call(
            "ZRANGEBYSCORE", schema.delayed(tenant), "-inf", now_ms, *limit
        )
        return [job.decode() for job in cast("list[bytes]", reply)]

    async def forget_delayed(self, tenant: str, job_id: str) -> None:
        """Takes a job that no longer exists out of the delayed ones."""
        await self._connection.call("ZREM", schema.delayed(tenant), job_id)

    async def forget_workers(self, tenant: str) -> None:
        """Deletes consumers of workers that are long gone and hold nothing.

        XGROUP DELCONSUMER destroys what a consumer holds: one that has asked within a day, or that
        holds an entry, is never deleted.
        """
        key = schema.queue(tenant)
        try:
            reply = await self._connection.call("XINFO", "CONSUMERS", key, schema.GROUP)
        except NoGroup:
            return
        for consumer in cast("list[Reply]", reply):
            flat = cast("list[Reply]", consumer)
            about = dict(zip(cast("list[bytes]", flat[::2]), flat[1::2], strict=True))
            idle, held = cast("int", about[b"idle"]), cast("int", about[b"pending"])
            if held == 0 and idle > _CONSUMER_IDLE_MS:
                name = cast("bytes", about[b"name"])
                await self._connection.call("XGROUP", "DELCONSUMER", key, schema.GROUP, name)

    async def is_steady(self, for_ms: int) -> bool:
        """Whether server and network have been up for `for_ms`, as far as we saw.

        After an outage every entry looks abandoned, until its holder could beat again.
        """
        about = parse_info(await self._connection.call("INFO", "server"))
        up_ms = int(about.get("uptime_in_seconds", "0")) * 1000
        return up_ms > for_ms and self._connection.steady_s() * 1000 > for_ms

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
            job = codec.restored(codec.pairs(fields))
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

    async def _run(
        self, script: Script, plan: Plan, revision: int, token: str
    ) -> tuple[int, bytes]:
        arguments = [str(revision), token, *plan.operations]
        reply = await self._connection.evaluate(script, plan.keys, arguments)
        status, detail = cast("tuple[int, bytes]", tuple(cast("list[Reply]", reply)))
        return status, detail


_APPLIED = 1
_TAKEN = 2
_NO_ROOM = 3


def _requested(value: Reply) -> Requested:
    job, _, sha256 = cast("bytes", value).decode().partition(" ")
    return Requested(job, sha256)


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

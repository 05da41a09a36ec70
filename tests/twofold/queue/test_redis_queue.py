"""Changes are applied once, all or nothing, and only to the revision they were decided on."""

from collections.abc import AsyncIterator, Sequence
from unittest.mock import ANY

import pytest

from tests.valkey import Valkey
from twofold.errors import Internal, Unavailable, Unimplemented
from twofold.jobs import Job, Phase, State
from twofold.queue import Depth, Entry, RedisQueue, codec, schema
from twofold.queue.connection import Argument, Connection, NoGroup, Reply, Script

TENANT = "local"
JOB = "01J00000000000000000000000"
NEW = Job(id=JOB, model="digits", revision=1, request_id="r")


@pytest.fixture
async def queue(valkey: Valkey) -> AsyncIterator[RedisQueue]:
    async with RedisQueue(valkey.url) as made:
        yield made


async def create(queue: RedisQueue, job: Job = NEW, change: str = "t0") -> Job:
    created = await queue.create(TENANT, job, change)
    assert created is not None
    return created


async def test_created_job_is_read_back(queue: RedisQueue) -> None:
    created = await create(queue)

    job, now_ms = await queue.read(TENANT, JOB)

    assert job == created
    assert job is not None
    assert job.entry
    assert now_ms > 1_700_000_000_000


async def test_change_with_the_same_token_is_applied_once(
    queue: RedisQueue, valkey: Valkey
) -> None:
    """The answer was lost: the repeat must not enqueue a second entry."""
    old = (await create(queue))._replace(attempt="A", owner="w")
    new = old._replace(revision=2, attempt="", owner="", entry="")

    first = await queue.apply(TENANT, old, new, "t1")
    again = await queue.apply(TENANT, old, new, "t1")

    assert first is not None
    assert again == first
    assert valkey.command("XLEN", schema.queue(TENANT)) == 1
    assert valkey.command("XLEN", schema.events(TENANT, JOB)) == 2


async def test_change_decided_on_an_old_revision_is_refused(
    queue: RedisQueue, valkey: Valkey
) -> None:
    old = await create(queue)
    await queue.apply(TENANT, old, old._replace(revision=2, message="first"), "t1")

    assert await queue.apply(TENANT, old, old._replace(revision=2, message="second"), "t2") is None

    job, _ = await queue.read(TENANT, JOB)
    assert job is not None
    assert (job.message, job.revision) == ("first", 2)
    assert valkey.command("XLEN", schema.events(TENANT, JOB)) == 2


async def test_change_decided_on_a_lost_past_is_refused(queue: RedisQueue) -> None:
    """A replica that was behind took over, and other changes counted up to the same revision."""
    old = await create(queue)
    present = await queue.apply(TENANT, old, old._replace(revision=2, message="present"), "t1")
    lost = old._replace(revision=2, message="lost", change="t0")

    assert await queue.apply(TENANT, lost, lost._replace(revision=3), "t2") is None
    assert await queue.read(TENANT, JOB) == (present, ANY)


async def test_create_repeated_after_a_worker_was_quick_is_no_second_job(
    queue: RedisQueue, valkey: Valkey
) -> None:
    created = await create(queue)
    await queue.apply(TENANT, created, created._replace(revision=2, message="later"), "t1")

    assert await queue.create(TENANT, NEW, "t9") is None
    assert await queue.create(TENANT, NEW, "t0") is None

    assert valkey.command("XLEN", schema.queue(TENANT)) == 1


async def test_fresh_entry_replaces_the_old_one(queue: RedisQueue, valkey: Valkey) -> None:
    old = await create(queue)
    received = await queue.next_entry(TENANT, "w", 0)
    assert received is not None
    assert received.id == old.entry

    new = await queue.apply(TENANT, old, old._replace(revision=2, entry=""), "t1")

    assert new is not None
    assert new.entry != old.entry
    assert valkey.command("XLEN", schema.queue(TENANT)) == 1
    assert valkey.command("XPENDING", schema.queue(TENANT), schema.GROUP) == [0, None, None, None]


async def test_record_of_a_newer_release_is_refused(queue: RedisQueue, valkey: Valkey) -> None:
    await create(queue)
    valkey.command("HSET", schema.job(TENANT, JOB), "format", 2)

    with pytest.raises(Unimplemented, match="upgrade"):
        await queue.read(TENANT, JOB)


async def test_field_of_a_later_release_is_ignored(queue: RedisQueue, valkey: Valkey) -> None:
    created = await create(queue)
    valkey.command("HSET", schema.job(TENANT, JOB), "novelty", "x")

    assert (await queue.read(TENANT, JOB))[0] == created


async def test_events_are_capped(queue: RedisQueue, valkey: Valkey) -> None:
    job = await create(queue)
    for revision in range(2, 4):
        changed = await queue.apply(
            TENANT, job, job._replace(revision=revision, message=str(revision)), str(revision)
        )
        assert changed is not None
        job = changed
    valkey.command(
        "EVAL",
        "for i = 1, 3000 do redis.call('XADD', KEYS[1], '*', 'a', i) end",
        1,
        schema.events(TENANT, JOB),
    )

    await queue.apply(TENANT, job, job._replace(revision=9, message="last"), "last")

    length = valkey.command("XLEN", schema.events(TENANT, JOB))
    assert isinstance(length, int)
    assert length < 1_200


class EmptiedTwice(Connection):
    """A server that loses its data while a worker waits, and again when it has made its group."""

    async def block(self, timeout_s: float, *arguments: Argument) -> Reply:
        await self.call("FLUSHALL")
        return await super().block(timeout_s, *arguments)


async def test_a_queue_emptied_again_while_a_worker_waits_is_no_error(valkey: Valkey) -> None:
    async with RedisQueue(valkey.url, connect=EmptiedTwice) as queue:
        assert await queue.next_entry(TENANT, "w", 0.01) is None


class DiesMidway(Connection):
    """A client that dies after the first of several commands."""

    async def call_all(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        await self.call(*commands[0])
        raise Unavailable("gone")


async def test_entry_whose_deletion_died_midway_waits_for_nobody(
    queue: RedisQueue, valkey: Valkey
) -> None:
    await create(queue)
    entry = await queue.next_entry(TENANT, "w", 0)
    assert entry is not None
    async with RedisQueue(valkey.url, connect=DiesMidway) as dying:
        with pytest.raises(Unavailable):
            await dying.drop(TENANT, entry.id)

    assert await queue.idle_entries(TENANT, "reaper", 0) == []

    assert await queue.depth(TENANT) == Depth()


class WakesUp(Connection):
    """After the first answer, a worker that was stopped for a day asks for its next entry."""

    sleeps = True

    async def call(self, *arguments: Argument) -> Reply:
        reply = await super().call(*arguments)
        await self._wake()
        return reply

    async def evaluate(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Reply:
        reply = await super().evaluate(script, keys, arguments)
        await self._wake()
        return reply

    async def _wake(self) -> None:
        if self.sleeps:
            self.sleeps = False
            read = ("XREADGROUP", "GROUP", schema.GROUP, "w", "STREAMS", schema.queue(TENANT), ">")
            await super().call(*read)


async def test_worker_that_wakes_up_while_it_is_forgotten_keeps_what_it_is_given(
    queue: RedisQueue, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await queue.next_entry(TENANT, "w", 0) is None
    job = await create(queue)
    monkeypatch.setattr("twofold.queue.redis_queue._CONSUMER_IDLE_MS", -1)

    async with RedisQueue(valkey.url, connect=WakesUp) as forgetting:
        await forgetting.forget_workers(TENANT)

    assert await queue.held_entries(TENANT, "w") == [Entry(job.entry, JOB)]


async def test_reading_no_jobs_asks_nobody() -> None:
    async with RedisQueue("unix:///nowhere.sock", patience_s=0) as queue:
        assert await queue.read_many(TENANT, []) == []


async def test_depth_and_reap_of_a_tenant_without_a_queue(queue: RedisQueue) -> None:
    assert (await queue.depth("none")).waiting == 0
    assert await queue.idle_entries("none", "reaper", 1) == []


async def test_defect_of_ours_is_internal_and_tells_nothing(valkey: Valkey) -> None:
    async with Connection(valkey.url) as connection:
        await connection.call("SET", "twofold:{x}:queue", "text")
        with pytest.raises(Internal) as caught:
            await connection.call("XLEN", "twofold:{x}:queue")
        with pytest.raises(NoGroup):
            await connection.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "none", ">")

    assert "WRONGTYPE" not in str(caught.value)


def test_job_survives_its_flat_form() -> None:
    job = Job(
        id=JOB,
        model="digits",
        revision=3,
        state=State.JOB_STATE_RUNNING,
        phase=Phase.JOB_PHASE_TRAINING,
        message="h\u00e9",
        progress=b"\xff\x00",
        retry_user_errors=True,
        due_ms=5,
    )
    flat = [str(part).encode() if not isinstance(part, bytes) else part for part in _flat(job)]

    assert codec.restored(list(flat)) == job


def _flat(job: Job) -> list[str | bytes | int]:
    return codec.changed(None, job)


def test_snapshot_hides_what_users_never_see() -> None:
    job = NEW._replace(owner="w1", entry="1-0", lease_until_ms=9, max_retries=3)

    names = codec.snapshot(job)[::2]

    assert not {"owner", "entry", "lease_until_ms", "max_retries"} & set(names)
    assert {"id", "model", "revision", "request_id"} <= set(names)


def test_nothing_is_restored_from_nothing() -> None:
    assert codec.restored([]) is None

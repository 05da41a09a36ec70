"""What keeps jobs moving: lost leases, due jobs, and outages during which nothing may be stolen."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.twofold.lifecycle.bench import LEASE_MS, POLICY, TENANT, Bench
from tests.valkey import Valkey
from twofold import faults, keys
from twofold.jobs import Fenced, Phase, Reason, State
from twofold.lifecycle import Depth
from twofold.principal import LOCAL
from twofold.queue import schema
from twofold.store import StoreError


async def test_lost_lease_is_reaped_and_counted(valkey: Valkey, tmp_path: Path) -> None:
    """In real time, with the real look at the server's uptime."""
    policy = replace(POLICY, lease_ms=100)
    async with Bench(valkey, tmp_path / "store", policy) as bench:
        bench.queue.assume_steady = False
        job_id = await bench.create()
        first = await bench.claim()

        async with asyncio.timeout(10):
            while not await bench.ledger.reap():  # noqa: ASYNC110 - the server's clock decides
                await asyncio.sleep(0.01)

        job = await bench.get(job_id)
        assert (job.state, job.eviction_count) == (State.JOB_STATE_PENDING, 1)
        assert (await bench.claim("w2")).job.attempt_count == 2
        with pytest.raises(Fenced):
            await bench.ledger.beat(first, Phase.JOB_PHASE_TRAINING)


async def test_job_that_beats_is_not_reaped(valkey: Valkey, tmp_path: Path) -> None:
    policy = replace(POLICY, lease_ms=1_500)
    async with Bench(valkey, tmp_path / "store", policy) as bench:
        await bench.create()
        claim = await bench.claim()
        end_ms = await bench.queue.time_ms() + 2_000
        while await bench.queue.time_ms() < end_ms:
            await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)
            assert await bench.ledger.reap() == 0
            await asyncio.sleep(0.1)  # the server's clock must pass a lease; nothing to wait on

        job = await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)
        assert (job.eviction_count, job.owner) == (0, "w1")


async def test_beat_resets_the_idle_time_of_its_entry(bench: Bench) -> None:
    job_id = await bench.create()
    claim = await bench.claim()
    bench.lose_lease(job_id)

    await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)

    assert await bench.queue.idle_entries(TENANT, "reaper", LEASE_MS) == []


async def test_third_lost_lease_ends_the_job(bench: Bench) -> None:
    job_id = await bench.create()
    for _ in range(3):
        await bench.claim()
        await bench.take_over(job_id)

    job = await bench.get(job_id)

    assert (job.state, job.reason) == (State.JOB_STATE_FAILED, Reason.JOB_REASON_WORKER_LOST)
    assert (job.attempt_count, job.eviction_count) == (3, 3)
    assert (await bench.ledger.depth()) == Depth(dead=1)


async def test_cancelling_job_of_a_lost_worker_is_cancelled(bench: Bench) -> None:
    job_id = await bench.create()
    await bench.claim()
    await bench.ledger.cancel(LOCAL, job_id)

    await bench.take_over(job_id)

    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED


async def test_many_lost_leases_are_all_found(valkey: Valkey, tmp_path: Path) -> None:
    """XAUTOCLAIM looks at a part only; its cursor must be followed."""
    policy = replace(POLICY, lease_ms=1, max_queued_jobs=1_000)
    async with Bench(valkey, tmp_path / "store", policy) as bench:
        await bench.create()
        plant = "for i = 1, 130 do redis.call('XADD', KEYS[1], '*', 'job', '01J' .. i) end"
        bench.valkey.command("EVAL", plant, 1, schema.queue(TENANT))
        for number in range(131):
            assert await bench.queue.next_entry(TENANT, f"w{number}", 0)
        await asyncio.sleep(0.002)  # idle is counted in whole milliseconds

        assert await bench.ledger.reap() == 1

        assert await bench.ledger.depth() == Depth(waiting=1)


async def test_nothing_is_reaped_right_after_a_restart_of_the_server(
    bench: Bench, other: Bench
) -> None:
    job_id = await bench.create()
    claim = await bench.claim()
    bench.lose_lease(job_id)
    bench.valkey.restart()
    other.queue.assume_steady = False

    assert await other.ledger.reap() == 0

    await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)


async def test_one_bad_job_does_not_keep_others_from_being_reaped(bench: Bench) -> None:
    bad, good = await bench.create(), await bench.create()
    await bench.claim()
    await bench.claim("w2")
    bench.store.create(keys.job_outcome(TENANT, bad), b"\xff")
    bench.lose_lease(bad)

    await bench.take_over(good)

    assert (await bench.get(good)).phase == Phase.JOB_PHASE_QUEUED
    assert (await bench.get(bad)).state == State.JOB_STATE_RUNNING


async def test_unreadable_folder_does_not_keep_others_from_being_reaped(bench: Bench) -> None:
    """The entries behind it are the reaper's: passed over they would wait for another lease."""
    bad, good = await bench.create(), await bench.create()
    await bench.claim()
    await bench.claim("w2")
    bench.lose_lease(bad)
    bench.lose_lease(good)
    bench.store.unreadable = {bad}

    with pytest.raises(StoreError):
        await bench.ledger.reap()

    bench.store.unreadable = set()
    assert (await bench.get(good)).phase == Phase.JOB_PHASE_QUEUED
    assert (await bench.get(bad)).state == State.JOB_STATE_RUNNING
    await bench.take_over(bad)


async def test_lost_worker_is_noticed_also_where_the_group_forgot_its_entry(bench: Bench) -> None:
    job_id = await bench.create()
    claim = await bench.claim()
    bench.valkey.command("XACK", schema.queue(TENANT), schema.GROUP, claim.job.entry)

    await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)

    await bench.take_over(job_id)
    assert (await bench.claim("w2")).job.id == job_id


async def test_one_bad_job_does_not_keep_others_from_being_promoted(bench: Bench) -> None:
    bad, good = await bench.create_delayed(), await bench.create_delayed()
    bench.valkey.command("HSET", schema.job(TENANT, bad), "format", 2)
    bench.come_due(bad)

    await bench.promote(good)

    assert (await bench.claim()).job.id == good


async def test_delayed_job_is_promoted_when_due(bench: Bench) -> None:
    job_id = await bench.create_delayed()
    assert await bench.ledger.promote() == 0
    assert await bench.ledger.depth() == Depth(delayed=1)

    await bench.promote(job_id)

    assert (await bench.get(job_id)).phase == Phase.JOB_PHASE_QUEUED
    assert await bench.ledger.depth() == Depth(waiting=1)
    assert (await bench.claim()).job.id == job_id


async def test_delayed_job_that_nobody_knows_is_forgotten(bench: Bench) -> None:
    job_id = await bench.create_delayed()
    bench.come_due(job_id)
    bench.valkey.command("DEL", schema.job(TENANT, job_id), schema.events(TENANT, job_id))

    assert await bench.ledger.promote() == 0

    assert await bench.ledger.depth() == Depth()


async def test_two_patrols_move_a_job_once(bench: Bench, other: Bench) -> None:
    bench.come_due(await bench.create_delayed())

    await asyncio.gather(bench.ledger.promote(), other.ledger.promote())

    assert await bench.ledger.depth() == Depth(waiting=1)


async def test_worker_that_is_long_gone_is_forgotten_unless_it_holds_something(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twofold.queue.redis_queue._CONSUMER_IDLE_MS", 0)
    await bench.create()
    await bench.claim("holds")
    await bench.ledger.claim("idle", 0.01)
    await asyncio.sleep(0.01)  # idle is counted in whole milliseconds
    consumers = _consumers(bench)
    assert {b"holds", b"idle"} <= consumers

    await bench.ledger.reap()

    assert _consumers(bench) - {b"reaper"} == {b"holds"}
    monkeypatch.undo()
    await bench.queue.forget_workers("unknown")


async def test_depth_counts_each_job_once(bench: Bench) -> None:
    await bench.create()
    await bench.create()
    await bench.create_delayed()
    await bench.claim()

    assert await bench.ledger.depth() == Depth(waiting=1, delayed=1, running=1)


async def test_reaper_that_dies_midway_is_replaced(bench: Bench, other: Bench) -> None:
    job_id = await bench.create()
    for _ in range(2):
        await bench.claim()
        await bench.take_over(job_id)
    await bench.claim()
    faults.arm("ledger.settled", _crash)
    with pytest.raises(RuntimeError):
        await bench.take_over(job_id)
    faults.disarm()

    await other.take_over(job_id)

    assert await other.ledger.depth() == Depth(dead=1)


def _crash() -> None:
    raise RuntimeError


def _consumers(bench: Bench) -> set[object]:
    found = bench.valkey.command("XINFO", "CONSUMERS", schema.queue(TENANT), schema.GROUP)
    return {consumer[1] for consumer in cast("list[list[object]]", found)}

"""The store alone says which jobs there are: a queue that was lost is rebuilt from it."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.twofold.lifecycle.bench import TENANT, Bench
from tests.twofold.samples import JOB, sample_record
from tests.valkey import Valkey
from twofold import faults, keys
from twofold.config import UnusableSettings
from twofold.jobs import Job, Phase, State
from twofold.lifecycle import Depth, Reconciled
from twofold.principal import LOCAL
from twofold.queue import schema
from twofold.store import StoreError

REQUEST = "6fa459ea-ee8a-4ca4-894e-db77e160355e"


class Crash(Exception):
    """Armed at fault points."""


def crash() -> None:
    raise Crash


async def test_wiped_queue_is_rebuilt(bench: Bench) -> None:
    waiting, delayed = await bench.create(), await bench.create_delayed()
    ended = await bench.create()
    await bench.ledger.cancel(LOCAL, ended)
    bench.valkey.command("FLUSHALL")

    assert await bench.ledger.reconcile() == Reconciled(jobs=3, enqueued=2)

    assert await bench.ledger.depth() == Depth(waiting=1, delayed=1)
    assert (await bench.get(delayed)).phase == Phase.JOB_PHASE_DELAYED
    assert (await bench.claim()).job.id == waiting
    assert (await bench.get(ended)).state == State.JOB_STATE_CANCELLED


async def test_reconciling_again_changes_nothing(bench: Bench) -> None:
    await bench.create()
    await bench.create_delayed()
    running = await bench.create()
    await bench.claim()
    before = [await bench.queue.read(TENANT, job_id) for job_id in _jobs(bench)]

    assert await bench.ledger.reconcile() == Reconciled(jobs=3)

    after = [await bench.queue.read(TENANT, job_id) for job_id in _jobs(bench)]
    assert [job for job, _ in after] == [job for job, _ in before]
    assert running in _jobs(bench)


async def test_job_whose_create_died_before_the_queue_comes_to_life(bench: Bench) -> None:
    faults.arm("ledger.journaled", crash)
    with pytest.raises(Crash):
        await bench.create(REQUEST)
    faults.disarm()

    assert (await bench.ledger.reconcile()).enqueued == 1

    claim = await bench.claim()
    assert await bench.create(REQUEST) == claim.job.id


async def test_ended_job_is_not_trained_again(bench: Bench) -> None:
    await bench.create()
    await bench.publish(await bench.claim())
    bench.valkey.command("FLUSHALL")

    assert await bench.ledger.reconcile() == Reconciled(jobs=1)

    assert await bench.ledger.claim("w2", 0) is None
    assert bench.visible() == [1]


async def test_decided_version_becomes_visible(bench: Bench) -> None:
    """Its publisher died right after the decision, and the queue was lost with it."""
    await bench.create()
    claim = await bench.claim()
    faults.arm("publish.decided", crash)
    with pytest.raises(Crash):
        await bench.publish(claim)
    bench.valkey.command("FLUSHALL")
    assert bench.visible() == []

    await bench.ledger.reconcile()

    assert bench.visible() == [1]


async def test_job_that_ended_in_the_store_only_ends_in_the_queue(bench: Bench) -> None:
    job_id = await bench.create()
    claim = await bench.claim()
    faults.arm("ledger.published", crash)
    with pytest.raises(Crash):
        await bench.publish(claim)

    assert await bench.ledger.reconcile() == Reconciled(jobs=1, ended=1)

    job, _ = await bench.queue.read(TENANT, job_id)
    assert job is not None
    assert job.state == State.JOB_STATE_SUCCEEDED
    assert await bench.ledger.depth() == Depth()


async def test_cancel_file_alone_is_a_cancellation(bench: Bench) -> None:
    job_id = await bench.create()
    faults.arm("ledger.cancel_asked", crash)
    with pytest.raises(Crash):
        await bench.ledger.cancel(LOCAL, job_id)
    bench.valkey.command("FLUSHALL")

    await bench.ledger.reconcile()

    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED
    assert await bench.ledger.claim("w", 0) is None


async def test_cancelled_job_whose_worker_lives_lets_it_finish(bench: Bench) -> None:
    """A replica knew the job as running: its worker learns of the cancellation as always."""
    job_id = await bench.create()
    claim = await bench.claim()
    faults.arm("ledger.cancelled", crash)
    with pytest.raises(Crash):
        await bench.ledger.cancel(LOCAL, job_id)

    await bench.ledger.reconcile()

    job = await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)
    assert job.state == State.JOB_STATE_CANCELLING
    assert (await bench.ledger.cancelled(claim)).state == State.JOB_STATE_CANCELLED


async def test_attempts_that_left_checkpoints_are_counted(bench: Bench) -> None:
    await bench.create()
    claim = await bench.claim()
    folder = keys.attempt_checkpoints(TENANT, claim.job.id, claim.attempt)
    bench.store.create(f"{folder}/17.checkpoint", b"weights")
    (bench.store.path(folder).parent / ".DS_Store").touch()
    bench.valkey.command("FLUSHALL")

    await bench.ledger.reconcile()

    second = await bench.claim()
    assert second.job.attempt_count == 2
    assert second.resume_path == f"{folder}/17.checkpoint"


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_live_job_whose_entry_is_gone_is_queued_again(bench: Bench, state: str) -> None:
    job_id = await bench.create()
    if state == "running":
        await bench.claim()
    bench.valkey.command("DEL", schema.queue(TENANT))

    assert await bench.ledger.reconcile() == Reconciled(jobs=1, enqueued=1)

    assert (await bench.claim("w2")).job.id == job_id
    assert await bench.ledger.depth() == Depth(running=1)


async def test_cancelling_job_whose_entry_is_gone_is_cancelled(bench: Bench) -> None:
    job_id = await bench.create()
    await bench.claim()
    await bench.ledger.cancel(LOCAL, job_id)
    bench.valkey.command("DEL", schema.queue(TENANT))

    assert await bench.ledger.reconcile() == Reconciled(jobs=1, enqueued=1)

    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED


async def test_delayed_job_that_is_nowhere_is_delayed_again(bench: Bench) -> None:
    job_id = await bench.create_delayed()
    bench.valkey.command("DEL", schema.delayed(TENANT))

    assert await bench.ledger.reconcile() == Reconciled(jobs=1, enqueued=1)

    await bench.promote(job_id)
    assert (await bench.claim()).job.id == job_id


async def test_what_is_no_job_is_left_alone(bench: Bench) -> None:
    good = await bench.create()
    bench.store.make_folder(f"{keys.jobs(TENANT)}/junk")
    bench.store.make_folder(keys.job(TENANT, JOB))
    bench.store.create(keys.job_spec(TENANT, "01J0000000000000000000000B"), b"\xff")
    bench.store.create(keys.job_outcome(TENANT, "01J0000000000000000000000C"), b"\xff")
    bench.valkey.command("FLUSHALL")

    assert (await bench.ledger.reconcile()).enqueued == 1

    assert (await bench.claim()).job.id == good
    assert await bench.ledger.claim("w2", 0) is None


async def test_unreadable_folder_does_not_keep_others_from_being_found(bench: Bench) -> None:
    bad, good = await bench.create(), await bench.create()
    bench.valkey.command("FLUSHALL")
    bench.store.unreadable = {bad}

    with pytest.raises(StoreError):
        await bench.ledger.recover()

    assert (await bench.claim()).job.id == good
    bench.store.unreadable = set()
    # It was not noted as compared.
    assert await bench.ledger.recover() == Reconciled(jobs=2, enqueued=1)
    assert (await bench.claim("w2")).job.id == bad


async def test_job_that_cannot_be_ended_does_not_keep_others_from_it(bench: Bench) -> None:
    faults.arm("ledger.cancel_asked", crash)
    for _ in range(2):
        with pytest.raises(Crash):
            await bench.ledger.cancel(LOCAL, await bench.create())
    errors = [StoreError("away")]

    def fail_once() -> None:
        if errors:
            raise errors.pop()

    faults.arm("ledger.settling", fail_once)
    with pytest.raises(StoreError):
        await bench.ledger.recover()

    assert await bench.ledger.depth() == Depth(waiting=1)
    assert await bench.ledger.recover() == Reconciled(jobs=2, ended=1)


async def test_record_of_a_newer_release_does_not_keep_others_from_being_found(
    bench: Bench,
) -> None:
    newer, lost = await bench.create(), await bench.create()
    bench.valkey.command("HSET", schema.job(TENANT, newer), "format", 2)
    bench.valkey.command("DEL", schema.job(TENANT, lost), schema.events(TENANT, lost))

    assert await bench.ledger.recover() == Reconciled(jobs=2, enqueued=1)
    assert await bench.ledger.recover() is None


async def test_reconcilers_side_by_side_enqueue_once(bench: Bench, other: Bench) -> None:
    for _ in range(5):
        await bench.create()
    bench.valkey.command("FLUSHALL")

    done = await asyncio.gather(*(side.ledger.reconcile() for side in (bench, other) * 2))

    assert sum(one.enqueued for one in done) == 5
    assert await bench.ledger.depth() == Depth(waiting=5)


async def test_end_during_a_reconcile_is_not_overtaken_by_it(
    bench: Bench, other: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is cancelled after reconciling has read it, and before it has enqueued it."""
    job_id = await bench.create()
    bench.valkey.command("FLUSHALL")
    enqueue = bench.queue.create_all

    async def cancel_first(tenant: str, jobs: Sequence[tuple[Job, str]]) -> list[Job | None]:
        await other.ledger.cancel(LOCAL, job_id)
        return await enqueue(tenant, jobs)

    monkeypatch.setattr(bench.queue, "create_all", cancel_first)
    await bench.ledger.reconcile()

    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED
    assert await bench.ledger.depth() == Depth()


@pytest.mark.parametrize("point", ["reconcile.read", "reconcile.enqueued"])
async def test_reconcile_that_died_is_done_again_by_the_next_look(
    bench: Bench, other: Bench, point: str
) -> None:
    job_id = await bench.create()
    bench.valkey.command("FLUSHALL")
    faults.arm(point, crash)
    with pytest.raises(Crash):
        await bench.ledger.recover()
    faults.disarm()

    assert await other.ledger.recover() is not None

    assert (await bench.claim()).job.id == job_id
    assert await bench.ledger.depth() == Depth(running=1)


async def test_look_finds_nothing_to_do_until_data_may_be_lost(bench: Bench, other: Bench) -> None:
    await bench.create()
    assert await bench.ledger.recover() is not None

    assert await bench.ledger.recover() is None
    assert await other.ledger.recover() is None
    bench.valkey.command("FLUSHALL")
    assert await other.ledger.recover() == Reconciled(jobs=1, enqueued=1)
    bench.valkey.restart()
    assert await bench.ledger.recover() == Reconciled(jobs=1)
    assert await other.ledger.recover() is None


async def test_wipe_during_a_reconcile_is_found_by_the_next_look(bench: Bench) -> None:
    job_id = await bench.create()

    def wipe() -> None:
        bench.valkey.command("FLUSHALL")

    faults.arm("reconcile.read", wipe)
    await bench.ledger.recover()
    faults.disarm()

    assert await bench.ledger.recover() == Reconciled(jobs=1, enqueued=1)

    assert (await bench.claim()).job.id == job_id


async def test_data_are_compared_also_while_the_memory_is_full(bench: Bench) -> None:
    bench.valkey.command("CONFIG", "SET", "maxmemory", 1)

    assert await bench.ledger.recover() is not None
    assert await bench.ledger.recover() is None


def _jobs(bench: Bench) -> list[str]:
    return bench.store.names(keys.jobs(TENANT))


@pytest.mark.slow
async def test_ten_thousand_jobs_are_queued_again_in_ten_seconds(
    valkey: Valkey, tmp_path: Path
) -> None:
    """Ten seconds of this process's work: what else the machine does must not decide."""
    root = tmp_path / "store"
    record = sample_record()
    record.format_version = 1
    data = record.SerializeToString()
    for number in range(10_000):
        folder = root / keys.job(TENANT, f"01J{number:023}")
        folder.mkdir(parents=True)
        (folder / "spec.pb").write_bytes(data)
    async with Bench(valkey, root) as bench:
        begun_s = time.process_time()
        done = await bench.ledger.reconcile()
        took_s = time.process_time() - begun_s

        assert done == Reconciled(jobs=10_000, enqueued=10_000)
        assert await bench.ledger.depth() == Depth(waiting=10_000)
        assert took_s < 10
    valkey.command("FLUSHALL")  # the look after leaks takes long with so many keys


async def test_a_queue_that_belongs_to_another_store_is_refused(
    bench: Bench, valkey: Valkey, tmp_path: Path
) -> None:
    """A trainer with a mistyped path must not give up jobs whose records it does not have."""
    await bench.ledger.pair()
    await bench.ledger.pair()
    job = await bench.create()
    async with Bench(valkey, tmp_path / "mistyped") as stranger:
        for act in (stranger.ledger.pair, stranger.ledger.reconcile):
            with pytest.raises(UnusableSettings, match="belongs to store"):
                await act()

    assert (await bench.claim()).job.id == job


async def test_an_emptied_queue_belongs_to_the_store_that_fills_it_again(
    bench: Bench, valkey: Valkey, tmp_path: Path
) -> None:
    await bench.ledger.pair()
    await bench.create()
    valkey.command("FLUSHALL")

    assert await bench.ledger.recover() == Reconciled(jobs=1, enqueued=1)

    async with Bench(valkey, tmp_path / "mistyped") as stranger:
        with pytest.raises(UnusableSettings):
            await stranger.ledger.pair()

"""The workers' side: fenced attempts, every way an attempt ends, crashes at every step."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.twofold.lifecycle.bench import POLICY, TENANT, Bench
from tests.twofold.samples import JOB, trained_manifest
from tests.valkey import Valkey
from twofold import keys, publish
from twofold.errors import Conflict, Corrupt, TwofoldError
from twofold.jobs import Fenced, Job, Phase, Reason, State
from twofold.lifecycle import Claim, Depth
from twofold.lifecycle.attempts import newest_checkpoint
from twofold.principal import LOCAL
from twofold.queue import schema
from twofold.seams import World
from twofold.store import LocalStore, StoreError
from twofold.v1 import training_pb2

A1, A2 = "01J000000000000000000000A1", "01J000000000000000000000A2"


async def test_claim_holds_the_job_with_its_record(bench: Bench) -> None:
    job_id = await bench.create()

    claim = await bench.claim("w1")

    assert claim.job.id == job_id
    assert (claim.job.owner, claim.job.attempt) == ("w1", claim.attempt)
    assert claim.record.spec.model == "digits"
    assert claim.resume_path is None
    assert claim.job.lease_until_ms > await bench.queue.time_ms()
    job = await bench.get(job_id)
    assert (job.state, job.phase) == (State.JOB_STATE_RUNNING, Phase.JOB_PHASE_PREPARING)
    assert job.start_time.ToMilliseconds() > 0


async def test_jobs_are_claimed_in_order_and_once(bench: Bench, other: Bench) -> None:
    made = [await bench.create() for _ in range(5)]

    claims = await asyncio.gather(
        *(side.claim(f"w{n}") for n, side in enumerate([bench, other, bench, other, bench]))
    )

    assert sorted(claim.job.id for claim in claims) == sorted(made)
    assert await other.ledger.claim("w9", 0) is None


async def test_an_entry_whose_answer_was_lost_is_claimed_at_once(bench: Bench) -> None:
    """As after a half-open connection: the server has given it to this worker, and nobody knows."""
    job_id = await bench.create()
    assert await bench.queue.next_entry(TENANT, "w1", 0)

    claim = await bench.ledger.claim("w1", 0)

    assert claim is not None
    assert claim.job.id == job_id


async def test_a_job_that_its_worker_dropped_is_neither_claimed_again_nor_kept_from_others(
    bench: Bench, other: Bench
) -> None:
    job_id = await bench.create()
    assert await bench.ledger.claim("w1", 0)
    bench.lose_lease(job_id)

    assert await bench.ledger.claim("w1", 0) is None

    assert await other.ledger.reap() == 1


@pytest.mark.parametrize("how", ["corrupt", "newer", "unreadable"])
async def test_a_job_that_cannot_begin_does_not_hold_its_worker(bench: Bench, how: str) -> None:
    bad, good = await bench.create(), await bench.create()
    if how == "corrupt":
        bench.store.create(keys.job_outcome(TENANT, bad), b"\xff")
    elif how == "newer":
        bench.valkey.command("HSET", schema.job(TENANT, bad), "format", 2)
    else:
        bench.store.unreadable = {bad}
    with pytest.raises(TwofoldError):
        await bench.ledger.claim("w1", 0)

    claim = await bench.ledger.claim("w1", 0)

    assert claim is not None
    assert claim.job.id == good


async def test_a_worker_whose_store_is_away_takes_few_jobs_and_charges_none(
    bench: Bench, other: Bench
) -> None:
    made = [await bench.create() for _ in range(5)]
    bench.store.unreadable = set(made)
    for _ in range(10):
        with pytest.raises(StoreError):
            await bench.ledger.claim("w1", 0)
    assert await bench.ledger.depth() == Depth(waiting=2, running=3)

    for job_id in made[:3]:
        await other.take_over(job_id)

    claims = [await other.claim(f"w{number}") for number in range(2, 7)]
    assert {claim.job.attempt_count for claim in claims} == {1}
    assert {claim.job.eviction_count for claim in claims} == {0}


async def test_claim_waits_for_a_job(bench: Bench, other: Bench) -> None:
    waiting = asyncio.create_task(bench.ledger.claim("w1", 5))
    await asyncio.sleep(0)

    job_id = await other.create()

    claim = await waiting
    assert claim is not None
    assert claim.job.id == job_id


async def test_claim_without_a_job_returns_after_its_wait(bench: Bench) -> None:
    assert await bench.ledger.claim("w1", 0.05) is None
    assert await bench.ledger.claim("w1", 0) is None


async def test_claim_serves_every_tenant(bench: Bench) -> None:
    two = type(bench.ledger)(
        bench.store, bench.queue, World(bench.clock), POLICY, ("other", TENANT)
    )
    job_id = await bench.create()

    claim = await two.claim("w1", 0.1)

    assert claim is not None
    assert (claim.tenant, claim.job.id) == (TENANT, job_id)


async def test_beat_renews_the_lease_and_shows_progress(bench: Bench) -> None:
    job_id = await bench.create()
    claim = await bench.claim()
    progress = training_pb2.Progress(epoch=3, loss=0.5)

    job = await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING, progress)

    assert job.lease_until_ms >= claim.job.lease_until_ms
    shown = await bench.get(job_id)
    assert shown.phase == Phase.JOB_PHASE_TRAINING
    assert shown.progress == progress


async def test_beat_sees_a_cancellation(bench: Bench) -> None:
    claim = await _claimed(bench)
    await bench.ledger.cancel(LOCAL, claim.job.id)

    job = await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)

    assert job.state == State.JOB_STATE_CANCELLING


async def test_events_that_race_are_all_applied(bench: Bench, other: Bench) -> None:
    """Each is decided again on what the others left."""
    claim = await _claimed(bench)

    await asyncio.gather(
        *(side.ledger.beat(claim, Phase.JOB_PHASE_TRAINING) for side in (bench, other) * 5),
        other.ledger.cancel(LOCAL, claim.job.id),
    )

    job, _ = await bench.queue.read(TENANT, claim.job.id)
    assert job is not None
    assert (job.state, job.revision) == (State.JOB_STATE_CANCELLING, claim.job.revision + 11)


async def test_job_that_never_stands_still_is_a_conflict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await _claimed(bench)

    async def refuse(*_: object) -> None:
        return None

    monkeypatch.setattr(bench.queue, "apply", refuse)

    with pytest.raises(Conflict):
        await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)


async def test_dropped_attempts_are_forgotten(valkey: Valkey, tmp_path: Path) -> None:
    async with Bench(valkey, tmp_path / "store", replace(POLICY, lease_ms=1)) as bench:
        for _ in range(3):
            await _claimed(bench)
            await asyncio.sleep(0.002)  # the lease must end

        assert len(bench.ledger._held_until_s) == 1


async def test_follow_reacts_to_a_cancellation_at_once(bench: Bench, other: Bench) -> None:
    claim = await _claimed(bench)
    followed = bench.ledger.follow(claim)
    assert (await anext(followed)).state == State.JOB_STATE_RUNNING
    waiting = asyncio.ensure_future(anext(followed))

    await other.ledger.cancel(LOCAL, claim.job.id)

    async with asyncio.timeout(1):
        assert (await waiting).state == State.JOB_STATE_CANCELLING
    await bench.ledger.cancelled(claim)
    with pytest.raises(Fenced):
        await anext(followed)


async def test_follow_sees_a_cancellation_from_before_it_began(bench: Bench) -> None:
    claim = await _claimed(bench)
    await bench.ledger.cancel(LOCAL, claim.job.id)

    async for job in bench.ledger.follow(claim):
        assert job.state == State.JOB_STATE_CANCELLING
        break


async def test_published_job_succeeds_and_leaves_the_queue(bench: Bench) -> None:
    claim = await _claimed(bench)

    outcome = await bench.publish(claim)

    assert (outcome.state, outcome.version) == (State.JOB_STATE_SUCCEEDED, 1)
    assert outcome.attempt == claim.attempt
    assert bench.visible() == [1]
    job = await bench.get(claim.job.id)
    assert job.state == State.JOB_STATE_SUCCEEDED
    assert job.model_version == "models/digits/versions/1"
    assert bench.valkey.command("XLEN", schema.queue(TENANT)) == 0
    assert bench.valkey.command("XLEN", schema.versions(TENANT)) == 1


async def test_publishing_again_returns_the_same_outcome(bench: Bench) -> None:
    claim = await _claimed(bench)

    outcome = await bench.publish(claim)

    assert await bench.publish(claim) == outcome
    assert bench.visible() == [1]


async def test_artifact_that_is_not_as_described_is_not_published(bench: Bench) -> None:
    claim = await _claimed(bench)

    with pytest.raises(Corrupt):
        await bench.ledger.publish(claim, trained_manifest())

    assert publish.read_outcome(bench.store, TENANT, claim.job.id) is None


async def test_passing_failure_is_repeated_after_its_wait_then_given_up(bench: Bench) -> None:
    job_id = await bench.create()
    for attempt in range(1, 3):
        claim = await bench.claim()
        job = await bench.ledger.fail(claim, Reason.JOB_REASON_STORE, "disk")
        assert (job.phase, job.failure_count) == (Phase.JOB_PHASE_RETRY_WAIT, attempt)
        assert (await bench.ledger.depth()).delayed == 1
        await bench.promote(job_id)

    job = await bench.ledger.fail(await bench.claim(), Reason.JOB_REASON_STORE, "disk")

    assert (job.state, job.reason) == (State.JOB_STATE_FAILED, Reason.JOB_REASON_STORE)
    shown = await bench.get(job_id)
    assert (shown.message, shown.attempt_count) == ("disk", 3)
    outcome = publish.read_outcome(bench.store, TENANT, job_id)
    assert outcome is not None
    assert (outcome.state, outcome.attempt_count) == (State.JOB_STATE_FAILED, 3)
    assert (await bench.ledger.depth()).dead == 1


async def test_users_error_is_final(bench: Bench) -> None:
    claim = await _claimed(bench)

    job = await bench.ledger.fail(claim, Reason.JOB_REASON_DIVERGED, "NaN at step 3")

    assert (job.state, job.reason) == (State.JOB_STATE_FAILED, Reason.JOB_REASON_DIVERGED)
    assert job.message == "NaN at step 3"


async def test_third_death_of_the_process_ends_the_job(bench: Bench) -> None:
    await bench.create()
    for count in (1, 2):
        job = await bench.ledger.evicted(await bench.claim(), 11)
        assert (job.phase, job.eviction_count) == (Phase.JOB_PHASE_QUEUED, count)

    job = await bench.ledger.evicted(await bench.claim(), 11)

    assert (job.state, job.reason) == (State.JOB_STATE_FAILED, Reason.JOB_REASON_WORKER_LOST)
    assert "signal 11 (SIGSEGV)" in job.message
    assert job.eviction_count == 3


async def test_unknown_signal_is_said_so(bench: Bench) -> None:
    await bench.create()
    for _ in range(2):
        await bench.ledger.evicted(await bench.claim(), 99)

    assert "99 (unknown)" in (await bench.ledger.evicted(await bench.claim(), 99)).message


async def test_handed_back_job_is_claimed_at_once_and_resumes(bench: Bench, other: Bench) -> None:
    claim = await _claimed(bench)
    folder = keys.attempt_checkpoints(TENANT, claim.job.id, claim.attempt)
    bench.store.create(f"{folder}/12.safetensors", b"")

    await bench.ledger.hand_back(claim)
    again = await other.claim("w2", timeout_s=1)

    assert again.job.id == claim.job.id
    assert again.attempt != claim.attempt
    assert again.resume_path == f"{folder}/12.safetensors"
    assert (again.job.attempt_count, again.job.eviction_count) == (2, 0)


@pytest.mark.parametrize("how", ["fail", "fail for good", "evicted", "hand_back", "cancelled"])
async def test_last_word_whose_answer_was_lost_is_taken_once(bench: Bench, how: str) -> None:
    claim = await _claimed(bench)
    if how == "cancelled":
        await bench.ledger.cancel(LOCAL, claim.job.id)
    ledger, reason = bench.ledger, Reason.JOB_REASON_STORE
    ends: dict[str, Callable[[], Awaitable[Job]]] = {
        "fail": lambda: ledger.fail(claim, reason, "disk"),
        "fail for good": lambda: ledger.fail(claim, Reason.JOB_REASON_DATA, "row 1"),
        "evicted": lambda: ledger.evicted(claim, 9),
        "hand_back": lambda: ledger.hand_back(claim),
        "cancelled": lambda: ledger.cancelled(claim),
    }
    first = await ends[how]()

    assert await ends[how]() == first
    if how == "hand_back":
        again = await bench.claim("w2")
        assert (await ends[how]()).attempt == again.attempt


async def test_cancelled_attempt_ends_its_job(bench: Bench) -> None:
    claim = await _claimed(bench)
    await bench.ledger.cancel(LOCAL, claim.job.id)

    job = await bench.ledger.cancelled(claim)

    assert (job.state, job.reason) == (State.JOB_STATE_CANCELLED, Reason.JOB_REASON_USER)
    assert bench.valkey.command("XLEN", schema.queue(TENANT)) == 0


async def test_failure_of_a_cancelling_attempt_is_cancelled(bench: Bench) -> None:
    claim = await _claimed(bench)
    await bench.ledger.cancel(LOCAL, claim.job.id)

    job = await bench.ledger.fail(claim, Reason.JOB_REASON_INTERNAL, "stopped")

    assert job.state == State.JOB_STATE_CANCELLED


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], None),
        ([f"{A1}/3.safetensors"], f"{A1}/3.safetensors"),
        (
            [f"{A1}/3.safetensors", f"{A1}/12.safetensors", f"{A2}/9.safetensors"],
            f"{A1}/12.safetensors",
        ),
        ([f"{A1}/3.safetensors", f"{A2}/3.safetensors"], f"{A2}/3.safetensors"),
        ([f"{A1}/3.safetensors.tmp", f"{A1}/x.safetensors", f"{A1}/part-9.safetensors"], None),
        ([".nfs0001", f"{A1}/.nfs0002", f"{A1}/3.safetensors", ".DS_Store"], f"{A1}/3.safetensors"),
        ([".Trash/3.safetensors", "lost+found/9.safetensors"], None),
    ],
)
def test_newest_checkpoint_has_the_most_steps(
    store: LocalStore, files: list[str], expected: str | None
) -> None:
    folder = keys.job_checkpoints(TENANT, JOB)
    for file in files:
        path = store.make_folder(folder) / file
        path.parent.mkdir(exist_ok=True)
        path.touch()

    found = newest_checkpoint(store, TENANT, JOB)

    assert found == (None if expected is None else f"{folder}/{expected}")


async def _claimed(bench: Bench) -> Claim:
    await bench.create()
    return await bench.claim()

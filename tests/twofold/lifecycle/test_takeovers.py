"""Workers that die or are too late at any step: another takes over, and nothing happens twice."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.twofold.lifecycle.bench import POLICY, TENANT, Bench
from tests.twofold.samples import trained_manifest
from tests.valkey import Valkey
from twofold import faults, keys, publish
from twofold.jobs import Fenced, Phase, Reason, State
from twofold.lifecycle import Claim
from twofold.principal import LOCAL
from twofold.queue import schema


class Crash(Exception):
    """Armed at fault points."""


def crash() -> None:
    raise Crash


@pytest.mark.parametrize(
    "point",
    [
        "publish.claimed",
        "publish.linked",
        "publish.staged",
        "publish.decided",
        "publish.visible",
        "ledger.published",
    ],
)
async def test_publisher_that_dies_anywhere_is_taken_over(
    bench: Bench, other: Bench, point: str
) -> None:
    claim = await _claimed(bench)
    faults.arm(point, crash)
    with pytest.raises(Crash):
        await bench.publish(claim)
    faults.disarm()
    decided = publish.read_outcome(bench.store, TENANT, claim.job.id)

    await other.take_over(claim.job.id)
    if decided is None:
        await other.publish(await other.claim("w2"))

    job = await other.get(claim.job.id)
    assert job.state == State.JOB_STATE_SUCCEEDED
    assert [f"models/digits/versions/{n}" for n in other.visible()] == [job.model_version]
    assert decided is None or job.model_version.endswith(f"/{decided.version}")


async def test_zombie_cannot_publish_beat_or_end(bench: Bench, other: Bench) -> None:
    zombie = await _claimed(bench)
    bench.export(zombie)
    await other.take_over(zombie.job.id)
    winner = await other.claim("w2")

    for act in (
        bench.ledger.beat(zombie, Phase.JOB_PHASE_TRAINING),
        bench.ledger.publish(zombie, trained_manifest()),
        bench.ledger.fail(zombie, Reason.JOB_REASON_DATA, "late"),
        bench.ledger.evicted(zombie, 9),
        bench.ledger.hand_back(zombie),
        bench.ledger.cancelled(zombie),
    ):
        with pytest.raises(Fenced):
            await act

    outcome = await other.publish(winner)
    assert outcome.attempt == winner.attempt
    assert bench.visible() == [outcome.version]
    assert (await bench.get(zombie.job.id)).attempt_count == 2


async def test_attempt_whose_lease_ends_while_it_publishes_decides_nothing(
    valkey: Valkey, tmp_path: Path
) -> None:
    async with Bench(valkey, tmp_path / "store", replace(POLICY, lease_ms=1)) as bench:
        await bench.create()
        claim = await bench.claim()
        faults.arm("publish.staged", lambda: _wait_until_lease_ends(bench))

        with pytest.raises(Fenced):
            await bench.publish(claim)

        assert publish.read_outcome(bench.store, TENANT, claim.job.id) is None
        assert bench.visible() == []


async def test_queued_job_whose_outcome_is_decided_is_not_trained(bench: Bench) -> None:
    """Cancel decided in the store while the queue was away."""
    job_id = await bench.create()
    faults.arm("ledger.cancelled", crash)
    with pytest.raises(Crash):
        await bench.ledger.cancel(LOCAL, job_id)

    assert await bench.ledger.claim("w1", 0.05) is None

    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED
    assert bench.valkey.command("XLEN", schema.queue(TENANT)) == 0


async def test_job_whose_record_is_lost_fails_and_stops_nobody(bench: Bench) -> None:
    lost = await bench.create()
    good = await bench.create()
    bench.store.remove(keys.job_spec(TENANT, lost))

    claim = await bench.claim()

    assert claim.job.id == good
    outcome = publish.read_outcome(bench.store, TENANT, lost)
    assert outcome is not None
    assert (outcome.state, outcome.reason) == (State.JOB_STATE_FAILED, Reason.JOB_REASON_STORE)


async def test_entry_of_an_unknown_job_is_dropped(bench: Bench) -> None:
    job_id = await bench.create()
    bench.valkey.command("DEL", schema.job(TENANT, job_id), schema.events(TENANT, job_id))

    assert await bench.ledger.claim("w1", 0.05) is None

    assert bench.valkey.command("XLEN", schema.queue(TENANT)) == 0


async def test_claim_that_another_event_overtakes_is_given_up(bench: Bench, other: Bench) -> None:
    """The entry was received, then the job was cancelled before the attempt began."""
    job_id = await bench.create()
    loop = asyncio.get_running_loop()
    received = asyncio.Event()
    go_on = asyncio.Event()
    real = bench.ledger._look_up

    def look_up(tenant: str, job: str) -> object:
        found = real(tenant, job)
        loop.call_soon_threadsafe(received.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(5)
        return found

    bench.ledger._look_up = look_up  # type: ignore[method-assign] # pyright: ignore[reportAttributeAccessIssue]
    claiming = asyncio.create_task(bench.ledger.claim("w1", 1))
    await received.wait()
    await other.ledger.cancel(LOCAL, job_id)
    go_on.set()

    assert await claiming is None
    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED


@pytest.mark.parametrize("point", ["ledger.received", "ledger.claimed"])
async def test_worker_that_dies_as_it_claims_is_replaced(
    bench: Bench, other: Bench, point: str
) -> None:
    job_id = await bench.create()
    faults.arm(point, crash)
    with pytest.raises(Crash):
        await bench.ledger.claim("w1", 1)
    faults.disarm()

    await other.take_over(job_id)
    claim = await other.claim("w2")

    assert claim.job.id == job_id
    assert claim.job.eviction_count == (1 if point == "ledger.claimed" else 0)


async def test_decision_that_dies_before_the_queue_knows_is_completed(
    bench: Bench, other: Bench
) -> None:
    claim = await _claimed(bench)
    faults.arm("ledger.settled", crash)
    with pytest.raises(Crash):
        await bench.ledger.fail(claim, Reason.JOB_REASON_DATA, "row 7")
    faults.disarm()
    assert (await bench.get(claim.job.id)).state == State.JOB_STATE_RUNNING

    await other.take_over(claim.job.id)

    job = await other.get(claim.job.id)
    assert (job.state, job.message) == (State.JOB_STATE_FAILED, "row 7")


def _wait_until_lease_ends(bench: Bench) -> None:
    """Blocks the publishing thread until the 1 ms lease is over."""
    end_s = bench.clock.monotonic_s() + 0.002
    while bench.clock.monotonic_s() < end_s:
        pass


async def _claimed(bench: Bench) -> Claim:
    await bench.create()
    return await bench.claim()

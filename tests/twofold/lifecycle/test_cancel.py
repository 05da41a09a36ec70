"""Cancellation wins over every outcome that is not decided yet."""

import pytest

from tests.twofold.lifecycle.bench import TENANT, Bench
from twofold import faults, keys
from twofold.jobs import Phase, Reason, State
from twofold.principal import LOCAL


class Crash(Exception):
    """Armed at fault points."""


def crash() -> None:
    raise Crash


async def test_cancel_of_a_queued_job_is_immediate_and_idempotent(bench: Bench) -> None:
    job_id = await bench.create()

    job = await bench.ledger.cancel(LOCAL, job_id)

    assert (job.state, job.reason) == (State.JOB_STATE_CANCELLED, Reason.JOB_REASON_USER)
    assert await bench.ledger.cancel(LOCAL, job_id) == job
    assert bench.store.exists(keys.job_cancel(TENANT, job_id))
    assert (await bench.ledger.depth()).waiting == 0
    assert await bench.ledger.claim("w", 0) is None


async def test_cancel_of_a_delayed_job(bench: Bench) -> None:
    job_id = await bench.create_delayed()
    assert (await bench.get(job_id)).phase == Phase.JOB_PHASE_DELAYED

    assert (await bench.ledger.cancel(LOCAL, job_id)).state == State.JOB_STATE_CANCELLED
    assert (await bench.ledger.depth()).delayed == 0


async def test_cancel_of_a_running_job_wins_over_its_publication(bench: Bench) -> None:
    job_id = await bench.create()
    claim = await bench.claim()

    assert (await bench.ledger.cancel(LOCAL, job_id)).state == State.JOB_STATE_CANCELLING
    assert (await bench.ledger.cancel(LOCAL, job_id)).state == State.JOB_STATE_CANCELLING
    outcome = await bench.publish(claim)

    assert outcome.state == State.JOB_STATE_CANCELLED
    assert bench.visible() == []
    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED


async def test_cancel_after_the_decision_shows_the_version(bench: Bench) -> None:
    """The publisher died between its decision and everything after it."""
    job_id = await bench.create()
    claim = await bench.claim()
    faults.arm("publish.decided", crash)
    with pytest.raises(Crash):
        await bench.publish(claim)

    job = await bench.ledger.cancel(LOCAL, job_id)

    assert job.state == State.JOB_STATE_SUCCEEDED
    assert bench.visible() == [1]
    assert not bench.store.exists(keys.job_cancel(TENANT, job_id))


@pytest.mark.parametrize("point", ["ledger.cancel_asked", "ledger.cancelled"])
async def test_cancel_that_dies_midway_still_wins(bench: Bench, point: str) -> None:
    job_id = await bench.create()
    claim = await bench.claim()
    faults.arm(point, crash)
    with pytest.raises(Crash):
        await bench.ledger.cancel(LOCAL, job_id)
    faults.disarm()

    outcome = await bench.publish(claim)

    assert outcome.state == State.JOB_STATE_CANCELLED
    assert bench.visible() == []
    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED


async def test_cancel_without_the_queues_memory_of_the_job(bench: Bench) -> None:
    job_id = await bench.create()
    bench.valkey.command("FLUSHALL")
    assert (await bench.get(job_id)).state == State.JOB_STATE_PENDING

    job = await bench.ledger.cancel(LOCAL, job_id)

    assert job.state == State.JOB_STATE_CANCELLED

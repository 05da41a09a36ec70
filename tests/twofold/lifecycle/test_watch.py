"""Watching: every event once, from any cursor, to the end."""

import asyncio

import pytest

from tests.twofold.lifecycle.bench import TENANT, Bench
from twofold import faults
from twofold.errors import (
    InvalidField,
)
from twofold.jobs import Phase, State
from twofold.principal import LOCAL
from twofold.queue import schema


async def test_watch_sees_every_state_and_ends(bench: Bench) -> None:
    job_id = await bench.create()
    watching = asyncio.create_task(bench.watch(job_id))
    claim = await bench.claim()
    await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)
    await bench.publish(claim)

    events = await watching

    assert [(job.state, job.phase) for job in events] == [
        (State.JOB_STATE_PENDING, Phase.JOB_PHASE_QUEUED),
        (State.JOB_STATE_RUNNING, Phase.JOB_PHASE_PREPARING),
        (State.JOB_STATE_RUNNING, Phase.JOB_PHASE_TRAINING),
        (State.JOB_STATE_RUNNING, Phase.JOB_PHASE_PUBLISHING),
        (State.JOB_STATE_SUCCEEDED, Phase.JOB_PHASE_UNSPECIFIED),
    ]
    assert events[-1] == await bench.get(job_id)


async def test_watch_resumes_after_its_cursor(bench: Bench) -> None:
    job_id = await _ended(bench)
    seen = [(job, cursor) async for job, cursor, _ in bench.ledger.watch(LOCAL, job_id, "")]

    resumed = await bench.watch(job_id, seen[0][1])
    at_end = await bench.watch(job_id, seen[-1][1])

    assert resumed == [job for job, _ in seen[1:]]
    assert [job.state for job in at_end] == [State.JOB_STATE_CANCELLED]


async def test_watch_of_an_ended_job_whose_events_expired(bench: Bench) -> None:
    job_id = await _ended(bench)
    bench.valkey.command("DEL", schema.events(TENANT, job_id))

    events = [event async for event in bench.ledger.watch(LOCAL, job_id, "")]

    assert [(job.state, cursor) for job, cursor, _ in events] == [
        (State.JOB_STATE_CANCELLED, "0-0")
    ]
    assert events[0][2] == events[0][0].end_time.ToMilliseconds()


async def test_watch_ends_when_the_queue_is_wiped_under_it(bench: Bench) -> None:
    job_id = await bench.create()
    watching = asyncio.create_task(bench.watch(job_id))
    claim = await bench.claim()
    bench.export(claim)
    faults.arm("ledger.published", lambda: _wipe(bench))
    await bench.publish(claim)

    events = await watching

    assert events[-1].state == State.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize("cursor", ["x", "1", "$", "-", "1-1 2-2", "9" * 30 + "-0", f"{1 << 64}-1"])
async def test_cursor_that_is_none_is_refused(bench: Bench, cursor: str) -> None:
    job_id = await bench.create()

    with pytest.raises(InvalidField):
        await bench.watch(job_id, cursor)


def _wipe(bench: Bench) -> None:
    bench.valkey.command("FLUSHALL")


async def _ended(bench: Bench) -> str:
    job_id = await bench.create()
    await bench.ledger.cancel(LOCAL, job_id)
    return job_id

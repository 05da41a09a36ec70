"""The users' side: nothing is acknowledged before it is durable, and every call is idempotent."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.twofold.lifecycle.bench import TENANT, Bench
from tests.twofold.samples import JOB, sample_record
from twofold import faults, formats, keys, publish
from twofold.errors import (
    Corrupt,
    InvalidField,
    LimitExceeded,
    NotFound,
    RequestIdReused,
    WrongState,
)
from twofold.jobs import Job, Phase, State
from twofold.principal import LOCAL, Principal
from twofold.queue import schema

REQUEST = "6fa459ea-ee8a-4ca4-894e-db77e160355e"


class Crash(Exception):
    """Armed at fault points."""


def crash() -> None:
    raise Crash


async def test_created_job_is_in_the_store_before_it_is_in_the_queue(bench: Bench) -> None:
    faults.arm("ledger.journaled", crash)

    with pytest.raises(Crash):
        await bench.create()

    (job_id,) = bench.store.names(keys.jobs(TENANT))
    assert bench.store.exists(keys.job_spec(TENANT, job_id))
    assert (await bench.ledger.depth()).waiting == 0


async def test_created_job_is_pending_and_queued(bench: Bench) -> None:
    job = await bench.ledger.create(LOCAL, sample_record(request_id=REQUEST))

    assert (job.state, job.phase) == (State.JOB_STATE_PENDING, Phase.JOB_PHASE_QUEUED)
    assert job.request_id == REQUEST
    assert job.create_time.ToMilliseconds() > 0
    assert await bench.get(job.name[5:]) == job
    assert (await bench.ledger.depth()).waiting == 1


async def test_record_in_the_store_names_who_asked(bench: Bench) -> None:
    await bench.ledger.create(Principal(TENANT, "ann"), sample_record())

    claim = await bench.claim()

    assert claim.record.principal == "ann"
    assert claim.record.format_version == 1


async def test_repeated_request_returns_the_first_job(bench: Bench, other: Bench) -> None:
    first = await bench.create(REQUEST)

    assert await other.create(REQUEST) == first
    assert (await bench.ledger.depth()).waiting == 1
    assert bench.store.names(keys.jobs(TENANT)) == [first]


async def test_what_writes_a_record_and_what_reads_it_move_to_a_new_format_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, kind in enumerate(("JOB", "REQUEST", "OUTCOME", "CLAIM"), 2):
        monkeypatch.setattr(formats, kind, number)
    job_id = await bench.create(REQUEST)
    assert await bench.create(REQUEST) == job_id

    await bench.ledger.cancel(LOCAL, job_id)

    outcome = publish.read_outcome(bench.store, TENANT, job_id)
    assert outcome is not None
    assert outcome.state == State.JOB_STATE_CANCELLED


async def test_requests_that_race_make_one_job(bench: Bench, other: Bench) -> None:
    made = await asyncio.gather(*(side.create(REQUEST) for side in (bench, other) * 4))

    assert len(set(made)) == 1
    assert bench.store.names(keys.jobs(TENANT)) == [made[0]]
    assert (await bench.ledger.depth()).waiting == 1


@pytest.mark.parametrize("point", ["ledger.bound", "ledger.journaled", "ledger.enqueued"])
async def test_create_that_died_is_completed_by_its_repeat(
    bench: Bench, other: Bench, point: str
) -> None:
    faults.arm(point, crash)
    with pytest.raises(Crash):
        await bench.create(REQUEST)
    faults.disarm()

    job_id = await other.create(REQUEST)

    assert await bench.create(REQUEST) == job_id
    assert bench.store.names(keys.jobs(TENANT)) == [job_id]
    assert (await bench.ledger.depth()).waiting == 1
    assert (await bench.claim()).job.id == job_id


@pytest.mark.parametrize("how", ["cancel", "publish"])
async def test_repeat_of_an_ended_job_the_queue_forgot_does_not_enqueue_it(
    bench: Bench, how: str
) -> None:
    job_id = await bench.create(REQUEST)
    if how == "cancel":
        await bench.ledger.cancel(LOCAL, job_id)
    else:
        await bench.publish(await bench.claim())
    ended = await bench.get(job_id)
    bench.valkey.command("FLUSHALL")

    job = await bench.ledger.create(LOCAL, sample_record(request_id=REQUEST))

    assert (job.name, job.state) == (ended.name, ended.state)
    assert (await bench.ledger.depth()).waiting == 0


async def test_repeat_after_a_wipe_makes_the_same_job_live_again(bench: Bench) -> None:
    job_id = await bench.create(REQUEST)
    bench.valkey.command("FLUSHALL")

    assert await bench.create(REQUEST) == job_id

    assert (await bench.claim()).job.id == job_id


async def test_cancel_during_a_repeat_is_not_overtaken_by_it(
    bench: Bench, other: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is cancelled after the repeat has looked, and before it has enqueued."""
    job_id = await bench.create(REQUEST)
    bench.valkey.command("FLUSHALL")
    enqueue = bench.queue.create

    async def cancel_first(tenant: str, job: Job, token: str) -> Job | None:
        await other.ledger.cancel(LOCAL, job_id)
        return await enqueue(tenant, job, token)

    monkeypatch.setattr(bench.queue, "create", cancel_first)
    job = await bench.ledger.create(LOCAL, sample_record(request_id=REQUEST))

    assert job.state == State.JOB_STATE_CANCELLED
    assert (await bench.get(job_id)).state == State.JOB_STATE_CANCELLED
    assert (await bench.ledger.depth()).waiting == 0


@pytest.mark.parametrize("data", [b"\xff", b"\x08\x02"])
async def test_unreadable_binding_of_a_request_is_corrupt(bench: Bench, data: bytes) -> None:
    bench.store.create(keys.request(TENANT, REQUEST), data)

    with pytest.raises(Corrupt):
        await bench.create(REQUEST)


async def test_request_id_with_another_request_is_refused(bench: Bench) -> None:
    job_id = await bench.create(REQUEST)
    record = sample_record(request_id=REQUEST)
    record.request_sha256 = "b" * 64

    with pytest.raises(RequestIdReused) as caught:
        await bench.ledger.create(LOCAL, record)

    assert caught.value.fields["job"] == f"jobs/{job_id}"


async def test_too_many_waiting_jobs_are_refused_and_leave_nothing(bench: Bench) -> None:
    jobs = [await bench.create() for _ in range(3)]
    jobs += [await bench.create_delayed() for _ in range(2)]

    with pytest.raises(LimitExceeded) as caught:
        await bench.create()

    assert caught.value.fields["limit"] == "max_queued_jobs"
    with pytest.raises(LimitExceeded):
        await bench.create(REQUEST)
    assert bench.store.names(keys.jobs(TENANT)) == sorted(jobs)
    assert bench.store.names(keys.requests(TENANT)) == []
    await bench.claim()
    await bench.create()  # a running job does not wait


async def test_repeat_gets_its_job_though_there_is_no_room(bench: Bench) -> None:
    first = await bench.create(REQUEST)
    for _ in range(4):
        await bench.create()

    assert await bench.create(REQUEST) == first


async def test_full_memory_refuses_new_jobs_only(bench: Bench) -> None:
    first = await bench.create()
    bench.valkey.command("CONFIG", "SET", "maxmemory", 1)

    with pytest.raises(LimitExceeded):
        await bench.create(REQUEST)

    assert bench.store.names(keys.requests(TENANT)) == []
    claim = await bench.claim()
    await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)
    assert (await bench.publish(claim)).version == 1
    assert (await bench.get(first)).state == State.JOB_STATE_SUCCEEDED
    assert bench.store.names(keys.jobs(TENANT)) == [first]


async def test_unknown_job_is_not_found(bench: Bench) -> None:
    async def cancel(job_id: str) -> object:
        return await bench.ledger.cancel(LOCAL, job_id)

    calls: list[Callable[[str], Awaitable[object]]] = [bench.get, bench.watch, cancel]
    for call in calls:
        with pytest.raises(NotFound):
            await call(JOB)
        with pytest.raises(InvalidField):
            await call("../../etc/passwd")


async def test_other_tenants_job_is_not_found(bench: Bench) -> None:
    job_id = await bench.create()
    stranger = Principal("other", "eve")

    with pytest.raises(NotFound):
        await bench.ledger.get(stranger, job_id)
    with pytest.raises(NotFound):
        await bench.ledger.cancel(stranger, job_id)
    assert await bench.ledger.list(stranger, 10, "", [], "") == ([], "")


@pytest.mark.parametrize("data", [b"\xff", b"\x08\x02"])
async def test_unreadable_record_is_corrupt(bench: Bench, data: bytes) -> None:
    bench.store.create(keys.job_spec(TENANT, JOB), data)

    with pytest.raises(Corrupt):
        await bench.get(JOB)


async def test_list_is_newest_first_in_pages(bench: Bench) -> None:
    made = [await bench.create() for _ in range(5)]

    first, token = await bench.ledger.list(LOCAL, 2, "", [], "")
    second, token = await bench.ledger.list(LOCAL, 2, token, [], "")
    third, end = await bench.ledger.list(LOCAL, 2, token, [], "")

    names = [job.name for job in (*first, *second, *third)]
    assert names == [f"jobs/{job_id}" for job_id in sorted(made, reverse=True)]
    assert end == ""


async def test_full_last_page_has_no_token(bench: Bench) -> None:
    await bench.create()

    _, token = await bench.ledger.list(LOCAL, 1, "", [], "")

    assert token == ""


async def test_list_by_state_and_model(bench: Bench) -> None:
    ended = await bench.create(model="a")
    await bench.ledger.cancel(LOCAL, ended)
    waiting = await bench.create(model="b")

    cancelled, _ = await bench.ledger.list(LOCAL, 9, "", [State.JOB_STATE_CANCELLED], "")
    of_model, _ = await bench.ledger.list(LOCAL, 9, "", [], "b")
    neither, _ = await bench.ledger.list(LOCAL, 9, "", [State.JOB_STATE_CANCELLED], "b")

    assert [job.name for job in cancelled] == [f"jobs/{ended}"]
    assert [job.name for job in of_model] == [f"jobs/{waiting}"]
    assert neither == []


async def test_list_looks_at_a_bounded_part(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.lifecycle.requests._SCAN_LIMIT", 2)
    monkeypatch.setattr("twofold.lifecycle.requests._SCAN_CHUNK", 1)
    oldest = await bench.create(model="rare")
    for _ in range(3):
        await bench.create()

    found, token = await bench.ledger.list(LOCAL, 9, "", [], "rare")
    rest, end = await bench.ledger.list(LOCAL, 9, token, [], "rare")

    assert (found, end) == ([], "")
    assert [job.name for job in rest] == [f"jobs/{oldest}"]


async def test_list_passes_over_what_is_no_job(bench: Bench) -> None:
    job_id = await bench.create()
    bench.store.make_folder(f"{keys.jobs(TENANT)}/junk")
    bench.store.make_folder(keys.job(TENANT, JOB))

    found, _ = await bench.ledger.list(LOCAL, 9, "", [], "")

    assert [job.name for job in found] == [f"jobs/{job_id}"]
    with pytest.raises(InvalidField):
        await bench.ledger.list(LOCAL, 9, "junk", [], "")


async def test_ended_job_outlives_the_queue(bench: Bench) -> None:
    job_id = await bench.create()
    await bench.publish(await bench.claim())
    before = await bench.get(job_id)

    bench.valkey.command("FLUSHALL")

    job = await bench.get(job_id)
    assert job.state == State.JOB_STATE_SUCCEEDED
    assert job.model_version == before.model_version == "models/digits/versions/1"
    assert job.attempt_count == 1
    assert job.create_time == before.create_time
    assert [seen.state for seen in await bench.watch(job_id)] == [State.JOB_STATE_SUCCEEDED]
    assert (await bench.ledger.list(LOCAL, 9, "", [State.JOB_STATE_SUCCEEDED], ""))[0] == [job]


async def test_retry_makes_a_new_job_of_an_ended_one(bench: Bench) -> None:
    job_id = await bench.create()
    await bench.ledger.cancel(LOCAL, job_id)

    repeat = await bench.ledger.retry(LOCAL, job_id, REQUEST)

    assert repeat.name != f"jobs/{job_id}"
    assert repeat.retry_of == f"jobs/{job_id}"
    assert repeat.state == State.JOB_STATE_PENDING
    assert repeat.spec == (await bench.get(job_id)).spec
    assert await bench.ledger.retry(LOCAL, job_id, REQUEST) == repeat
    with pytest.raises(RequestIdReused):
        await bench.ledger.retry(LOCAL, await _ended(bench), REQUEST)


async def test_retry_of_a_job_that_goes_on_is_refused(bench: Bench) -> None:
    job_id = await bench.create()

    with pytest.raises(WrongState) as caught:
        await bench.ledger.retry(LOCAL, job_id, "")

    assert caught.value.fields["state"] == "PENDING"


async def test_only_what_users_see_makes_an_event(bench: Bench) -> None:
    job_id = await bench.create()
    claim = await bench.claim()
    for _ in range(5):
        await bench.ledger.beat(claim, Phase.JOB_PHASE_TRAINING)

    assert bench.valkey.command("XLEN", schema.events(TENANT, job_id)) == 3


async def test_ended_jobs_keys_expire(bench: Bench) -> None:
    job_id = await _ended(bench)

    assert 0 < _pttl(bench, schema.job(TENANT, job_id)) <= schema.JOB_LIFE_MS
    assert 0 < _pttl(bench, schema.events(TENANT, job_id)) <= schema.EVENTS_LIFE_MS


async def test_record_without_a_place_in_the_queue_is_shown_as_pending(bench: Bench) -> None:
    """Create died before it answered; reconciling is another's business."""
    faults.arm("ledger.journaled", crash)
    with pytest.raises(Crash):
        await bench.create()
    (job_id,) = bench.store.names(keys.jobs(TENANT))

    assert (await bench.get(job_id)).state == State.JOB_STATE_PENDING
    assert publish.read_outcome(bench.store, TENANT, job_id) is None


async def _ended(bench: Bench) -> str:
    job_id = await bench.create()
    await bench.ledger.cancel(LOCAL, job_id)
    return job_id


def _pttl(bench: Bench, key: str) -> int:
    found = bench.valkey.command("PTTL", key)
    assert isinstance(found, int)
    return found

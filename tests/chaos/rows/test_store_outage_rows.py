"""S-DOWN, S-FULL: what a worker and an inferer make of a store that is away, full or slow."""

import asyncio
import errno
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from inferer.models import Models, Served
from inferer.reference import Reference
from inferer.watcher import StoreReader, Watcher
from tests.chaos.rows.shaky import Shaky, ShakyDisk
from tests.chaos.rows.whole import whole_versions
from tests.inferer.fakes import FakeClock, served
from tests.trainer.fakes import eventually, within
from tests.trainer.toy_child import PROGRAM
from tests.twofold.samples import TENANT, export, sample_attempt, trained_manifest
from tests.valkey import Valkey
from tests.waiting import until
from trainer import childproc, verdict, worker
from trainer.metrics import Metrics
from trainer.site import Site
from trainer.warm import WarmChild
from trainer.worker import Worker
from twofold import publish
from twofold.jobs import Policy, Reason, State
from twofold.seams import SystemClock
from twofold.store import LocalStore

ERRNOS = (errno.EIO, errno.ESTALE, errno.ENOSPC)
TRAINED = verdict.Trained(trained_manifest())


@pytest.fixture
async def shaky(valkey: Valkey, tmp_path: Path) -> AsyncGenerator[Shaky]:
    policy = Policy(lease_ms=60_000, retry_backoff_ms=20, max_queued_jobs=5)
    made = Shaky(valkey, tmp_path, policy)
    async with made.bench:
        yield made
    await made.queue.close()


@pytest.mark.parametrize("left", [0, 12, 25, 40])
@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
async def test_s_down_publishing_is_repeated_until_the_store_is_back(
    shaky: Shaky, number: int, left: int
) -> None:
    await (await shaky.trained()).reach(TRAINED)
    conclusion = await shaky.trained()
    shaky.disk.left, shaky.disk.number = left, number
    reaching = asyncio.create_task(conclusion.reach(TRAINED))
    await eventually(lambda: "store" in repr(shaky.outages))
    meanwhile = whole_versions(shaky.bench.store)
    shaky.disk.number = 0
    await within(reaching)

    job = await shaky.bench.get(conclusion.claim.job.id)
    assert meanwhile[0] == 1
    assert job.state == State.JOB_STATE_SUCCEEDED
    assert whole_versions(shaky.bench.store) == [1, int(job.model_version.rpartition("/")[2])]


async def test_s_full_past_the_jobs_limit_it_fails_for_the_stores_sake(shaky: Shaky) -> None:
    conclusion = await shaky.trained()
    conclusion.claim.record.spec.limits.max_duration.FromMilliseconds(1)
    conclusion.begun_s -= 1
    shaky.disk.number = errno.ENOSPC
    reaching = asyncio.create_task(conclusion.reach(TRAINED))
    await eventually(lambda: "store" in repr(shaky.outages))
    shaky.disk.number = 0
    await within(reaching)

    job = await shaky.bench.get(conclusion.claim.job.id)
    assert job.reason == Reason.JOB_REASON_STORE
    assert whole_versions(shaky.bench.store) == []


async def has_ended(shaky: Shaky, job_id: str) -> bool:
    return (await shaky.bench.get(job_id)).HasField("end_time")


@asynccontextmanager
async def working(site: Site) -> AsyncGenerator[None]:
    stop = asyncio.Event()
    children = WarmChild(partial(childproc.start, program=PROGRAM), 100, Metrics())
    task = asyncio.create_task(Worker(site, children, "w").run(stop))
    try:
        yield
    finally:
        stop.set()
        await within(task)


async def test_s_down_slow_store_costs_no_lease(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing takes several leases; heartbeats go on meanwhile, and reapers look."""
    monkeypatch.setattr(worker, "PATROL_S", 0.1)
    shaky = Shaky(valkey, tmp_path, Policy(lease_ms=1000, retry_backoff_ms=20, max_queued_jobs=5))
    async with shaky.bench:
        job_id = await shaky.bench.create("", "good")
        shaky.disk.delay_s = 0.08
        begun_s = time.monotonic()
        async with working(shaky.site):
            await until(partial(has_ended, shaky, job_id), 25)
        taken_s = time.monotonic() - begun_s
        job = await shaky.bench.get(job_id)
    await shaky.queue.close()

    assert taken_s > 2
    assert (job.state, job.attempt_count) == (State.JOB_STATE_SUCCEEDED, 1)
    assert whole_versions(shaky.bench.store, "good") == [1]


async def test_s_down_an_inferer_goes_on_with_what_it_has(tmp_path: Path) -> None:
    writer = LocalStore(tmp_path / "store")
    export(writer, sample_attempt())
    publish.publish(
        writer, SystemClock(), sample_attempt(), trained_manifest(), may_decide=lambda: True
    )
    disk, clock = ShakyDisk(tmp_path / "store"), FakeClock()
    reader = StoreReader(LocalStore(tmp_path / "store", read_only=True, disk=disk), TENANT)

    async def load(name: str, number: int) -> Served:
        return served(name, number, clock)

    models = Models(load, clock)
    running = asyncio.create_task(models.run())
    watcher = Watcher(reader, models, clock, 3600, None)
    await watcher.look()
    answered = [(await models.find("digits", Reference(), clock.now_s + 5)).number]
    for disk.number in ERRNOS:
        await watcher.look()
        answered.append((await models.find("digits", Reference(), clock.now_s + 5)).number)
    running.cancel()

    assert answered == [1, 1, 1, 1]
    assert models.versions("digits") == [1]

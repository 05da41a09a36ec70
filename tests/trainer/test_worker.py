"""The worker takes jobs one after the other, whatever the last one did."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.trainer.fakes import FakeLedger, eventually, make_claim, make_site, sample, within
from tests.trainer.toy_child import PROGRAM
from trainer import childproc, worker
from trainer.childproc import Child, ChildLost
from trainer.metrics import Metrics
from trainer.site import Site
from trainer.warm import StartChild, WarmChild
from trainer.worker import Worker
from twofold.errors import Unavailable
from twofold.lifecycle import Claim

start_toy = partial(childproc.start, program=PROGRAM)


@asynccontextmanager
async def working(site: Site, start: StartChild = start_toy) -> AsyncGenerator[None]:
    stop = asyncio.Event()
    children = WarmChild(start, 100, Metrics())
    task = asyncio.create_task(Worker(site, children, "w").run(stop))
    try:
        yield
    finally:
        stop.set()
        await within(task)


async def test_jobs_around_a_bad_one_are_finished(tmp_path: Path) -> None:
    models = ["good", "dies", "good", "fails", "good"]
    ledger = FakeLedger([make_claim(model) for model in models])
    site = make_site(tmp_path, ledger)
    async with working(site):
        await eventually(lambda: len(ledger.told) == 5)

    assert [text.split()[0] for text in ledger.told] == [
        "published",
        "evicted",
        "published",
        "failed",
        "published",
    ]
    assert sample(site.metrics, "twofold_trainer_attempts_total") == 5
    assert sample(site.metrics, "twofold_trainer_running") == 0


async def test_a_stop_hands_the_running_job_back(tmp_path: Path) -> None:
    ledger = FakeLedger([make_claim("slow")])
    async with working(make_site(tmp_path, ledger)):
        await eventually(lambda: bool(ledger.beats))

    assert ledger.told == ["handed back"]


async def test_lost_and_due_jobs_are_looked_after_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATROL_S", 0.01)
    ledger = FakeLedger([make_claim("stubborn")])
    async with working(make_site(tmp_path, ledger, drain_s=0.1)):
        await eventually(lambda: ledger.patrols >= 3 and bool(ledger.beats))


class UnluckyLedger(FakeLedger):
    """Its patrol fails, first as in an outage, then by a defect."""

    async def reap(self) -> int:
        self.patrols += 1
        if self.patrols == 1:
            raise Unavailable("away")
        if self.patrols == 2:
            raise ZeroDivisionError
        return 0


async def test_a_failing_patrol_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "PATROL_S", 0.01)
    ledger = UnluckyLedger()
    async with working(make_site(tmp_path, ledger)):
        await eventually(lambda: ledger.patrols >= 3)

    assert caplog.text.count("patrol failed") == 1


async def test_work_goes_on_after_an_outage(tmp_path: Path) -> None:
    ledger = FakeLedger([make_claim("good")], away=3)
    async with working(make_site(tmp_path, ledger)):
        await within(ledger.concluded.wait())

    assert ledger.told == ["published"]


class DefectiveLedger(FakeLedger):
    """Its first claim is a defect."""

    is_first = True

    async def claim(self, worker: str, block_s: float) -> Claim | None:
        if self.is_first:
            self.is_first = False
            raise ZeroDivisionError
        return await super().claim(worker, block_s)


async def test_a_defect_does_not_stop_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = DefectiveLedger([make_claim("good")])
    async with working(make_site(tmp_path, ledger)):
        await within(ledger.concluded.wait())

    assert caplog.text.count("work failed") == 1


async def test_no_job_is_claimed_without_a_warm_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "PATROL_S", 0.01)
    starts = 0

    async def broken() -> Child:
        nonlocal starts
        starts += 1
        raise ChildLost("torch is not installed")

    ledger = FakeLedger([make_claim("good")])
    with caplog.at_level(logging.ERROR):
        async with working(make_site(tmp_path, ledger), broken):
            await eventually(lambda: starts >= 3)

    assert len(ledger.claims) == 1
    assert "no training process can be started" in caplog.text


async def test_a_stop_does_not_wait_for_a_child_that_starts(tmp_path: Path) -> None:
    async def never() -> Child:
        await asyncio.Event().wait()
        raise AssertionError

    ledger = FakeLedger([make_claim("good")])
    async with working(make_site(tmp_path, ledger), never):
        await eventually(lambda: ledger.patrols >= 1)

    assert len(ledger.claims) == 1

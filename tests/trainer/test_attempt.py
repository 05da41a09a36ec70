"""One attempt, with real child processes that do what the model's name says."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.trainer.fakes import FakeLedger, eventually, make_claim, make_site, sample, within
from tests.trainer.toy_child import PROGRAM
from trainer import attempt as attempt_module
from trainer import childproc, verdict
from trainer.attempt import Attempt
from trainer.childproc import Child, ChildLost
from trainer.metrics import Metrics
from trainer.site import Site
from trainer.warm import WarmChild
from twofold import keys
from twofold.errors import Unavailable
from twofold.jobs import Fenced, Job
from twofold.lifecycle import Claim
from twofold.seams import SystemClock
from twofold.store import LocalStore, StoreError
from twofold.v1 import training_pb2


@pytest.fixture
async def children() -> AsyncIterator[WarmChild]:
    warm = WarmChild(partial(childproc.start, program=PROGRAM), 100, Metrics())
    yield warm
    await warm.close()


async def run(
    site: Site, children: WarmChild, claim: Claim, stop: asyncio.Event | None = None
) -> None:
    await within(Attempt(site, claim, children).run(stop or asyncio.Event()), 20)


async def test_a_good_attempt_is_published_and_its_scratch_removed(
    tmp_path: Path, children: WarmChild
) -> None:
    ledger = FakeLedger()
    site = make_site(tmp_path, ledger)
    claim = make_claim("good")

    await run(site, children, claim)

    assert ledger.told == ["published"]
    assert ledger.published[0].model == "good"
    phase, progress = ledger.beats[-1]
    assert phase == training_pb2.JOB_PHASE_PUBLISHING
    assert progress is not None
    assert progress.epoch == 3
    assert site.store.names(keys.job_checkpoints("local", claim.job.id)) == []
    assert site.store.names(f"{keys.job('local', claim.job.id)}/artifacts") == []
    assert sample(site.metrics, "twofold_trainer_jobs_total", state="succeeded") == 1
    assert sample(site.metrics, "twofold_trainer_training_rows_total") == 20
    assert (await children.ready()).is_alive


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("fails", "failed DIVERGED: the loss became NaN in epoch 3"),
        ("dies", "evicted 9"),
        ("exits", "failed INTERNAL: the training process ended unexpectedly with code 3"),
        ("junk", "failed INTERNAL: the training process broke its protocol"),
    ],
)
async def test_a_bad_end_is_told_and_the_child_replaced(
    tmp_path: Path, children: WarmChild, model: str, told: str
) -> None:
    ledger = FakeLedger()
    before = await children.ready()

    await run(make_site(tmp_path, ledger), children, make_claim(model))

    assert ledger.told == [told]
    assert not before.is_alive


async def test_a_child_that_falls_silent_is_ended(
    tmp_path: Path, children: WarmChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "_EXIT_LIMIT_S", 0.1)
    ledger = FakeLedger()

    await run(make_site(tmp_path, ledger), children, make_claim("deaf"))

    assert ledger.told == ["failed INTERNAL: the training process fell silent"]


async def test_heartbeats_carry_phase_and_progress(tmp_path: Path, children: WarmChild) -> None:
    ledger = FakeLedger()
    stop = asyncio.Event()
    running = asyncio.create_task(
        run(make_site(tmp_path, ledger), children, make_claim("slow"), stop)
    )
    await eventually(lambda: any(progress for _, progress in ledger.beats))
    stop.set()
    await running

    phase, progress = ledger.beats[-1]
    assert phase == training_pb2.JOB_PHASE_TRAINING
    assert progress is not None
    assert progress.epoch == 3


async def test_cancellation_ends_a_stubborn_child_within_2_s(
    tmp_path: Path, children: WarmChild
) -> None:
    ledger = FakeLedger()
    site = make_site(tmp_path, ledger, beat_s=60.0)
    child = await children.ready()
    running = asyncio.create_task(run(site, children, make_claim("stubborn")))
    await eventually(lambda: bool(ledger.beats))  # it trains
    begun_s = time.monotonic()
    ledger.cancel_asked.set()
    await running

    assert time.monotonic() - begun_s < 2
    assert ledger.told == ["cancelled"]
    assert not child.is_alive


async def test_a_heartbeat_that_says_cancelling_is_enough(
    tmp_path: Path, children: WarmChild
) -> None:
    ledger = FakeLedger(state=training_pb2.JOB_STATE_CANCELLING)

    await run(make_site(tmp_path, ledger), children, make_claim("stubborn"))

    assert ledger.told == ["cancelled"]


async def test_a_fenced_attempt_is_dropped_and_its_child_killed(
    tmp_path: Path, children: WarmChild
) -> None:
    ledger = FakeLedger(is_fenced=True)
    child = await children.ready()

    await run(make_site(tmp_path, ledger), children, make_claim("stubborn"))

    assert ledger.told == []
    assert not child.is_alive


class ForgetfulLedger(FakeLedger):
    """Its stream of events breaks off, then says that the job is another attempt's."""

    follows = 0

    async def follow(self, claim: Claim) -> AsyncIterator[Job]:
        self.follows += 1
        if self.follows == 1:
            yield claim.job
            raise Unavailable("away")
        raise Fenced(claim.attempt)


async def test_a_fence_in_the_stream_of_events_is_enough(
    tmp_path: Path, children: WarmChild
) -> None:
    ledger = ForgetfulLedger()

    await run(make_site(tmp_path, ledger, beat_s=60.0), children, make_claim("stubborn"))

    assert ledger.told == []
    assert ledger.follows == 2


async def test_heartbeats_go_on_after_an_outage(tmp_path: Path, children: WarmChild) -> None:
    ledger = FakeLedger(away=2)
    stop = asyncio.Event()
    site = make_site(tmp_path, ledger)
    running = asyncio.create_task(run(site, children, make_claim("slow"), stop))
    await within(ledger.beaten.wait())
    stop.set()
    await running

    assert ledger.told == ["handed back"]
    assert sample(site.metrics, "twofold_trainer_heartbeat_failures_total") == 2


async def test_an_attempt_cut_off_for_too_long_is_dropped(
    tmp_path: Path, children: WarmChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "REJOIN_LIMIT_S", -3.0)  # with the lease of 3 s: at once
    ledger = FakeLedger(away=1_000)

    await run(make_site(tmp_path, ledger), children, make_claim("stubborn"))

    assert ledger.told == []


async def test_a_stop_lets_the_child_save_and_hands_the_job_back(
    tmp_path: Path, children: WarmChild
) -> None:
    ledger = FakeLedger()
    stop = asyncio.Event()
    site = make_site(tmp_path, ledger)
    running = asyncio.create_task(run(site, children, make_claim("slow"), stop))
    await eventually(lambda: bool(ledger.beats))
    stop.set()
    await running

    assert ledger.told == ["handed back"]


async def test_a_stop_does_not_wait_for_a_stubborn_child(
    tmp_path: Path, children: WarmChild
) -> None:
    ledger = FakeLedger()
    stop = asyncio.Event()
    site = make_site(tmp_path, ledger, drain_s=0.2)
    running = asyncio.create_task(run(site, children, make_claim("stubborn"), stop))
    await eventually(lambda: bool(ledger.beats))
    stop.set()
    await running

    assert ledger.told == ["handed back"]


async def test_a_stop_before_the_child_is_there_hands_back_at_once(tmp_path: Path) -> None:
    async def never() -> Child:
        await asyncio.Event().wait()
        raise AssertionError

    ledger = FakeLedger()
    stop = asyncio.Event()
    stop.set()
    children = WarmChild(never, 1, Metrics())

    await run(make_site(tmp_path, ledger), children, make_claim("good"), stop)
    await children.close()

    assert ledger.told == ["handed back"]


async def test_no_progress_is_a_timeout(tmp_path: Path, children: WarmChild) -> None:
    ledger = FakeLedger()
    claim = make_claim("stubborn")
    claim.record.spec.limits.progress_timeout.FromMilliseconds(300)

    await run(make_site(tmp_path, ledger), children, claim)

    assert ledger.told == [
        "failed TIMEOUT: there was no progress for limits.progress_timeout (0.3 s)"
    ]


async def test_a_child_that_cannot_start_fails_the_attempt(tmp_path: Path) -> None:
    async def fail() -> Child:
        raise ChildLost("no")

    ledger = FakeLedger()

    await run(make_site(tmp_path, ledger), WarmChild(fail, 1, Metrics()), make_claim("good"))

    assert ledger.told == ["failed INTERNAL: the training process could not be started"]


async def test_a_deleted_data_set_fails_the_attempt(tmp_path: Path, children: WarmChild) -> None:
    ledger = FakeLedger()

    await run(make_site(tmp_path, ledger), children, make_claim("good", dataset="0" * 64))

    assert ledger.told[0].startswith("failed DATA: there is no datasets/000")


class FullStore(LocalStore):
    def make_folder(self, key: str) -> Path:
        raise StoreError(f"the store is full at {key}")


async def test_a_store_that_fails_is_the_reason(tmp_path: Path, children: WarmChild) -> None:
    ledger = FakeLedger()
    site = replace(make_site(tmp_path, ledger), store=FullStore(tmp_path))

    await run(site, children, make_claim("good"))

    assert ledger.told[0].startswith("failed STORE: the store is full")


class BrokenClock(SystemClock):
    async def sleep(self, delay_s: float) -> None:
        del delay_s
        raise ZeroDivisionError


async def test_a_defect_ends_the_attempt_not_the_worker(
    tmp_path: Path, children: WarmChild, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = FakeLedger()
    site = replace(make_site(tmp_path, ledger), clock=BrokenClock())

    await run(site, children, make_claim("stubborn"))

    assert ledger.told == ["failed INTERNAL: internal error; the trainer's log has the details"]
    assert "ZeroDivisionError" in caplog.text

"""The end of an attempt reaches the ledger, however long that takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.fakes import CANCELLING, FakeLedger, make_claim, make_site, sample
from trainer import verdict
from trainer.conclusion import Conclusion
from twofold import keys
from twofold.errors import Corrupt, LimitExceeded
from twofold.internal.v1 import record_pb2
from twofold.jobs import Job
from twofold.lifecycle import Claim
from twofold.store import LocalStore, StoreError
from twofold.v1 import model_pb2, training_pb2

TRAINED = verdict.Trained(model_pb2.Manifest(), 5)


def conclusion(tmp_path: Path, ledger: FakeLedger, model: str = "m") -> Conclusion:
    return Conclusion(make_site(tmp_path, ledger), make_claim(model), begun_s=0.0)


@pytest.mark.parametrize(
    "error", [StoreError("full"), LimitExceeded("the queue's memory is full", limit="memory")]
)
async def test_publishing_is_repeated_while_its_failure_may_pass(
    tmp_path: Path, error: Exception
) -> None:
    ledger = FakeLedger(away=2, error=error)

    await conclusion(tmp_path, ledger).reach(TRAINED)

    assert ledger.told == ["published"]


async def test_publishing_is_given_up_at_the_jobs_limit(tmp_path: Path) -> None:
    ledger = FakeLedger(away=1, error=StoreError("full"))
    end = conclusion(tmp_path, ledger)
    end.claim.record.spec.limits.max_duration.FromMilliseconds(1)

    await end.reach(TRAINED)

    assert ledger.told[0].startswith("failed STORE: the store could not be written")


async def test_a_cancel_that_comes_while_publishing_fails_wins(tmp_path: Path) -> None:
    ledger = FakeLedger(away=1)
    end = conclusion(tmp_path, ledger)
    end.is_cancelling = True

    await end.reach(TRAINED)

    assert ledger.told == ["cancelled"]
    assert sample(end.site.metrics, "twofold_trainer_jobs_total", state="cancelled") == 1


async def test_a_lost_job_is_written_no_more(tmp_path: Path) -> None:
    ledger = FakeLedger()
    end = conclusion(tmp_path, ledger)
    end.is_lost = True

    await end.reach(TRAINED)

    assert ledger.told == []


async def test_a_fence_in_the_ledger_drops_the_attempt(tmp_path: Path) -> None:
    ledger = FakeLedger(is_fenced=True)
    end = conclusion(tmp_path, ledger)

    await end.reach(verdict.Died(-9))

    assert ledger.told == []
    assert sample(end.site.metrics, "twofold_trainer_evictions_total") == 1


async def test_scratch_stays_while_the_job_goes_on(tmp_path: Path) -> None:
    ledger = FakeLedger(terminal=training_pb2.JOB_STATE_PENDING)
    end = conclusion(tmp_path, ledger)
    key = keys.attempt_checkpoints("local", end.claim.job.id, end.claim.attempt)
    end.site.store.make_folder(key)

    await end.reach(verdict.Failed(training_pb2.JOB_REASON_INTERNAL, "x"))
    assert end.site.store.exists(key)

    ledger.terminal = training_pb2.JOB_STATE_FAILED
    await end.reach(verdict.Failed(training_pb2.JOB_REASON_INTERNAL, "x"))
    assert not end.site.store.exists(key)


@pytest.mark.parametrize(
    ("reason", "is_kept"),
    [(training_pb2.JOB_REASON_NOT_BLESSED, True), (training_pb2.JOB_REASON_DIVERGED, False)],
)
async def test_what_a_gate_refused_stays_to_be_looked_at(
    tmp_path: Path,
    reason: training_pb2.JobReason,
    is_kept: bool,  # noqa: FBT001
) -> None:
    end = conclusion(tmp_path, FakeLedger())
    key = keys.attempt_artifact("local", end.claim.job.id, end.claim.attempt)
    end.site.store.make_folder(key)

    await end.reach(verdict.Failed(reason, "accuracy 0.1"))

    assert end.site.store.exists(key) == is_kept


class CorruptLedger(FakeLedger):
    async def publish(self, claim: Claim, manifest: model_pb2.Manifest) -> record_pb2.JobOutcome:
        del claim, manifest
        raise Corrupt("weights.safetensors fails its digest", resource="x")


async def test_what_can_never_be_published_fails_the_job(tmp_path: Path) -> None:
    ledger = CorruptLedger()

    await conclusion(tmp_path, ledger).reach(TRAINED)

    assert ledger.told == ["failed INTERNAL: weights.safetensors fails its digest"]


class BrokenLedger(FakeLedger):
    async def hand_back(self, claim: Claim) -> Job:
        del claim
        raise Corrupt("the record cannot be read", resource="x")


async def test_an_end_that_cannot_be_told_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await conclusion(tmp_path, BrokenLedger()).reach(verdict.Stopped())

    assert "attempt could not be concluded" in caplog.text


class StuckStore(LocalStore):
    def remove(self, key: str) -> None:
        raise StoreError(f"cannot remove {key}")


async def test_scratch_that_cannot_be_removed_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = FakeLedger(state=CANCELLING)
    site = replace(make_site(tmp_path, ledger), store=StuckStore(tmp_path))

    await Conclusion(site, make_claim("m"), 0.0).reach(TRAINED)

    assert ledger.told == ["published"]
    assert "scratch left behind" in caplog.text

"""Jobs and workers that go bad: what their owners are told, and that others do not notice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.full.scenario import attempts_in
from tests.chaos.full.site import LEASE_S, Site
from tests.chaos.rows import bad_child, full_child
from tests.chaos.rows.again import until_kept
from tests.chaos.rows.workshop import working
from tests.e2e import specs
from tests.trainer.jobs import truth_spec
from tests.valkey import Valkey
from twofold import versions
from twofold.client import Client, JobHandle
from twofold.principal import LOCAL
from twofold.v1 import spec_pb2
from twofold.v1 import training_pb2 as pb

TAKEOVER_S = LEASE_S + 2.0


def toy_spec(model: str) -> spec_pb2.TrainingSpec:
    spec = spec_pb2.TrainingSpec(model=model)
    spec.data.dataset = "xor"
    return spec


@pytest.fixture
def site() -> Iterator[Site]:
    """Full processes with two workers."""
    made = Site()
    try:
        made.start()
        yield made
    finally:
        made.close()


def kill_its_worker(site: Site, handle: JobHandle) -> None:
    (holder,) = [name for name in ("worker-0", "worker-1") if attempts_in(site, name, handle.id)]
    site.parts[holder].end()


def seconds_until_taken_over(site: Site, client: Client, model: str) -> tuple[float, JobHandle]:
    """Kills a job's worker in the middle of an epoch; how long until another one has the job."""
    handle = client.train(specs.xor(model, epochs=8_000, checkpoint_interval=0.05))
    specs.until_epoch(handle, specs.CHECKPOINTED_EPOCH)
    kill_its_worker(site, handle)
    killed_s = time.monotonic()
    specs.until_job(handle, lambda job: job.attempt_count > 1)
    return time.monotonic() - killed_s, handle


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_k_epoch_a_worker_killed_in_an_epoch_is_replaced_within_its_lease_and_two_seconds(
    site: Site,
) -> None:
    """Two trainers; the second resumes from the last checkpoint, and there is one version."""
    with site.connect(attempts=1_000) as client:
        for measured in until_kept(TAKEOVER_S):
            site.start()  # also the worker that an earlier try killed
            measured.value, handle = seconds_until_taken_over(site, client, measured.name)
            job = handle.wait(timeout_s=60)

            assert (job.state, job.attempt_count) == (pb.JOB_STATE_SUCCEEDED, 2)
            assert job.progress.resumed_epoch > 0
            assert specs.versions(client, job.spec.model) == [1]


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_hang_heartbeats_without_progress_end_in_timeout_and_free_the_slot(
    valkey: Valkey, tmp_path: Path
) -> None:
    spec = toy_spec("hangs")
    spec.limits.max_duration.FromSeconds(2)
    async with working(valkey, tmp_path, bad_child.PROGRAM) as shop:
        hanging = await shop.submit(spec)
        next_one = await shop.submit(toy_spec("good"))
        job = await shop.ended(hanging)
        follower = await shop.ended(next_one)

    assert (job.state, job.reason) == (pb.JOB_STATE_FAILED, pb.JOB_REASON_TIMEOUT)
    lasted_s = (job.end_time.ToMilliseconds() - job.start_time.ToMilliseconds()) / 1000
    assert 2 <= lasted_s < 10
    assert follower.state == pb.JOB_STATE_SUCCEEDED


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_poison_the_third_death_by_signal_ends_the_job_and_twenty_good_ones_proceed(
    valkey: Valkey, tmp_path: Path
) -> None:
    async with working(valkey, tmp_path, bad_child.PROGRAM, workers=2) as shop:
        before = [await shop.submit(toy_spec("good")) for _ in range(10)]
        poison = await shop.submit(toy_spec("segfaults"))
        after = [await shop.submit(toy_spec("good")) for _ in range(10)]
        ended = [await shop.ended(job_id) for job_id in (*before, *after)]
        job = await shop.ended(poison)

    assert (job.state, job.reason) == (pb.JOB_STATE_FAILED, pb.JOB_REASON_WORKER_LOST)
    assert (job.attempt_count, job.eviction_count) == (3, 3)
    assert "SIGSEGV" in job.message
    assert {good.state for good in ended} == {pb.JOB_STATE_SUCCEEDED}
    assert len({good.model_version for good in ended}) == 20


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_gpu_oom_a_full_device_ends_the_job_as_oom_and_the_next_one_works(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / full_child.MARKER).touch()
    spec = truth_spec("xor", network={"family": "logistic"}, training={"epochs": 50})
    async with working(valkey, tmp_path, full_child.PROGRAM) as shop:
        first, second = await shop.submit(spec), await shop.submit(spec)
        full = await shop.ended(first, timeout_s=100)
        follower = await shop.ended(second, timeout_s=100)

    assert (full.state, full.reason) == (pb.JOB_STATE_FAILED, pb.JOB_REASON_OOM)
    assert "batch_size" in full.message
    assert follower.state == pb.JOB_STATE_SUCCEEDED


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_nan_a_loss_that_is_no_number_ends_as_diverged_and_publishes_nothing(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    spec = truth_spec(
        "xor",
        data={"dataset": "xor", "task": "regression"},
        network={"family": "linear"},
        training={"epochs": 1_000, "optimizer": "sgd", "learning_rate": 1e3},
    )
    async with working(valkey, tmp_path, full_child.PROGRAM) as shop:
        job = await shop.ended(await shop.submit(spec), timeout_s=100)

    assert (job.state, job.reason) == (pb.JOB_STATE_FAILED, pb.JOB_REASON_DIVERGED)
    assert "epoch" in job.message
    assert versions.model_names(shop.store, LOCAL.tenant) == []

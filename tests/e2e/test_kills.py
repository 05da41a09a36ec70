"""kill -9 in the middle of a job: it still ends in one version, from where it stood."""

from pathlib import Path

import pytest

from tests.e2e import processes, specs
from tests.e2e.conftest import ENVIRONMENT
from twofold import series
from twofold.client import Client, Connection, JobHandle, RetryPolicy
from twofold.cluster.embedded import Embedded, running
from twofold.v1 import training_pb2 as pb

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def in_training(client: Client, request: pytest.FixtureRequest) -> JobHandle:
    """A job of some seconds that has a checkpoint."""
    name = str(request.node.name).replace("_", "-")[:60].strip("-")  # pyright: ignore[reportUnknownMemberType] - untyped in pytest
    handle = client.train(specs.seconds_long(name))
    specs.until_epoch(handle, specs.CHECKPOINTED_EPOCH)
    return handle


def assert_one_version(client: Client, handle: JobHandle) -> pb.TrainingJob:
    job = handle.wait(timeout_s=90)

    assert job.state == pb.JOB_STATE_SUCCEEDED
    model = job.spec.model
    (number,) = specs.versions(client, model)
    assert job.model_version == f"models/{model}/versions/{number}"
    lineage = client.models.version(model, number).manifest.lineage
    assert lineage.job == job.name
    specs.until_served(client, model, number)
    assert client.predict(model, specs.ROWS).labels.tolist() == specs.XOR
    assert_whole_series(handle)
    return job


def assert_whole_series(handle: JobHandle) -> None:
    """Each epoch once, whichever attempt trained it; every other one where there are many."""
    points = handle.metrics()

    epochs, last = [point.epoch for point in points], handle.job.progress.epoch
    assert epochs[:-1] == [*range(1, last, 1 if last <= series.LIMIT else 2)]
    assert epochs[-1] == last
    assert [point.step for point in points] == epochs
    assert len({point.attempt for point in points}) == min(2, handle.job.attempt_count)


def test_the_training_process_is_killed(
    client: Client, cluster: Embedded, in_training: JobHandle
) -> None:
    processes.kill(processes.training_child(cluster.process.pid))

    job = assert_one_version(client, in_training)
    assert job.progress.resumed_epoch > 0
    assert (job.attempt_count, job.eviction_count) == (2, 1)


def test_the_worker_is_killed(client: Client, cluster: Embedded, in_training: JobHandle) -> None:
    worker = processes.part(cluster.process.pid, r"-m trainer$")
    child = processes.training_child(cluster.process.pid)
    processes.kill(worker)
    processes.assert_all_end([worker, child])

    job = assert_one_version(client, in_training)
    assert job.progress.resumed_epoch > 0
    assert job.attempt_count == 2
    assert "trainer | died: SIGKILL" in cluster.log.read_text(encoding="utf-8")


def test_the_queues_server_is_killed(
    client: Client, cluster: Embedded, in_training: JobHandle
) -> None:
    """Nobody's lease has passed when the server is back, so the attempt goes on, or resumes."""
    processes.kill(processes.part(cluster.process.pid, r"valkey-server"))

    job = assert_one_version(client, in_training)
    assert job.attempt_count == 1 or job.progress.resumed_epoch > 0
    assert "valkey  | died: SIGKILL" in cluster.log.read_text(encoding="utf-8")


def test_the_inferer_is_killed(client: Client, cluster: Embedded) -> None:
    """A client that is told to be patient waits until the inferer is back, and does not fail."""
    client.train(specs.xor("kept")).wait(timeout_s=60)
    specs.until_served(client, "kept", 1)
    processes.kill(processes.part(cluster.process.pid, r"-m inferer$"))

    patient = Connection(infer=cluster.infer, retry=RetryPolicy(attempts=1_000))
    with Client(connection=patient) as waiting:
        prediction = waiting.predict("kept", specs.ROWS, timeout_s=60)
    assert (prediction.version, prediction.labels.tolist()) == (1, specs.XOR)


@pytest.mark.parametrize("point", ["publish.decided", "publish.visible"])
def test_the_worker_is_killed_after_the_outcome_is_decided(tmp_path: Path, point: str) -> None:
    """Whoever comes next completes what was decided, and trains nothing again."""
    environment = {**ENVIRONMENT, "TWOFOLD_FAULTS": f"{point}=kill"}
    with (
        running(tmp_path / "cluster", environment) as embedded,
        Client(train=embedded.train, infer=embedded.infer) as client,
    ):
        job = assert_one_version(client, client.train(specs.xor("decided")))
        log = embedded.log.read_text(encoding="utf-8")

    assert log.count("trainer | died: SIGKILL") == 1
    assert job.attempt_count == 1

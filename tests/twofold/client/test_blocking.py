"""The blocking client against real gRPC servers with scripted answers."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from tests.twofold.client.service import EVENT_TIME
from tests.twofold.client.serving import Servers
from twofold import errors, toml_spec
from twofold.client import (
    Client,
    Connection,
    CreateOptions,
    JobFailed,
    JobFilter,
    RetryPolicy,
)
from twofold.v1 import dataset_pb2, spec_pb2, training_pb2

REQUEST_ID = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
SPEC: toml_spec.Tree = {
    "model": "digits",
    "data": {"dataset": "xor"},
    "network": {"family": "mlp"},
}


def unavailable() -> errors.Unavailable:
    return errors.Unavailable("draining")


def test_unavailable_create_is_repeated_and_makes_one_job(client: Client, servers: Servers) -> None:
    """The answer is lost twice; the request_id made by the client keeps it one job."""
    servers.script.failures["CreateTrainingJob"] = [unavailable(), unavailable()]

    handle = client.train(SPEC)

    assert servers.script.count("CreateTrainingJob") == 3
    assert len(servers.training.jobs) == 1
    assert len({request.request_id for request in servers.training.requests}) == 1
    assert UUID(handle.job.request_id).version == 4


def test_two_creates_have_two_request_ids(client: Client, servers: Servers) -> None:
    client.train(SPEC)
    client.train(SPEC)

    assert len(servers.training.jobs) == 2


def test_given_request_id_is_sent(client: Client) -> None:
    first = client.train(SPEC, options=CreateOptions(request_id=REQUEST_ID))
    again = client.train(SPEC, options=CreateOptions(request_id=REQUEST_ID))

    assert again.id == first.id


def test_create_options_travel(client: Client, servers: Servers) -> None:
    client.jobs.create(SPEC, CreateOptions(validate_only=True, not_before=EVENT_TIME))

    (request,) = servers.training.requests
    assert request.validate_only
    assert request.not_before_time.ToSeconds() == EVENT_TIME.timestamp()


@pytest.mark.parametrize(
    "error",
    [
        errors.LimitExceeded("full", limit="queue"),
        errors.QueueFull("full"),
        errors.Internal(),
        errors.InvalidField.of("model", "A", "a name"),
        errors.Conflict("raced"),
    ],
)
def test_nothing_but_unavailable_is_repeated(
    client: Client, servers: Servers, error: errors.TwofoldError
) -> None:
    servers.script.failures["GetTrainingJob"] = [error]
    job = servers.training.add()

    with pytest.raises(errors.TwofoldError) as caught:
        client.jobs.get(job.name)

    assert servers.script.count("GetTrainingJob") == 1
    assert caught.value.code == error.code
    assert caught.value.message == error.message
    assert caught.value.fields == error.fields
    assert caught.value.reason == error.reason


def test_unavailable_is_given_up_after_the_policys_attempts(
    client: Client, servers: Servers
) -> None:
    servers.script.failures["GetTrainingJob"] = [unavailable() for _ in range(9)]

    with pytest.raises(errors.Unavailable, match="draining"):
        client.jobs.get("01J")

    assert servers.script.count("GetTrainingJob") == 4


def test_every_call_has_a_deadline(client: Client, servers: Servers, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a,label\n1,x\n")

    client.train(SPEC, data=file).wait()
    client.predict("digits", [[1.0, 0.0]])
    client.jobs.list()
    client.models.get("digits", timeout_s=7)

    # gRPC rounds a deadline up on the wire.
    assert max(servers.script.deadlines_s) < 600 * 1.01
    assert servers.script.deadlines_s[-1] < 7.1


def test_late_answer_raises_deadline_exceeded_that_names_the_server(
    client: Client, servers: Servers
) -> None:
    released = threading.Event()
    servers.inferer.on_infer = lambda: released.wait(10)

    with pytest.raises(errors.DeadlineExceeded, match=f"the inferer at {servers.infer}"):
        client.predict("digits", [[1.0, 0.0]], timeout_s=0.1)
    released.set()


def test_unreachable_server_is_named() -> None:
    """Port 1 of loopback: nothing listens there."""
    connection = Connection(train="127.0.0.1:1", retry=RetryPolicy(attempts=1))

    with (
        Client(connection=connection) as client,
        pytest.raises(errors.Unavailable, match=r"the trainer at 127\.0\.0\.1:1 cannot be reached"),
    ):
        client.jobs.list()


def test_closed_client_says_so(servers: Servers) -> None:
    client = Client(servers.train, servers.infer)
    client.close()

    with pytest.raises(errors.Unavailable, match="the client is closed"):
        client.jobs.list()


class FakeRandomness:
    """Tells when a retry's delay is computed."""

    def __init__(self) -> None:
        self.was_asked = threading.Event()

    def token_bytes(self, count: int) -> bytes:
        return bytes(count)

    def uniform(self) -> float:
        self.was_asked.set()
        return 0.5


def test_close_interrupts_a_retrys_wait(servers: Servers) -> None:
    randomness = FakeRandomness()
    policy = RetryPolicy(first_delay_s=60, longest_delay_s=60)
    connection = Connection(train=servers.train, retry=policy, randomness=randomness)
    client = Client(connection=connection)
    servers.script.failures["GetTrainingJob"] = [unavailable()]
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.jobs.get, "01J", 100)
        assert randomness.was_asked.wait(10)
        client.close()

        with pytest.raises(errors.Unavailable, match="the client is closed"):
            reading.result(10)


def test_close_ends_a_call_under_way(servers: Servers) -> None:
    client = Client(infer=servers.infer)
    entered, released = threading.Event(), threading.Event()
    servers.inferer.on_infer = lambda: (entered.set(), released.wait(10))
    with ThreadPoolExecutor(1) as pool:
        predicting = pool.submit(client.predict, "digits", [[1.0, 0.0]])
        assert entered.wait(10)
        client.close()

        with pytest.raises(errors.Unavailable, match="the client is closed"):
            predicting.result(10)
        released.set()


def test_wait_returns_the_job_with_its_version(client: Client) -> None:
    handle = client.train(SPEC)

    job = handle.wait()

    assert job.state == training_pb2.JOB_STATE_SUCCEEDED
    assert handle.version == 7
    assert handle.id in repr(handle)
    assert handle.wait() is job


def test_failed_job_raises_with_state_and_reason(client: Client, servers: Servers) -> None:
    servers.training.ending = training_pb2.TrainingJob(
        state=training_pb2.JOB_STATE_FAILED,
        reason=training_pb2.JOB_REASON_DIVERGED,
        message="the loss became NaN in epoch 3",
    )

    with pytest.raises(JobFailed, match=r"FAILED \(DIVERGED\): the loss became NaN") as caught:
        client.train(SPEC).wait()

    assert caught.value.code == "FAILED_PRECONDITION"
    assert caught.value.fields["job_reason"] == "DIVERGED"
    assert caught.value.job is not None


@pytest.mark.parametrize("error", [unavailable(), None])
def test_broken_watch_resumes_after_the_last_event(
    client: Client, servers: Servers, error: errors.TwofoldError | None
) -> None:
    """Streams that break with an error, and streams that end too early."""
    servers.training.breaks = [(1, error), (0, error), (2, error)]

    events = list(client.train(SPEC).watch())

    assert [event.cursor for event in events] == ["1", "2", "3", "4"]
    assert servers.training.cursors == ["", "1", "1", "3"]
    assert events[0].time == EVENT_TIME
    assert events[-1].is_terminal


def test_watch_raises_what_no_new_stream_can_help(client: Client, servers: Servers) -> None:
    servers.training.breaks = [(1, errors.LimitExceeded("too many streams"))]

    with pytest.raises(errors.LimitExceeded):
        list(client.train(SPEC).watch())


def test_watch_of_an_unknown_job_raises_not_found(client: Client) -> None:
    with pytest.raises(errors.NotFound):
        list(client.jobs.watch("01J"))


def test_wait_gives_up_at_its_own_deadline(client: Client, servers: Servers) -> None:
    released = servers.training.hold_after(1)

    with pytest.raises(errors.DeadlineExceeded, match=r"has not ended within 0\.2 s; it goes on"):
        client.train(SPEC).wait(timeout_s=0.2)
    released.set()


def test_abandoned_watch_closes_its_stream(client: Client) -> None:
    watch = client.train(SPEC).watch()

    event = next(iter(watch))

    assert not event.is_terminal


def test_cancel_refresh_and_retry(client: Client) -> None:
    handle = client.train(SPEC)

    assert handle.cancel().state == training_pb2.JOB_STATE_CANCELLED
    assert handle.refresh().reason == training_pb2.JOB_REASON_USER
    with pytest.raises(JobFailed, match="CANCELLED"):
        handle.wait()
    assert handle.retry().job.retry_of == handle.job.name


def test_lists_are_read_page_by_page_up_to_a_limit(client: Client, servers: Servers) -> None:
    made = [servers.training.add() for _ in range(5)]
    made[1].state = training_pb2.JOB_STATE_FAILED
    newest_first = [job.name for job in reversed(made)]

    assert [job.name for job in client.jobs.list()] == newest_first
    assert [job.name for job in client.jobs.list(limit=3)] == newest_first[:3]
    assert client.jobs.list(limit=0) == []
    failed = client.jobs.list(JobFilter(states=[training_pb2.JOB_STATE_FAILED]))
    assert [job.name for job in failed] == [made[1].name]


def test_arrays_are_uploaded_once_and_named_in_the_spec(client: Client, servers: Servers) -> None:
    x, y = np.arange(6.0).reshape(3, 2), ["no", "yes", "no"]

    first = client.train(x, y, SPEC)
    client.train(x, y, SPEC)

    ((digest, data),) = servers.datasets.contents.items()
    assert servers.script.count("UploadDataset") == 1
    assert first.job.spec.data.dataset == digest
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["x"], x)
        assert archive["y"].tolist() == y
    stored = servers.datasets.datasets[f"datasets/{digest}"]
    assert stored.format == dataset_pb2.DATASET_FORMAT_NPZ


def test_upload_goes_in_chunks_and_is_repeated_whole(
    client: Client, servers: Servers, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).bytes(2_500_000)
    file = tmp_path / "big.parquet"
    file.write_bytes(data)
    servers.script.failures["UploadDataset"] = [unavailable()]

    dataset = client.datasets.put(str(file))

    assert servers.script.count("UploadDataset") == 2
    assert servers.datasets.contents[dataset.name.removeprefix("datasets/")] == data
    assert servers.datasets.largest_chunk == 1 << 20
    assert dataset.display_name == "big.parquet"


def test_a_broken_upload_goes_on_where_the_server_has_got_to(
    client: Client, servers: Servers, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).bytes(2_500_000)
    file = tmp_path / "big.npy"
    file.write_bytes(data)
    # More breaks than a call has tries: each stream comes further.
    servers.datasets.breaks = [300_000] * 7
    servers.script.failures["UploadDataset"] = [errors.Conflict("another stream writes it")]

    dataset = client.datasets.put(file)

    assert servers.datasets.contents[dataset.name.removeprefix("datasets/")] == data
    assert servers.datasets.offsets == [number * 300_000 for number in range(8)]


def test_spec_may_name_its_data_or_be_given_them(client: Client) -> None:
    digest = "0" * 64
    bare = spec_pb2.TrainingSpec(model="digits")

    assert client.train(SPEC).job.spec.data.dataset == "xor"
    assert client.train(bare, data="and").job.spec.data.dataset == "and"
    assert client.train(bare, data=f"datasets/{digest}").job.spec.data.dataset == digest
    assert bare.data.dataset == ""
    with pytest.raises(errors.InvalidField, match=r"data\.dataset"):
        client.train(bare)


def test_train_refuses_other_arguments(client: Client) -> None:
    with pytest.raises(TypeError, match="train takes"):
        client.train([[1.0]], [1.0], SPEC, data="xor")  # pyright: ignore[reportCallIssue] - tested
    with pytest.raises(TypeError, match="train takes"):
        client.train(SPEC, [1.0], SPEC)  # pyright: ignore[reportArgumentType, reportCallIssue] - tested


def test_datasets_are_read_listed_and_deleted(client: Client, servers: Servers) -> None:
    digests = [letter * 64 for letter in "abc"]
    for digest in digests:
        servers.datasets.add(digest, "a.csv", 10)

    assert client.datasets.get(digests[0]).row_count == 3
    assert len(client.datasets.list()) == 3
    client.datasets.delete(digests[0])
    with pytest.raises(errors.NotFound):
        client.datasets.get(f"datasets/{digests[0]}")


def test_models_and_their_versions(client: Client) -> None:
    assert [model.name for model in client.models.list()] == ["models/digits"]
    assert client.models.get("digits").current_version == 3
    numbers = [version.manifest.version for version in client.models.versions("digits")]
    assert numbers == [3, 2, 1]
    assert client.models.version("digits").manifest.version == 3
    assert client.models.version("digits", "stable").manifest.version == 2
    assert client.models.version("digits", 1).manifest.lineage.epoch == 42
    assert client.models.set_alias("digits", "canary", 3).aliases["canary"] == 3
    assert client.models.withdraw("digits", 3).withdrawn
    assert not client.models.rollback("digits", 3).changed
    assert client.models.rollback("digits").withdrawn == "models/digits/versions/2"
    with pytest.raises(errors.InvalidField, match="version is 0; allowed: a version's number"):
        client.models.rollback("digits", 0)

"""Jobs over gRPC: nothing is stored before everything is valid."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest

from tests.trainer.api.serving import JOB, Served, error_of, serving
from tests.twofold import losses
from trainer.api.training import request_sha256
from trainer.datasets import add_dataset
from twofold import errors, rpc
from twofold.v1 import (
    dataset_pb2,
    dataset_pb2_grpc,
    graph_pb2,
    spec_pb2,
    training_pb2,
    training_pb2_grpc,
)

SHA = "ab" * 32
NAME = f"jobs/{JOB}"
UUID = "6FA459EA-ee8a-4ca4-894e-db77e160355e"
Create = training_pb2.CreateTrainingJobRequest


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, max_watch_streams=2) as served:
        yield served


def stub_of(api: Served) -> "training_pb2_grpc.TrainingServiceAsyncStub":
    return training_pb2_grpc.TrainingServiceStub(api.channel)


def create_request(dataset: str = "xor") -> Create:
    spec = spec_pb2.TrainingSpec(
        model="m",
        data=spec_pb2.DataSpec(dataset=dataset),
        network=spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP),
    )
    return Create(spec=spec)


def add_table(api: Served) -> None:
    temporary = api.store.temporary()
    temporary.write_bytes(b"x")
    dataset = dataset_pb2.Dataset(name=f"datasets/{SHA}", row_count=100)
    dataset.columns.add(name="a", kind=dataset_pb2.COLUMN_KIND_REAL, minimum=0, maximum=1)
    dataset.columns.add(
        name="label", kind=dataset_pb2.COLUMN_KIND_INTEGER, distinct_count=2, minimum=0, maximum=1
    )
    add_dataset(api.store, "local", temporary, dataset)


def add_job(api: Served, state: training_pb2.JobState, dataset: str = "xor") -> None:
    job = training_pb2.TrainingJob(name=NAME, state=state)
    job.spec.data.dataset = dataset
    api.ledger.jobs[JOB] = job


async def test_a_job_is_created_with_every_default_filled_in(api: Served) -> None:
    request = create_request()
    request.request_id = UUID
    request.not_before_time.GetCurrentTime()
    answer = await stub_of(api).CreateTrainingJob(request)

    assert answer.job.name == NAME
    record = api.ledger.records[0]
    assert record.format_version == 1
    assert record.spec.training.epochs > 0
    assert record.spec.data.target == "label"
    assert record.principal == "local"
    assert record.request_id == UUID.lower()
    assert record.request_sha256 == request_sha256(request)
    assert record.not_before_time == request.not_before_time
    assert record.create_time.seconds > 0


async def test_a_jobs_spec_is_completed_from_its_data_set(api: Served) -> None:
    add_table(api)
    await stub_of(api).CreateTrainingJob(create_request(SHA))

    spec = api.ledger.records[0].spec
    assert list(spec.data.features) == ["a"]
    assert spec.data.validation_fraction == pytest.approx(0.2)


async def test_validation_alone_stores_nothing(api: Served) -> None:
    request = create_request()
    request.validate_only = True
    job = (await stub_of(api).CreateTrainingJob(request)).job

    assert job.name == ""
    assert job.state == training_pb2.JOB_STATE_PENDING
    assert job.spec.training.epochs > 0
    assert api.ledger.records == []


def without_model(request: Create) -> None:
    request.spec.model = ""


def with_path(request: Create) -> None:
    request.spec.model = "../../etc/passwd"


def with_bad_dataset(request: Create) -> None:
    request.spec.data.dataset = "/etc/passwd"


def with_bad_rate(request: Create) -> None:
    request.spec.training.learning_rate = float("nan")


def with_huge_network(request: Create) -> None:
    request.spec.network.hidden.extend([65_536] * 64)


def with_bad_request_id(request: Create) -> None:
    request.request_id = "1"


def with_late_time(request: Create) -> None:
    request.not_before_time.FromJsonString("9999-01-01T00:00:00Z")


def with_bad_time(request: Create) -> None:
    request.not_before_time.nanos = -1


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (without_model, "model"),
        (with_path, "model"),
        (with_bad_dataset, "data.dataset"),
        (with_bad_rate, "training.learning_rate"),
        (with_bad_request_id, "request_id"),
        (with_late_time, "not_before_time"),
        (with_bad_time, "not_before_time"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_enqueued(
    api: Served, spoil: Callable[[Create], None], field: str
) -> None:
    request = create_request()
    spoil(request)
    error = await error_of(stub_of(api).CreateTrainingJob(request))

    assert isinstance(error, errors.InvalidField)
    assert error.fields["field"] == field
    assert api.ledger.records == []


async def test_a_network_beyond_the_servers_bounds_is_refused(api: Served) -> None:
    request = create_request()
    with_huge_network(request)
    error = await error_of(stub_of(api).CreateTrainingJob(request))

    assert error.code in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}
    assert api.ledger.records == []


async def test_an_unknown_data_set_is_not_found(api: Served) -> None:
    error = await error_of(stub_of(api).CreateTrainingJob(create_request(SHA)))

    assert isinstance(error, errors.NotFound)
    assert error.fields["resource"] == f"datasets/{SHA}"


async def test_a_data_set_cannot_vanish_while_its_job_is_created(api: Served) -> None:
    add_table(api)
    api.ledger.may_create.clear()
    creating = asyncio.create_task(_create(api))
    async with asyncio.timeout(5):
        await api.ledger.creating.wait()
    datasets = dataset_pb2_grpc.DatasetServiceStub(api.channel)
    delete = dataset_pb2.DeleteDatasetRequest(name=f"datasets/{SHA}")
    error = await error_of(datasets.DeleteDataset(delete))
    api.ledger.may_create.set()
    await creating

    assert isinstance(error, errors.WrongState)


async def _create(api: Served) -> None:
    await stub_of(api).CreateTrainingJob(create_request(SHA))


async def test_the_digest_of_a_request_ignores_its_key_alone() -> None:
    one, other = create_request(), create_request()
    one.request_id = UUID
    assert request_sha256(one) == request_sha256(other)

    other.spec.training.seed = 1
    assert request_sha256(one) != request_sha256(other)


async def test_a_job_is_read_and_cancelled_by_its_name(api: Served) -> None:
    add_job(api, training_pb2.JOB_STATE_RUNNING)
    stub = stub_of(api)

    got = await stub.GetTrainingJob(training_pb2.GetTrainingJobRequest(name=NAME))
    assert got.job.state == training_pb2.JOB_STATE_RUNNING
    for _ in range(2):
        cancel = training_pb2.CancelTrainingJobRequest(name=NAME)
        answer = await stub.CancelTrainingJob(cancel)
        assert answer.job.state == training_pb2.JOB_STATE_CANCELLED


@pytest.mark.parametrize("name", ["", JOB, "jobs/x", "jobs/../x", f"jobs/{JOB.lower()}", "jobs/"])
async def test_what_is_no_jobs_name_is_refused_by_every_call(api: Served, name: str) -> None:
    stub = stub_of(api)
    watch = stub.WatchTrainingJob(training_pb2.WatchTrainingJobRequest(name=name))
    for call in (
        stub.GetTrainingJob(training_pb2.GetTrainingJobRequest(name=name)),
        stub.CancelTrainingJob(training_pb2.CancelTrainingJobRequest(name=name)),
        stub.RetryTrainingJob(training_pb2.RetryTrainingJobRequest(name=name)),
        collect(watch),
    ):
        assert isinstance(await error_of(call), errors.InvalidField)
    assert api.ledger.asked == []


async def collect(
    call: AsyncIterable[training_pb2.WatchTrainingJobResponse],
) -> list[training_pb2.WatchTrainingJobResponse]:
    return [response async for response in call]


async def test_lists_pass_size_token_and_filters_on(api: Served) -> None:
    after = "t"
    request = training_pb2.ListTrainingJobsRequest(
        page_token=after, page_size=5_000, states=[training_pb2.JOB_STATE_FAILED], model="m"
    )
    await stub_of(api).ListTrainingJobs(request)

    assert api.ledger.asked == [(1_000, "t", [training_pb2.JOB_STATE_FAILED], "m")]


@pytest.mark.parametrize(
    "request_",
    [
        training_pb2.ListTrainingJobsRequest(page_size=-1),
        training_pb2.ListTrainingJobsRequest(model="../x"),
        training_pb2.ListTrainingJobsRequest(states=[training_pb2.JOB_STATE_UNSPECIFIED]),
    ],
)
async def test_bad_filters_are_refused(
    api: Served, request_: training_pb2.ListTrainingJobsRequest
) -> None:
    assert isinstance(await error_of(stub_of(api).ListTrainingJobs(request_)), errors.InvalidField)


async def test_a_watch_gives_job_cursor_and_time_and_resumes(api: Served) -> None:
    add_job(api, training_pb2.JOB_STATE_SUCCEEDED)
    request = training_pb2.WatchTrainingJobRequest(name=NAME, cursor="7-1")
    responses = await collect(stub_of(api).WatchTrainingJob(request))

    assert [response.cursor for response in responses] == ["7-1"]
    assert responses[0].job.name == NAME
    assert responses[0].event_time.seconds == 1


async def test_a_cursor_of_a_megabyte_is_refused(api: Served) -> None:
    request = training_pb2.WatchTrainingJobRequest(name=NAME, cursor="1" * (1 << 20))
    error = await error_of(collect(stub_of(api).WatchTrainingJob(request)))

    assert isinstance(error, errors.InvalidField)


async def test_one_stream_more_than_the_cap_is_refused_and_slots_come_back(api: Served) -> None:
    add_job(api, training_pb2.JOB_STATE_RUNNING)
    request = training_pb2.WatchTrainingJobRequest(name=NAME)
    calls = [stub_of(api).WatchTrainingJob(request) for _ in range(2)]
    for call in calls:
        assert await call.read()
    error = await error_of(collect(stub_of(api).WatchTrainingJob(request)))
    calls[0].cancel()
    async with asyncio.timeout(5):
        await api.ledger.watch_closed.wait()

    assert isinstance(error, errors.LimitExceeded)
    again = stub_of(api).WatchTrainingJob(request)
    assert await again.read()


async def test_a_drain_ends_streams_with_unavailable(api: Served) -> None:
    add_job(api, training_pb2.JOB_STATE_RUNNING)
    call = stub_of(api).WatchTrainingJob(training_pb2.WatchTrainingJobRequest(name=NAME))
    assert await call.read()
    draining = asyncio.create_task(api.server.drain(0.4))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    await draining

    assert isinstance(rpc.from_rpc_error(caught.value), errors.Unavailable)


async def test_retry_makes_a_new_job_of_the_same_spec(api: Served) -> None:
    add_job(api, training_pb2.JOB_STATE_FAILED)
    request = training_pb2.RetryTrainingJobRequest(name=NAME, request_id=UUID)
    job = (await stub_of(api).RetryTrainingJob(request)).job

    assert job.retry_of == NAME
    assert job.request_id == UUID.lower()


async def test_retry_needs_the_data_set(api: Served) -> None:
    add_job(api, training_pb2.JOB_STATE_FAILED, SHA)
    request = training_pb2.RetryTrainingJobRequest(name=NAME)
    error = await error_of(stub_of(api).RetryTrainingJob(request))
    assert isinstance(error, errors.NotFound)

    add_table(api)
    assert (await stub_of(api).RetryTrainingJob(request)).job.retry_of == NAME


def by_own_loss(loss: graph_pb2.Graph) -> Create:
    request = create_request()
    request.spec.data.task = spec_pb2.TASK_REGRESSION
    request.spec.training.loss_graph.CopyFrom(loss)
    return request


async def test_a_loss_of_the_users_is_stored_measured_and_left_out_of_lists(api: Served) -> None:
    loss = losses.squared()

    response = await stub_of(api).CreateTrainingJob(by_own_loss(loss))

    (record,) = api.ledger.records
    assert record.spec.training.loss == spec_pb2.LOSS_CUSTOM
    assert record.spec.training.loss_graph == loss
    assert response.job.spec.training.HasField("loss_graph")
    listed = training_pb2.TrainingJob()
    for page in ("", "next"):
        request = training_pb2.ListTrainingJobsRequest(page_token=page)
        for job in (await stub_of(api).ListTrainingJobs(request)).jobs:
            listed = job
    assert listed.spec.training.loss == spec_pb2.LOSS_CUSTOM
    assert not listed.spec.training.HasField("loss_graph")


async def test_a_loss_that_is_none_is_refused_before_it_is_measured(api: Served) -> None:
    loss = losses.squared()
    loss.inputs[0].name = loss.nodes[0].input = "prediction"

    error = await error_of(stub_of(api).CreateTrainingJob(by_own_loss(loss)))

    assert error.fields["field"] == "training.loss_graph.inputs[0].name"
    assert not api.ledger.records

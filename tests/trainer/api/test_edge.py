"""Whatever a handler does, the caller gets a status with one ErrorInfo and no text of ours."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc import status_pb2

from tests.trainer.fakes import eventually, sample
from trainer.api.edge import Edge
from trainer.metrics import Metrics
from twofold import rpc
from twofold.errors import InvalidField, Unavailable
from twofold.principal import LOCAL, Principal
from twofold.store import StoreError
from twofold.v1 import dataset_pb2, dataset_pb2_grpc, training_pb2, training_pb2_grpc

GET = training_pb2.GetTrainingJobRequest(name="jobs/x")


class FakeTraining:
    """Raises `error`, else answers with the principal's name."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def GetTrainingJob(  # noqa: N802 - the RPC's name
        self, request: training_pb2.GetTrainingJobRequest, principal: Principal
    ) -> training_pb2.GetTrainingJobResponse:
        if self.error is not None:
            raise self.error
        job = training_pb2.TrainingJob(name=request.name, message=principal.name)
        return training_pb2.GetTrainingJobResponse(job=job)

    async def WatchTrainingJob(  # noqa: N802 - the RPC's name
        self, request: training_pb2.WatchTrainingJobRequest, principal: Principal
    ) -> AsyncIterator[training_pb2.WatchTrainingJobResponse]:
        del principal
        try:
            yield training_pb2.WatchTrainingJobResponse(cursor=request.name)
            if self.error is not None:
                raise self.error
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    def __getattr__(self, name: str) -> object:
        return name  # the RPCs that no test calls


class FakeDatasets:
    """Counts chunks."""

    async def UploadDataset(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[dataset_pb2.UploadDatasetRequest], principal: Principal
    ) -> dataset_pb2.UploadDatasetResponse:
        del principal
        count = len([request async for request in requests])
        return dataset_pb2.UploadDatasetResponse(dataset=dataset_pb2.Dataset(row_count=count))

    def __getattr__(self, name: str) -> object:
        return name


@asynccontextmanager
async def served(
    implementation: FakeTraining, metrics: Metrics
) -> AsyncGenerator[grpc.aio.Channel]:
    def authenticate(metadata: grpc.aio.Metadata | None) -> Principal:
        given = {key: str(value) for key, value in metadata or ()}
        return Principal("local", given.get("who", LOCAL.name))

    edge = Edge(metrics, authenticate)
    server = grpc.aio.server()
    for module, service, answers in (
        (training_pb2, "TrainingService", implementation),
        (dataset_pb2, "DatasetService", FakeDatasets()),
    ):
        descriptor = module.DESCRIPTOR.services_by_name[service]
        server.add_generic_rpc_handlers((edge.handlers(descriptor, answers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def call_get(channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await training_pb2_grpc.TrainingServiceStub(channel).GetTrainingJob(GET)
    return caught.value


async def test_the_handler_gets_the_principal_of_the_call() -> None:
    async with served(FakeTraining(), Metrics()) as channel:
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        answer = await stub.GetTrainingJob(GET, metadata=(("who", "ada"),))

    assert answer.job.message == "ada"


async def test_our_errors_arrive_with_code_reason_and_fields() -> None:
    implementation, metrics = FakeTraining(), Metrics()
    implementation.error = InvalidField.of("name", "x", "jobs/ID")
    async with served(implementation, metrics) as channel:
        error = await call_get(channel)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    restored = rpc.from_rpc_error(error)
    assert isinstance(restored, InvalidField)
    assert restored.fields == {"field": "name", "value": "x", "allowed": "jobs/ID"}
    details = dict(error.trailing_metadata())[rpc.DETAILS_KEY]
    assert isinstance(details, bytes)
    status = status_pb2.Status.FromString(details)
    kinds = [one.TypeName() for one in status.details]
    assert kinds.count("google.rpc.ErrorInfo") == 1
    counted = {"method": "GetTrainingJob", "code": "INVALID_ARGUMENT"}
    assert sample(metrics, "twofold_trainer_rpcs_total", **counted) == 1


async def test_a_store_that_fails_is_unavailable() -> None:
    implementation = FakeTraining()
    implementation.error = StoreError("the store is full; try again later")
    async with served(implementation, Metrics()) as channel:
        error = await call_get(channel)

    assert isinstance(rpc.from_rpc_error(error), Unavailable)


async def test_a_defect_is_internal_without_its_text_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    implementation = FakeTraining()
    implementation.error = ValueError("/secret/path")
    async with served(implementation, Metrics()) as channel:
        error = await call_get(channel)

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error.details())
    assert "secret" not in str(error.trailing_metadata())
    assert [record.message for record in caplog.records] == ["call failed"]
    assert "/secret/path" in caplog.text


@pytest.mark.parametrize("junk", [b"\xff", b"\x0a\x80", b"\x0a\x02\xff\xfe"])
async def test_junk_instead_of_a_request_is_an_invalid_argument(junk: bytes) -> None:
    async with served(FakeTraining(), Metrics()) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/twofold.v1.TrainingService/GetTrainingJob"
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(junk)

    error = rpc.from_rpc_error(caught.value)
    assert isinstance(error, InvalidField)
    assert "twofold.v1.GetTrainingJobRequest" in error.message


async def test_a_stream_ends_with_the_handlers_error() -> None:
    implementation = FakeTraining()
    implementation.error = Unavailable("draining")
    async with served(implementation, Metrics()) as channel:
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        call = stub.WatchTrainingJob(training_pb2.WatchTrainingJobRequest(name="n"))
        assert await call.read() == training_pb2.WatchTrainingJobResponse(cursor="n")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()

    assert isinstance(rpc.from_rpc_error(caught.value), Unavailable)


async def test_a_caller_that_goes_away_ends_the_handler_at_once() -> None:
    implementation, metrics = FakeTraining(), Metrics()
    async with served(implementation, metrics) as channel:
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        call = stub.WatchTrainingJob(training_pb2.WatchTrainingJobRequest(name="n"))
        async with asyncio.timeout(5):
            await implementation.begun.wait()
            call.cancel()
            await implementation.ended.wait()
        counted = {"method": "WatchTrainingJob", "code": "CANCELLED"}
        await eventually(lambda: sample(metrics, "twofold_trainer_rpcs_total", **counted) == 1)


async def test_a_stream_of_requests_is_parsed_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(FakeTraining(), Metrics()) as channel:
        stub = dataset_pb2_grpc.DatasetServiceStub(channel)
        chunk = dataset_pb2.UploadDatasetRequest(chunk=b"x")
        with caplog.at_level(logging.ERROR):
            answer = await stub.UploadDataset(iter([chunk] * 3))

        call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
            "/twofold.v1.DatasetService/UploadDataset"
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(iter([b"\xff"]))

    assert answer.dataset.row_count == 3
    assert isinstance(rpc.from_rpc_error(caught.value), InvalidField)
    assert not caplog.records


def test_a_service_without_one_of_its_handlers_does_not_start() -> None:
    service = training_pb2.DESCRIPTOR.services_by_name["TrainingService"]

    with pytest.raises(AttributeError, match="CreateTrainingJob"):
        Edge(Metrics()).handlers(service, object())

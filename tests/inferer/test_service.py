"""The protocol's calls, without a wire."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from inferer.health import Health
from inferer.models import Models, Refused, Served
from inferer.service import InferenceService
from inferer.transport import Call
from inferer.versions import Stored
from tests.inferer.fakes import FakeClock, FakeProgram, FakeThread, rows, served
from tests.inferer.server import SERVICE, infer_request, outputs_of
from tests.waiting import until
from twofold import __version__
from twofold.errors import (
    Corrupt,
    DeadlineExceeded,
    InvalidField,
    InvalidTensor,
    NotFound,
    Unimplemented,
)
from twofold.oip import config_pb2
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL
from twofold.versions import VersionState

Response = TypeVar("Response", bound=Message)


class Bench:
    """A service over two versions of model m, and nothing else."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.thread = FakeThread()
        self.program = FakeProgram()
        self.models = Models(self._load, self.clock)
        self.health = Health()
        self.missed: list[str] = []
        self.appears: dict[str, Stored] = {}
        self.service = InferenceService({LOCAL.tenant: self.models}, self._missed, self.health)

    async def _load(self, name: str, number: int) -> Served:
        if name == "bad":
            raise Refused("wrong answers", "sha")
        return served(name, number, self.clock, self.program, self.thread)

    async def _missed(self, name: str) -> bool:
        self.missed.append(name)
        self.models.update({name: self.appears[name]} if name in self.appears else {})
        return name in self.appears

    async def call(
        self, name: str, request: Message, answer: type[Response], deadline_s: float = math.inf
    ) -> Response:
        call = Call(SERVICE + name, deadline_s=deadline_s)
        return answer.FromString(await self.service.unary(call, request.SerializeToString()))

    async def is_running(self) -> bool:
        return bool(self.thread.waiting)

    async def infer(self, *values: float, version: str = "") -> pb.ModelInferResponse:
        request = infer_request("m", {"x": rows(*values)}, version)
        return await self.call("ModelInfer", request, pb.ModelInferResponse)


def two_versions() -> Stored:
    return Stored((VersionState(1, withdrawn=False), VersionState(2, withdrawn=False)), {"old": 1})


@pytest_asyncio.fixture
async def bench() -> AsyncGenerator[Bench]:
    made = Bench()
    task = asyncio.create_task(made.models.run())
    made.models.update({"m": two_versions()})
    await asyncio.wait_for(made.models.settled.wait(), 5)
    made.health.set_serving(is_serving=True)
    yield made
    task.cancel()


async def test_inference_answers_with_the_version_that_ran(bench: Bench) -> None:
    request = infer_request("m", {"x": rows(1, 2)})
    request.id = "request 7"
    response = await bench.call("ModelInfer", request, pb.ModelInferResponse)

    assert (response.model_name, response.model_version, response.id) == ("m", "2", "request 7")
    assert outputs_of(response)["value"].tolist() == [[2.0], [4.0]]
    parameters = response.parameters
    assert parameters["twofold_job"].string_param == "jobs/J"
    assert parameters["twofold_batch_rows"].int64_param == 2
    assert parameters["twofold_queue_us"].int64_param >= 0
    assert {p.WhichOneof("parameter_choice") for p in parameters.values()} == {
        "string_param",
        "int64_param",
    }


@pytest.mark.parametrize(("version", "ran"), [("", "2"), ("1", "1"), ("2", "2"), (":old", "1")])
async def test_versions_are_pinned_by_number_and_alias(
    bench: Bench, version: str, ran: str
) -> None:
    assert (await bench.infer(1, version=version)).model_version == ran


@pytest.mark.parametrize(
    ("name", "version", "error"),
    [
        ("other", "", NotFound),
        ("m", "9", NotFound),
        ("m", ":none", NotFound),
        ("../../etc/passwd", "", InvalidField),
        ("M", "", InvalidField),
        ("m", "1.0", InvalidField),
        ("", "", InvalidField),
    ],
)
async def test_what_does_not_exist_or_is_no_name_is_refused(
    bench: Bench, name: str, version: str, error: type[Exception]
) -> None:
    inference = infer_request(name, {"x": rows(1)}, version)
    with pytest.raises(error):
        await bench.call("ModelInfer", inference, pb.ModelInferResponse)
    about = pb.ModelMetadataRequest(name=name, version=version)
    with pytest.raises(error):
        await bench.call("ModelMetadata", about, pb.ModelMetadataResponse)


async def test_a_model_that_has_just_come_is_found(bench: Bench) -> None:
    bench.appears["new"] = two_versions()

    request = infer_request("new", {"x": rows(1)})
    response = await bench.call("ModelInfer", request, pb.ModelInferResponse)

    assert response.model_version == "2"
    assert bench.missed == ["new"]


async def test_a_damaged_model_is_data_loss(bench: Bench) -> None:
    bench.models.update({"bad": Stored((VersionState(1, withdrawn=False),))})

    with pytest.raises(Corrupt):
        await bench.call("ModelInfer", infer_request("bad", {"x": rows(1)}), pb.ModelInferResponse)


async def test_bad_requests_never_reach_the_queue(bench: Bench) -> None:
    with pytest.raises(InvalidTensor):
        await bench.infer(*range(9))
    wrong = infer_request("m", {"x": rows(1)})
    wrong.outputs.add(name="nothing")
    with pytest.raises(InvalidTensor):
        await bench.call("ModelInfer", wrong, pb.ModelInferResponse)
    with pytest.raises(InvalidField, match="not a ModelInferRequest"):
        await bench.service.unary(Call(SERVICE + "ModelInfer"), b"\xff\xff")

    assert bench.program.batches == []


async def test_the_earlier_of_deadline_and_timeout_counts(bench: Bench) -> None:
    now_s = bench.clock.now_s
    request = infer_request("m", {"x": rows(1)})
    with pytest.raises(DeadlineExceeded):
        await bench.call("ModelInfer", request, pb.ModelInferResponse, deadline_s=now_s)
    request.parameters["timeout"].int64_param = 1
    bench.program.seconds = 1.0
    running = asyncio.create_task(bench.infer(1))
    await until(bench.is_running)
    with pytest.raises(DeadlineExceeded):
        await bench.call("ModelInfer", request, pb.ModelInferResponse, deadline_s=now_s + 5)

    bench.thread.run_next()
    await running
    assert bench.program.batches == [[1]]


async def test_liveness_and_readiness(bench: Bench) -> None:
    async def ready() -> tuple[bool, bool, bool]:
        live = await bench.call("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse)
        server = await bench.call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)
        model = await bench.call(
            "ModelReady", pb.ModelReadyRequest(name="m"), pb.ModelReadyResponse
        )
        return live.live, server.ready, model.ready

    assert await ready() == (True, True, True)
    bench.health.set_serving(is_serving=False)
    assert await ready() == (True, False, False)


@pytest.mark.parametrize(
    ("name", "version", "is_ready"),
    [("m", "", True), ("m", "2", True), ("m", "9", False), ("m", ":old", True), ("x", "", False)],
)
async def test_model_readiness_is_an_answer_and_no_error(
    bench: Bench, name: str, version: str, *, is_ready: bool
) -> None:
    request = pb.ModelReadyRequest(name=name, version=version)

    assert (await bench.call("ModelReady", request, pb.ModelReadyResponse)).ready == is_ready
    assert bench.missed == []


async def test_the_server_says_what_it_is(bench: Bench) -> None:
    response = await bench.call(
        "ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse
    )

    assert (response.name, response.version) == ("twofold", __version__)
    assert "statistics" in response.extensions


async def test_metadata_say_how_to_fill_and_read_the_tensors(bench: Bench) -> None:
    request = pb.ModelMetadataRequest(name="m", version=":old")
    response = await bench.call("ModelMetadata", request, pb.ModelMetadataResponse)

    tensor = response.inputs[0]
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [-1, 1])
    assert [output.name for output in response.outputs] == ["value"]
    assert list(response.versions) == ["1", "2"]
    assert dict(response.properties) == {
        "version": "1",
        "manifest_sha256": "sha of 1",
        "numeric_columns": '["a"]',
        "category_columns": "[]",
        "array_columns": "[]",
        "labels": "[]",
        "target": "y",
        "targets": '["y"]',
        "task": "regression",
        "job": "jobs/J",
        "dataset": "builtin/xor",
        "code_version": "",
    }


async def test_the_configuration_is_what_load_tools_read(bench: Bench) -> None:
    request = pb.ModelConfigRequest(name="m")
    config = (await bench.call("ModelConfig", request, pb.ModelConfigResponse)).config

    assert (config.name, config.platform, config.max_batch_size) == ("m", "twofold_torch", 8)
    assert [(i.name, list(i.dims), i.data_type) for i in config.input] == [("x", [1], 11)]
    assert [(o.name, list(o.dims)) for o in config.output] == [("value", [1])]
    assert not config.model_transaction_policy.decoupled
    assert not config.parameters  # a stand-in's: it does not say what runs it


async def test_the_configuration_tells_how_requests_wait(bench: Bench) -> None:
    request = pb.ModelConfigRequest(name="m")
    config = (await bench.call("ModelConfig", request, pb.ModelConfigResponse)).config

    plain = config.dynamic_batching
    assert (list(plain.preferred_batch_size), plain.max_queue_delay_microseconds) == ([], 0)
    assert (plain.preserve_ordering, plain.priority_levels) == (True, 0)
    assert plain.default_priority_level == 0
    assert plain.default_queue_policy == config_pb2.ModelQueuePolicy(
        allow_timeout_override=True, max_queue_size=16
    )
    assert not plain.priority_queue_policy


async def test_statistics_count_the_queue_of_every_request(bench: Bench) -> None:
    await bench.infer(1, 2)
    await bench.infer(3)
    await bench.infer(1, version="1")

    async def statistics(name: str, version: str) -> dict[tuple[str, str], tuple[int, ...]]:
        request = pb.ModelStatisticsRequest(name=name, version=version)
        response = await bench.call("ModelStatistics", request, pb.ModelStatisticsResponse)
        return {
            (found.name, found.version): (
                found.inference_count,
                found.execution_count,
                found.inference_stats.queue.count,
                found.inference_stats.success.count,
                sum(batch.compute_infer.count for batch in found.batch_stats),
            )
            for found in response.model_stats
        }

    one, two = {("m", "1"): (1, 1, 1, 1, 1)}, {("m", "2"): (3, 2, 2, 2, 2)}
    assert await statistics("", "") == one | two
    assert await statistics("m", "") == one | two
    assert await statistics("m", "2") == two
    with pytest.raises(NotFound):
        await statistics("other", "")


async def test_the_index_lists_everything_or_what_is_ready(bench: Bench) -> None:
    bench.models.update({"bad": Stored((VersionState(1, withdrawn=False),))})
    with pytest.raises(Corrupt):
        await bench.call("ModelConfig", pb.ModelConfigRequest(name="bad"), pb.ModelConfigResponse)

    async def index(*, ready: bool) -> list[tuple[str, str, str, str]]:
        request = pb.RepositoryIndexRequest(ready=ready)
        response = await bench.call("RepositoryIndex", request, pb.RepositoryIndexResponse)
        return [(m.name, m.version, m.state, m.reason) for m in response.models]

    good = [("m", "1", "READY", ""), ("m", "2", "READY", "")]
    assert await index(ready=True) == good
    assert await index(ready=False) == [("bad", "1", "UNAVAILABLE", "wrong answers"), *good]


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SystemSharedMemoryRegister", "send tensors as raw contents"),
        ("RepositoryModelLoad", "versions load when they are published"),
        ("TraceSetting", "'TraceSetting' is not offered"),
        ("Anything\x1b[31m", "is not offered"),
    ],
)
async def test_other_calls_are_not_offered_and_say_so(bench: Bench, name: str, text: str) -> None:
    path = SERVICE + name
    assert bench.service.kind(path) == "stream"

    with pytest.raises(Unimplemented, match=text) as caught:
        await anext(bench.service.stream(Call(path), nothing()))

    assert caught.value.message.isprintable()


def test_other_services_are_none_of_ours() -> None:
    service = Bench().service

    assert service.kind("/twofold.v1.TrainingService/CreateTrainingJob") is None
    assert service.kind(SERVICE + "ModelInfer") == "unary"
    assert service.kind(SERVICE + "ModelStreamInfer") == "stream"
    assert service.kind("/grpc.health.v1.Health/Check") == "unary"
    assert service.kind("/grpc.health.v1.Health/Watch") == "stream"


async def test_health_is_served_beside_it(bench: Bench) -> None:
    request = health_pb2.HealthCheckRequest().SerializeToString()

    async def asked() -> AsyncIterator[bytes]:
        yield request

    checked = await bench.service.unary(Call("/grpc.health.v1.Health/Check"), request)
    watch = bench.service.stream(Call("/grpc.health.v1.Health/Watch"), asked())

    serving = health_pb2.HealthCheckResponse.SERVING
    for answer in (checked, await anext(watch)):
        assert health_pb2.HealthCheckResponse.FromString(answer).status == serving


async def test_streams_carry_answers_and_errors(bench: Bench) -> None:
    async def requests() -> AsyncIterator[bytes]:
        for request_id, model in (("1", "m"), ("2", "other"), ("3", "m")):
            request = infer_request(model, {"x": rows(1)})
            request.id = request_id
            yield request.SerializeToString()

    answers = [
        pb.ModelStreamInferResponse.FromString(answer)
        async for answer in bench.service.stream(Call(SERVICE + "ModelStreamInfer"), requests())
    ]

    assert [answer.infer_response.id for answer in answers] == ["1", "2", "3"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]

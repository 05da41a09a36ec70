"""The inference and the health service through each transport, called by grpcio's clients."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from tests.inferer.conformance.callers import AioCaller, Failure
from tests.inferer.conformance.transports import Inferring
from tests.inferer.fakes import WITHOUT_OUTPUT, rows
from tests.inferer.server import SERVICE, Caller, infer_request, outputs_of
from twofold.oip import inference_pb2 as pb

CHECK, NAME = "/grpc.health.v1.Health/Check", "inference.GRPCInferenceService"
INFER, STREAM_INFER = SERVICE + "ModelInfer", SERVICE + "ModelStreamInfer"


@pytest_asyncio.fixture
async def channel(inferer: Inferring) -> AsyncGenerator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(inferer.address) as made:
        yield made


@pytest.fixture
def caller(channel: grpc.aio.Channel) -> AioCaller:
    return AioCaller(channel)


async def refused(caller: AioCaller, path: str, request: Message) -> Failure:
    with pytest.raises(Failure) as caught:
        await caller.unary(path, request.SerializeToString())
    return caught.value


async def test_predictions_name_their_version(channel: grpc.aio.Channel) -> None:
    responses = await asyncio.gather(
        *(
            Caller(channel).infer("m", {"x": rows(number)}, version)
            for number, version in [(1, ""), (2, "1"), (3, "2"), (4, ":old")]
        )
    )

    assert [response.model_version for response in responses] == ["2", "1", "2", "1"]
    assert [outputs_of(response)["value"].tolist() for response in responses] == [
        [[2.0]],
        [[4.0]],
        [[6.0]],
        [[8.0]],
    ]


async def test_a_stream_of_predictions_goes_on_after_an_error(caller: AioCaller) -> None:
    requests = [infer_request(model, {"x": rows(1)}) for model in ("m", "nobody", "m")]
    for number, request in enumerate(requests):
        request.id = str(number)
    got = await caller.stream(STREAM_INFER, [request.SerializeToString() for request in requests])

    answers = [pb.ModelStreamInferResponse.FromString(answer) for answer in got]
    assert [answer.infer_response.id for answer in answers] == ["0", "1", "2"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]


async def test_refusals_have_their_codes(caller: AioCaller) -> None:
    request = infer_request("nobody", {"x": rows(1)})
    assert (await refused(caller, INFER, request)).code == "NOT_FOUND"
    request = infer_request("m", {"x": rows(*range(9))})
    assert (await refused(caller, INFER, request)).code == "INVALID_ARGUMENT"
    with pytest.raises(Failure) as caught:
        await caller.unary(INFER, b"\xff not a request")
    assert caught.value.code == "INVALID_ARGUMENT"


async def test_a_defect_in_an_answer_is_told_to_its_caller_alone(caller: AioCaller) -> None:
    requests = [
        infer_request("m", {"x": rows(value)}).SerializeToString() for value in (1, WITHOUT_OUTPUT)
    ]
    # Without deadlines: nothing else would end a call that was forgotten.
    calls = [caller.unary(INFER, request, timeout_s=None) for request in requests]
    answered, failed = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)

    assert isinstance(answered, bytes)
    assert outputs_of(pb.ModelInferResponse.FromString(answered))["value"].tolist() == [[2.0]]
    assert isinstance(failed, Failure)
    assert failed.code == "INTERNAL"


@pytest.mark.parametrize("name", ["RepositoryModelLoad", "TraceSetting", "Nothing"])
async def test_what_is_not_offered_is_unimplemented(caller: AioCaller, name: str) -> None:
    failure = await refused(caller, SERVICE + name, pb.ServerLiveRequest())

    assert failure.code == "UNIMPLEMENTED"
    assert name in failure.details


async def test_health_is_checked_by_name(inferer: Inferring, caller: AioCaller) -> None:
    async def check(name: str) -> health_pb2.HealthCheckResponse:
        request = health_pb2.HealthCheckRequest(service=name)
        answer = await caller.unary(CHECK, request.SerializeToString())
        return health_pb2.HealthCheckResponse.FromString(answer)

    serving = health_pb2.HealthCheckResponse.SERVING
    assert [(await check(name)).status for name in ("", NAME)] == [serving, serving]
    inferer.health.set_serving(is_serving=False)
    assert (await check("")).status == health_pb2.HealthCheckResponse.NOT_SERVING
    unknown = health_pb2.HealthCheckRequest(service="nobody")
    assert (await refused(caller, CHECK, unknown)).code == "NOT_FOUND"


async def test_health_is_watched_to_its_end(inferer: Inferring, channel: grpc.aio.Channel) -> None:
    statuses: AsyncIterator[str] = Caller(channel).watch_health()
    assert await anext(statuses) == "SERVING"
    inferer.health.set_serving(is_serving=False)
    assert await anext(statuses) == "NOT_SERVING"
    inferer.health.set_serving(is_serving=True)
    assert await anext(statuses) == "SERVING"

    inferer.health.close()
    assert [status async for status in statuses] == []


async def test_who_leaves_a_watch_disturbs_nobody(
    inferer: Inferring, channel: grpc.aio.Channel
) -> None:
    async with grpc.aio.insecure_channel(inferer.address) as other:
        assert await anext(Caller(other).watch_health()) == "SERVING"

    inferer.health.set_serving(is_serving=False)
    assert await anext(Caller(channel).watch_health()) == "NOT_SERVING"


async def test_a_deadline_reaches_the_queue(caller: AioCaller) -> None:
    """A request that is late already is not run."""
    request = infer_request("m", {"x": rows(1)})
    request.parameters["timeout"].int64_param = 1
    failure = await refused(caller, INFER, request)

    assert failure.code == "DEADLINE_EXCEEDED"

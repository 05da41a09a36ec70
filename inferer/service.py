"""The Open Inference Protocol: convert, call, convert."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeVar

from google.protobuf.message import Message

from inferer import convert, describe, health, stream
from inferer.health import Health
from inferer.lane import Answer
from inferer.models import Models, NotLoaded, Served
from inferer.reference import Reference
from inferer.transport import Call, Reply
from twofold import __version__
from twofold.errors import NotFound, TwofoldError, Unimplemented
from twofold.names import check_name
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL, Principal

SERVICE = "/inference.GRPCInferenceService/"
_MODEL_INFER = SERVICE + "ModelInfer"
_STREAM_INFER = SERVICE + "ModelStreamInfer"
_CHECK = health.SERVICE + "Check"

Request = TypeVar("Request", bound=Message)
Handler = Callable[[Principal, Call, bytes], Awaitable[Message]]


class InferenceService:
    """Answers calls of the inference and health services; an Application of a transport.

    `missed` looks for a model that is unknown here and says whether it is there now.
    """

    def __init__(
        self,
        models: Mapping[str, Models],
        missed: Callable[[str], Awaitable[bool]],
        health: Health,
    ) -> None:
        # By tenant.
        self._models = models
        self._missed = missed
        self._health = health
        self._unary = self._handlers()
        # Calls that began without one of their own; the event loop alone would let them go.
        self._tasks = set[asyncio.Task[None]]()

    def _handlers(self) -> dict[str, Handler]:
        return {
            SERVICE + "ServerLive": _typed(pb.ServerLiveRequest, self.ServerLive),
            SERVICE + "ServerReady": _typed(pb.ServerReadyRequest, self.ServerReady),
            SERVICE + "ModelReady": _typed(pb.ModelReadyRequest, self.ModelReady),
            SERVICE + "ServerMetadata": _typed(pb.ServerMetadataRequest, self.ServerMetadata),
            SERVICE + "ModelMetadata": _typed(pb.ModelMetadataRequest, self.ModelMetadata),
            SERVICE + "ModelInfer": _typed(pb.ModelInferRequest, self.ModelInfer),
            SERVICE + "ModelConfig": _typed(pb.ModelConfigRequest, self.ModelConfig),
            SERVICE + "ModelStatistics": _typed(pb.ModelStatisticsRequest, self.ModelStatistics),
            SERVICE + "RepositoryIndex": _typed(pb.RepositoryIndexRequest, self.RepositoryIndex),
        }

    def kind(self, path: str) -> Literal["unary", "stream"] | None:
        """See Application. Calls that are not offered are streams: those fit any caller."""
        if path in self._unary or path == _CHECK:
            return "unary"
        return "stream" if path.startswith((SERVICE, health.SERVICE)) else None

    async def unary(self, call: Call, message: bytes) -> bytes:
        """See Application."""
        if call.path == _CHECK:
            return self._health.check(message)
        response = await self._unary[call.path](self._principal(call), call, message)
        return response.SerializeToString()

    def begin(self, call: Call, message: bytes, reply: Reply) -> Callable[[], object] | None:
        """See Application. Predictions of loaded versions need no task."""
        if call.path == _MODEL_INFER:
            try:
                return self._begin_infer(call, convert.parse(pb.ModelInferRequest, message), reply)
            except NotLoaded:
                pass
            except Exception as error:  # noqa: BLE001 - the top of a call
                reply.fail(error)
                return None
        task = asyncio.get_running_loop().create_task(self._finish(call, message, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    async def _finish(self, call: Call, message: bytes, reply: Reply) -> None:
        try:
            answer = await self.unary(call, message)
        except Exception as error:  # noqa: BLE001 - the top of a call
            reply.fail(error)
        else:
            reply.answer(answer)

    def _begin_infer(
        self, call: Call, request: pb.ModelInferRequest, reply: Reply
    ) -> Callable[[], object]:
        """Raises NotLoaded where the version is not there now, and as ModelInfer does."""
        convert.check_request(request)
        wishes = convert.wishes(request)
        reference = _reference(request.model_name, request.model_version)
        served = self._of(self._principal(call)).ready(request.model_name, reference)
        wanted = convert.wanted_outputs(request, served.signature)
        inputs = convert.decode_inputs(request, served.signature)

        def done(outcome: Answer | TwofoldError) -> None:
            if isinstance(outcome, Answer):
                reply.answer(_response(request, served, outcome, wanted).SerializeToString())
            else:
                reply.fail(outcome)

        ticket = served.lane.admit(inputs, call.deadline_s, done, wishes)
        return partial(served.lane.withdraw, ticket)

    async def stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """See Application."""
        if call.path == _STREAM_INFER:
            principal = self._principal(call)

            async def infer(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
                return await self.ModelInfer(principal, call, request)

            answers = stream.answers(call, messages, infer, self._health.closed)
        elif call.path == health.SERVICE + "Watch":
            answers = self._health.watch(await anext(messages, b""))
        else:
            raise _not_offered(call.path)
        async for answer in answers:
            yield answer

    def _principal(self, call: Call) -> Principal:
        """Who asks; there is one principal until callers carry tokens."""
        del call
        return LOCAL

    async def ServerLive(
        self, principal: Principal, call: Call, request: pb.ServerLiveRequest
    ) -> pb.ServerLiveResponse:
        """True: whoever gets an answer knows."""
        del principal, call, request
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(
        self, principal: Principal, call: Call, request: pb.ServerReadyRequest
    ) -> pb.ServerReadyResponse:
        """False before the first look at the store is done, and while draining."""
        del principal, call, request
        return pb.ServerReadyResponse(ready=self._health.is_serving)

    async def ModelReady(
        self, principal: Principal, call: Call, request: pb.ModelReadyRequest
    ) -> pb.ModelReadyResponse:
        """Whether a request would be answered at once; loads nothing."""
        del call
        reference = _reference(request.name, request.version)
        is_ready = self._of(principal).is_ready(request.name, reference)
        return pb.ModelReadyResponse(ready=is_ready and self._health.is_serving)

    async def ServerMetadata(
        self, principal: Principal, call: Call, request: pb.ServerMetadataRequest
    ) -> pb.ServerMetadataResponse:
        """Name, release and extensions."""
        del principal, call, request
        return pb.ServerMetadataResponse(
            name="twofold", version=__version__, extensions=describe.EXTENSIONS
        )

    async def ModelMetadata(
        self, principal: Principal, call: Call, request: pb.ModelMetadataRequest
    ) -> pb.ModelMetadataResponse:
        """The signature, columns, labels and job of a version."""
        served = await self._find(principal, call, request.name, request.version)
        return describe.metadata(served, self._of(principal).versions(request.name))

    async def ModelConfig(
        self, principal: Principal, call: Call, request: pb.ModelConfigRequest
    ) -> pb.ModelConfigResponse:
        """The configuration of a version."""
        served = await self._find(principal, call, request.name, request.version)
        return pb.ModelConfigResponse(config=describe.config(served))

    async def ModelStatistics(
        self, principal: Principal, call: Call, request: pb.ModelStatisticsRequest
    ) -> pb.ModelStatisticsResponse:
        """Counts of the loaded versions: of one, of all of a model, or of all."""
        if request.version:
            found = [await self._find(principal, call, request.name, request.version)]
        else:
            if request.name:
                await self._find(principal, call, request.name, "")
            everything = sorted(self._of(principal), key=lambda served: served.number)
            found = [served for served in everything if request.name in ("", served.model)]
        return pb.ModelStatisticsResponse(
            model_stats=[describe.statistics(served) for served in found]
        )

    async def RepositoryIndex(
        self, principal: Principal, call: Call, request: pb.RepositoryIndexRequest
    ) -> pb.RepositoryIndexResponse:
        """What the store shows, and which of it is loaded."""
        del call
        statuses = self._of(principal).index()
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=status.model,
                    version=str(status.number),
                    state=status.state,
                    reason=status.reason,
                )
                for status in statuses
                if status.state == "READY" or not request.ready
            ]
        )

    async def ModelInfer(
        self, principal: Principal, call: Call, request: pb.ModelInferRequest
    ) -> pb.ModelInferResponse:
        """Runs one request, together with whatever else waits for the same version."""
        convert.check_request(request)
        wishes = convert.wishes(request)
        served = await self._find(principal, call, request.model_name, request.model_version)
        wanted = convert.wanted_outputs(request, served.signature)
        inputs = convert.decode_inputs(request, served.signature)
        answer = await served.lane.submit(inputs, call.deadline_s, wishes)
        return _response(request, served, answer, wanted)

    def _of(self, principal: Principal) -> Models:
        return self._models[principal.tenant]

    async def _find(self, principal: Principal, call: Call, name: str, version: str) -> Served:
        """The version that is meant; one look at the store before "does not exist"."""
        reference = _reference(name, version)
        models = self._of(principal)
        try:
            return await models.find(name, reference, call.deadline_s)
        except NotFound:
            if not await self._missed(name):
                raise
        return await models.find(name, reference, call.deadline_s)


def _reference(name: str, version: str) -> Reference:
    check_name("model_name", name)
    return Reference.parse(version)


def _typed(
    kind: type[Request], handle: Callable[[Principal, Call, Request], Awaitable[Message]]
) -> Handler:
    """A handler of bytes; raises InvalidField for bytes that are no such message."""

    async def handler(principal: Principal, call: Call, message: bytes) -> Message:
        return await handle(principal, call, convert.parse(kind, message))

    return handler


def _not_offered(path: str) -> Unimplemented:
    name = path.rsplit("/", 1)[-1][:64]
    if name in ("RepositoryModelLoad", "RepositoryModelUnload"):
        text = f"{name} is not offered: versions load when they are published"
    elif "SharedMemory" in name:
        text = f"{name} is not offered: send tensors as raw contents"
    else:
        text = f"{name!r} is not offered"
    return Unimplemented(text, method=name)


def _response(
    request: pb.ModelInferRequest,
    served: Served,
    answer: Answer,
    wanted: Sequence[convert.Wanted],
) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(
        model_name=served.model, model_version=str(served.number), id=request.id
    )
    parameters = response.parameters
    parameters["twofold_job"].string_param = served.manifest.lineage.job
    parameters["twofold_queue_us"].int64_param = answer.queue_ns // 1000
    parameters["twofold_compute_us"].int64_param = answer.compute_ns // 1000
    parameters["twofold_batch_rows"].int64_param = answer.batch_rows
    convert.encode_outputs(response, answer.outputs, wanted, served.signature)
    return response

"""The Open Inference Protocol: convert, call, convert."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Literal, TypeVar

from google.protobuf.message import Message

from inferer import convert, describe, health, stream, told
from inferer.health import Health
from inferer.lane import Answer
from inferer.models import Models, NotLoaded, Served
from inferer.reference import Reference
from inferer.reflection import PATHS, Reflection
from inferer.transport import Call, Reply
from inferer.transport.tasks import Tasks
from twofold import __version__
from twofold.errors import NotFound, TwofoldError, Unimplemented
from twofold.names import check_name
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL, Principal

SERVICE = "/inference.GRPCInferenceService/"
#: Names and versions that callers use, as they are kept.
_KNOWN_REFERENCES = 1024
_MODEL_INFER = SERVICE + "ModelInfer"
_STREAM_INFER = SERVICE + "ModelStreamInfer"
_CHECK = health.SERVICE + "Check"

Request = TypeVar("Request", bound=Message)
Handler = Callable[[Principal, Call, bytes], Awaitable[bytes]]


class InferenceService:
    """Answers calls of the inference and health services; an Application of a transport.

    `missed` looks for a model that is unknown here and says whether it is there now.
    """

    def __init__(
        self,
        models: Mapping[str, Models],
        missed: Callable[[str], Awaitable[bool]],
        health: Health,
        reflection: Reflection | None = None,
    ) -> None:
        self._reflection = reflection
        # By tenant.
        self._models = models
        self._missed = missed
        self._health = health
        self._unary = self._handlers()
        self._tasks = Tasks()

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
        is_offered = path.startswith((SERVICE, health.SERVICE))
        return "stream" if is_offered or (self._reflection and path in PATHS) else None

    async def unary(self, call: Call, message: bytes) -> bytes:
        """See Application."""
        if call.path == _CHECK:
            return self._health.check(message)
        return await self._unary[call.path](self._principal(call), call, message)

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
        return self._tasks.begin(self.unary(call, message), reply)

    def _begin_infer(
        self, call: Call, request: pb.ModelInferRequest, reply: Reply
    ) -> Callable[[], object]:
        """Raises NotLoaded where the version is not there now, and as ModelInfer does."""
        convert.check_request(request)
        wishes = convert.wishes(request)
        reference = _reference(request.model_name, request.model_version)
        served = self._of(self._principal(call)).ready(request.model_name, reference)
        wanted = _wanted(request, served)
        inputs = served.decode(request)
        done = partial(_reply, reply, served, request.id, wanted)
        ticket = served.lane.admit(inputs, call.deadline_s, done, wishes)
        return partial(served.lane.withdraw, ticket)

    async def stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """See Application."""
        if call.path == _STREAM_INFER:
            principal = self._principal(call)

            async def infer(request: pb.ModelInferRequest) -> bytes:
                return await self.ModelInfer(principal, call, request)

            answers = stream.answers(call, messages, infer, self._health.closed)
        elif call.path == health.SERVICE + "Watch":
            answers = self._health.watch(await anext(messages, b""))
        elif self._reflection is not None and call.path in PATHS:
            answers = self._reflection.answers(messages)
        else:
            raise _not_offered(call.path)
        async with aclosing(answers):
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
    ) -> bytes:
        """Runs one request, together with whatever else waits for the same version."""
        convert.check_request(request)
        wishes = convert.wishes(request)
        served = await self._find(principal, call, request.model_name, request.model_version)
        wanted = _wanted(request, served)
        inputs = served.decode(request)
        answer = await served.lane.submit(inputs, call.deadline_s, wishes)
        return _encoded(served, request.id, wanted, answer)

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


@lru_cache(_KNOWN_REFERENCES)
def _reference(name: str, version: str) -> Reference:
    check_name("model_name", name)
    return Reference.parse(version)


def _typed(
    kind: type[Request], handle: Callable[[Principal, Call, Request], Awaitable[Message | bytes]]
) -> Handler:
    """A handler of bytes; raises InvalidField for bytes that are no such message."""

    async def handler(principal: Principal, call: Call, message: bytes) -> bytes:
        answer = await handle(principal, call, convert.parse(kind, message))
        return answer if isinstance(answer, bytes) else answer.SerializeToString()

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


def _wanted(request: pb.ModelInferRequest, served: Served) -> Sequence[convert.Wanted]:
    if not request.outputs:
        return served.encoder.everything
    return convert.wanted_outputs(request, served.signature)


def _reply(
    reply: Reply,
    served: Served,
    request_id: str,
    wanted: Sequence[convert.Wanted],
    outcome: Answer | TwofoldError,
) -> None:
    if isinstance(outcome, TwofoldError):
        reply.fail(outcome)
        return
    try:
        answer = _encoded(served, request_id, wanted, outcome)
    except Exception as error:  # noqa: BLE001 - the top of a call
        reply.fail(error)
    else:
        reply.answer(answer)


def _encoded(
    served: Served, request_id: str, wanted: Sequence[convert.Wanted], answer: Answer
) -> bytes:
    outputs, queue_ns, compute_ns, batch_rows = answer
    varying = told.varying(queue_ns, compute_ns, batch_rows) if served.tells else told.NOTHING
    return served.encoder.encode(request_id, outputs, wanted, varying)

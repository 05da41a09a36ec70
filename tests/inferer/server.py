"""An inferer in this process, on a real port and a real store, and calls to it."""

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from inferer.app import App
from twofold import tensors
from twofold.config import InfererSettings
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

SERVICE = "/inference.GRPCInferenceService/"
Response = TypeVar("Response", bound=Message)


class Caller:
    """Calls over a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def call(
        self,
        name: str,
        request: Message | bytes,
        answer: type[Response],
        *,
        timeout_s: float = 10,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Response:
        """One unary call; `name` is an RPC of the inference service or a whole path."""
        path = name if name.startswith("/") else SERVICE + name
        # grpcio's stubs leave the types of messages open.
        method = cast("Callable[..., Awaitable[bytes]]", self.channel.unary_unary(path))
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return answer.FromString(await method(data, timeout=timeout_s, metadata=metadata))

    async def infer(
        self, model: str, inputs: Mapping[str, Array], version: str = "", timeout_s: float = 10
    ) -> pb.ModelInferResponse:
        """One prediction."""
        request = infer_request(model, inputs, version)
        return await self.call("ModelInfer", request, pb.ModelInferResponse, timeout_s=timeout_s)

    async def is_ready(self, model: str, version: str = "") -> bool:
        """ModelReady."""
        request = pb.ModelReadyRequest(name=model, version=version)
        return (await self.call("ModelReady", request, pb.ModelReadyResponse)).ready

    async def is_server_ready(self) -> bool:
        """ServerReady."""
        request = pb.ServerReadyRequest()
        return (await self.call("ServerReady", request, pb.ServerReadyResponse)).ready

    async def watch_health(self) -> AsyncIterator[str]:
        """The names of the statuses that Health/Watch tells."""
        method = cast(
            "Callable[..., AsyncIterable[bytes]]",
            self.channel.unary_stream("/grpc.health.v1.Health/Watch"),
        )
        async for answer in method(health_pb2.HealthCheckRequest().SerializeToString()):
            status = health_pb2.HealthCheckResponse.FromString(answer).status
            yield health_pb2.HealthCheckResponse.ServingStatus.Name(status)


class Running(Caller):
    """An inferer in this process, and calls to it."""

    def __init__(self, app: App, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self.app = app


def infer_request(
    model: str, inputs: Mapping[str, Array], version: str = ""
) -> pb.ModelInferRequest:
    """A request as clients build it."""
    request = pb.ModelInferRequest(model_name=model, model_version=version)
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=tensors.datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(tensors.to_raw(array))
    return request


def outputs_of(response: pb.ModelInferResponse) -> dict[str, Array]:
    """The outputs as arrays."""
    return {
        output.name: tensors.from_raw(output.datatype, output.shape, raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def settings_for(store: Path, **changes: object) -> InfererSettings:
    """Free ports, quick polling, a short drain."""
    values: dict[str, object] = {
        "store": store,
        "redis_url": "",
        "infer_address": "127.0.0.1:0",
        "metrics_address": "127.0.0.1:0",
        "poll_interval_s": 0.05,
        "drain_s": 0.5,
        **changes,
    }
    return InfererSettings.model_validate(values)


@contextlib.asynccontextmanager
async def running(settings: InfererSettings) -> AsyncGenerator[Running]:
    """An inferer that listens; drained at the end."""
    app = App(settings)
    task = asyncio.create_task(app.run())
    listening = asyncio.create_task(app.listening.wait())
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        listening.cancel()
        await task
    try:
        async with grpc.aio.insecure_channel(app.address) as channel:
            yield Running(app, channel)
    finally:
        app.stop()
        await task

"""An inferer in this process: the protocol by path, as ours registers it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import grpc
import numpy as np

from tests.twofold.client.service import Script, abort
from twofold import errors, tensors
from twofold.client.channels import as_is
from twofold.oip import config_pb2
from twofold.oip import inference_pb2 as oip

Request = TypeVar("Request")


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's name


@dataclass
class FakeInferer:
    """A model "digits" with labels "no" and "yes"; the answer is "yes" where the first number of a
    row is greater than the second, or the first category is "yes", or an array's sum is above 0.
    """

    script: Script
    version: int = 3
    numeric_columns: list[str] = field(default_factory=lambda: ["a", "b"])
    category_columns: list[str] = field(default_factory=list[str])
    arrays: dict[str, tuple[str, list[int]]] = field(
        default_factory=dict[str, "tuple[str, list[int]]"]
    )
    """Datatypes and shapes of rows of inputs that are arrays."""
    is_raw: bool = False
    """Answers the first array as "maps", and its rows' sums as "total"."""
    properties: dict[str, str] = field(default_factory=dict[str, str])
    """Properties beside (and before) those of the columns."""
    is_regression: bool = False
    is_multilabel: bool = False
    """Whether "no" and "yes" are labels that a row may have both of."""
    on_infer: Callable[[], object] = lambda: None
    requests: list[oip.ModelInferRequest] = field(default_factory=list[oip.ModelInferRequest])
    inputs: list[dict[str, tensors.Array]] = field(default_factory=list[dict[str, tensors.Array]])

    def handlers(self) -> grpc.GenericRpcHandler:
        """The protocol's methods, by path."""
        methods = {
            "ServerLive": self._handler("ServerLive", oip.ServerLiveRequest.FromString, _live),
            "ServerReady": self._handler("ServerReady", oip.ServerReadyRequest.FromString, _ready),
            "ModelReady": self._handler(
                "ModelReady", oip.ModelReadyRequest.FromString, self._model_ready
            ),
            "ServerMetadata": self._handler(
                "ServerMetadata", oip.ServerMetadataRequest.FromString, _server_metadata
            ),
            "ModelMetadata": self._handler(
                "ModelMetadata", oip.ModelMetadataRequest.FromString, self._metadata
            ),
            "ModelInfer": self._handler(
                "ModelInfer", oip.ModelInferRequest.FromString, self._infer
            ),
            "ModelConfig": self._handler("ModelConfig", oip.ModelConfigRequest.FromString, _config),
            "ModelStatistics": self._handler(
                "ModelStatistics", oip.ModelStatisticsRequest.FromString, _statistics
            ),
            "RepositoryIndex": self._handler(
                "RepositoryIndex", oip.RepositoryIndexRequest.FromString, _index
            ),
        }
        return grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)

    def _handler(
        self,
        name: str,
        parse: Callable[[bytes], Request],
        answer: Callable[[Request], _Message],
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        def behaviour(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.script.enter(name, context)
            try:
                return answer(parse(request)).SerializeToString()
            except errors.TwofoldError as error:
                abort(context, error)
                raise

        return grpc.unary_unary_rpc_method_handler(behaviour, as_is, as_is)

    def _model_ready(self, request: oip.ModelReadyRequest) -> oip.ModelReadyResponse:
        return oip.ModelReadyResponse(ready=request.name == "digits")

    def _metadata(self, request: oip.ModelMetadataRequest) -> oip.ModelMetadataResponse:
        _check(request.name)
        return oip.ModelMetadataResponse(
            name=request.name,
            versions=[str(self.version)],
            platform="twofold_torch",
            inputs=[
                oip.ModelMetadataResponse.TensorMetadata(
                    name=name, datatype=datatype, shape=[-1, *shape]
                )
                for name, (datatype, shape) in self.arrays.items()
            ],
            outputs=[
                oip.ModelMetadataResponse.TensorMetadata(name=name)
                for name in (("maps", "total") if self.is_raw else ())
            ],
            properties={
                "version": str(self.version),
                "numeric_columns": json.dumps(self.numeric_columns),
                "category_columns": json.dumps(self.category_columns),
                "array_columns": json.dumps(list(self.arrays)),
                "labels": json.dumps([] if self.is_regression else ["no", "yes"]),
                "target": "label",
                **self.properties,
            },
        )

    def _infer(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        _check(request.model_name)
        self.on_infer()
        self.requests.append(request)
        inputs = {
            tensor.name: tensors.from_raw(tensor.datatype, tensor.shape, raw)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        self.inputs.append(inputs)
        answer = oip.ModelInferResponse(
            model_name=request.model_name,
            model_version=str(self.version),
            parameters={
                "compute_us": oip.InferParameter(int64_param=12),
                "device": oip.InferParameter(string_param="cpu"),
            },
        )
        for name, array in self._answers(inputs).items():
            answer.outputs.add(
                name=name, datatype=tensors.datatype_of(array), shape=list(array.shape)
            )
            answer.raw_output_contents.append(tensors.to_raw(array))
        return answer

    def _answers(self, inputs: dict[str, tensors.Array]) -> dict[str, tensors.Array]:
        if self.arrays:
            first = inputs[next(iter(self.arrays))]
            total = first.reshape(len(first), -1).sum(axis=1)
            if self.is_raw:
                return {"maps": first, "total": total}
            is_yes = total > 0
        elif "x" in inputs:
            x = inputs["x"]
            is_yes = x[:, 0] > x[:, 1]
            if self.is_regression:
                return {"value": x.sum(axis=1, keepdims=True, dtype=np.float32)}
        else:
            is_yes = inputs["category"][:, 0] == b"yes"
        probabilities = np.stack([~is_yes, is_yes], axis=1).astype(np.float32)
        if self.is_multilabel:
            return {"probabilities": probabilities, "label": probabilities >= 0.5}
        labels = np.array([[b"yes"] if yes else [b"no"] for yes in is_yes], dtype=np.object_)
        return {"probabilities": probabilities, "label": labels}


def _check(model: str) -> None:
    if model != "digits":
        raise errors.NotFound(
            f"models/{model} does not exist; available: digits", resource=f"models/{model}"
        )


def _live(request: oip.ServerLiveRequest) -> oip.ServerLiveResponse:
    del request
    return oip.ServerLiveResponse(live=True)


def _ready(request: oip.ServerReadyRequest) -> oip.ServerReadyResponse:
    del request
    return oip.ServerReadyResponse(ready=True)


def _server_metadata(request: oip.ServerMetadataRequest) -> oip.ServerMetadataResponse:
    del request
    return oip.ServerMetadataResponse(name="twofold", version="0.1.0")


def _config(request: oip.ModelConfigRequest) -> oip.ModelConfigResponse:
    return oip.ModelConfigResponse(config=config_pb2.ModelConfig(name=request.name))


def _statistics(request: oip.ModelStatisticsRequest) -> oip.ModelStatisticsResponse:
    statistics = oip.ModelStatistics(name=request.name, version=request.version)
    return oip.ModelStatisticsResponse(model_stats=[statistics])


def _index(request: oip.RepositoryIndexRequest) -> oip.RepositoryIndexResponse:
    states = ["READY"] if request.ready else ["READY", "UNAVAILABLE"]
    return oip.RepositoryIndexResponse(
        models=[
            oip.RepositoryIndexResponse.ModelIndex(name="digits", version=str(3 - row), state=state)
            for row, state in enumerate(states)
        ]
    )

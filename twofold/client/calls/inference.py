"""The calls of the Open Inference Protocol."""

from collections.abc import Mapping

from twofold import tensors
from twofold.client.calls.call import Call, to_inferer
from twofold.client.predictions import Prediction, Signature, prediction_of, signature_of
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

_SERVICE = "/inference.GRPCInferenceService/"


def live() -> Call[bool]:
    """Asks whether the inferer can answer at all."""
    return to_inferer(
        _SERVICE + "ServerLive",
        pb.ServerLiveRequest(),
        lambda data: pb.ServerLiveResponse.FromString(data).live,
    )


def ready() -> Call[bool]:
    """Asks whether the inferer accepts requests."""
    return to_inferer(
        _SERVICE + "ServerReady",
        pb.ServerReadyRequest(),
        lambda data: pb.ServerReadyResponse.FromString(data).ready,
    )


def model_ready(model: str, version: str) -> Call[bool]:
    """Asks whether a model is loaded."""
    request = pb.ModelReadyRequest(name=model, version=version)
    return to_inferer(
        _SERVICE + "ModelReady", request, lambda data: pb.ModelReadyResponse.FromString(data).ready
    )


def server_metadata() -> Call[pb.ServerMetadataResponse]:
    """Reads the inferer's name, version and extensions."""
    return to_inferer(
        _SERVICE + "ServerMetadata",
        pb.ServerMetadataRequest(),
        pb.ServerMetadataResponse.FromString,
    )


def metadata(model: str, version: str) -> Call[pb.ModelMetadataResponse]:
    """Reads a model's inputs, outputs and properties."""
    request = pb.ModelMetadataRequest(name=model, version=version)
    return to_inferer(_SERVICE + "ModelMetadata", request, pb.ModelMetadataResponse.FromString)


def signature(model: str, version: str) -> Call[Signature]:
    """Reads a model's columns and labels."""
    asked = metadata(model, version)
    return Call(
        asked.server,
        asked.path,
        asked.request,
        lambda data: signature_of(asked.decode(data)),
        asked.timeout_s,
    )


def config(model: str, version: str) -> Call[pb.ModelConfigResponse]:
    """Reads a model's serving configuration."""
    request = pb.ModelConfigRequest(name=model, version=version)
    return to_inferer(_SERVICE + "ModelConfig", request, pb.ModelConfigResponse.FromString)


def statistics(model: str, version: str) -> Call[list[pb.ModelStatistics]]:
    """Reads counts and durations; both arguments may be empty for all."""
    request = pb.ModelStatisticsRequest(name=model, version=version)
    return to_inferer(
        _SERVICE + "ModelStatistics",
        request,
        lambda data: list(pb.ModelStatisticsResponse.FromString(data).model_stats),
    )


def index(*, is_ready: bool) -> Call[list[pb.RepositoryIndexResponse.ModelIndex]]:
    """Reads what the inferer sees in the store."""
    request = pb.RepositoryIndexRequest(ready=is_ready)
    return to_inferer(
        _SERVICE + "RepositoryIndex",
        request,
        lambda data: list(pb.RepositoryIndexResponse.FromString(data).models),
    )


def infer(model: str, version: str, inputs: Mapping[str, Array]) -> Call[Prediction]:
    """Predicts one batch; `inputs` have the dtypes they are sent with."""
    request = pb.ModelInferRequest(model_name=model, model_version=version)
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=tensors.datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(tensors.to_raw(array))
    return to_inferer(
        _SERVICE + "ModelInfer",
        request,
        lambda data: prediction_of(pb.ModelInferResponse.FromString(data)),
    )

"""The calls of ModelService."""

from twofold.client.calls.call import DOWNLOAD_TIMEOUT_S, Call, Page, named, to_trainer
from twofold.errors import InvalidField
from twofold.v1 import model_pb2 as pb

_SERVICE = "/twofold.v1.ModelService/"


def list_page(size: int, token: str) -> Call[Page[pb.Model]]:
    """Reads part of the list of models, by name."""
    request = pb.ListModelsRequest(page_size=size, page_token=token)
    return to_trainer(_SERVICE + "ListModels", request, _models)


def _models(data: bytes) -> Page[pb.Model]:
    answer = pb.ListModelsResponse.FromString(data)
    return Page(list(answer.models), answer.next_page_token)


def get(model: str) -> Call[pb.Model]:
    """Reads a model."""
    request = pb.GetModelRequest(name=named("models", model))
    return to_trainer(
        _SERVICE + "GetModel", request, lambda data: pb.GetModelResponse.FromString(data).model
    )


def versions_page(model: str, size: int, token: str) -> Call[Page[pb.ModelVersion]]:
    """Reads part of the list of a model's visible versions, newest first."""
    request = pb.ListModelVersionsRequest(
        parent=named("models", model), page_size=size, page_token=token
    )
    return to_trainer(_SERVICE + "ListModelVersions", request, _versions)


def _versions(data: bytes) -> Page[pb.ModelVersion]:
    answer = pb.ListModelVersionsResponse.FromString(data)
    return Page(list(answer.model_versions), answer.next_page_token)


def version_name(model: str, version: int | str) -> str:
    """The resource name of a version; `version` may be an alias or "latest"."""
    return f"{named('models', model)}/versions/{version}"


def version(model: str, number: int | str) -> Call[pb.ModelVersion]:
    """Reads a version with its manifest."""
    request = pb.GetModelVersionRequest(name=version_name(model, number))
    return to_trainer(
        _SERVICE + "GetModelVersion",
        request,
        lambda data: pb.GetModelVersionResponse.FromString(data).model_version,
    )


def set_alias(model: str, alias: str, number: int) -> Call[pb.Model]:
    """Moves an alias."""
    request = pb.SetModelAliasRequest(model=named("models", model), alias=alias, version=number)
    return to_trainer(
        _SERVICE + "SetModelAlias",
        request,
        lambda data: pb.SetModelAliasResponse.FromString(data).model,
    )


def withdraw(model: str, number: int) -> Call[pb.ModelVersion]:
    """Withdraws a version."""
    request = pb.WithdrawModelVersionRequest(name=version_name(model, number))
    return to_trainer(
        _SERVICE + "WithdrawModelVersion",
        request,
        lambda data: pb.WithdrawModelVersionResponse.FromString(data).model_version,
    )


def rollback(model: str, number: int | None) -> Call[pb.RollbackModelResponse]:
    """Withdraws the default version, once; None: whichever it is."""
    if number is not None and number < 1:  # 0 on the wire means any
        raise InvalidField.of("version", number, "a version's number, from 1, or None")
    request = pb.RollbackModelRequest(name=named("models", model), version=number or 0)
    return to_trainer(_SERVICE + "RollbackModel", request, pb.RollbackModelResponse.FromString)


def download(name: str, file: str, offset: int) -> Call[pb.DownloadModelFileResponse]:
    """Reads a file of the version "models/{model}/versions/{version}", from `offset` on."""
    request = pb.DownloadModelFileRequest(name=name, file=file, offset_bytes=offset)
    return to_trainer(
        _SERVICE + "DownloadModelFile",
        request,
        pb.DownloadModelFileResponse.FromString,
        DOWNLOAD_TIMEOUT_S,
    )

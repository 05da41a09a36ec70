"""Models of a trainer in this process: scripted answers, and files to download."""

import hashlib
from collections.abc import Iterator

import grpc

from tests.twofold.client.service import EVENT_TIME, SEPARATE, Script, abort
from twofold import errors
from twofold import manifest as manifests
from twofold.v1 import graph_pb2, model_pb2, model_pb2_grpc

#: Of downloads, so that small files have several.
CHUNK_BYTES = 1_000
#: What the fake versions consist of; the weights have some chunks, and are no safetensors.
VERSION_FILES = {
    "graph.pb": graph_pb2.Graph(format_version=2).SerializeToString(),
    "weights.safetensors": bytes(range(256)) * 12,
    "golden.safetensors": b"",
}


def file_of(name: str, data: bytes) -> model_pb2.File:
    """A file as manifests describe it."""
    return model_pb2.File(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


class FakeModels(model_pb2_grpc.ModelServiceServicer):
    """The model "digits" with versions 1 to 3."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.model = model_pb2.Model(
            name="models/digits", current_version=3, aliases={"stable": 2}, version_count=3
        )
        self.withdrawn: set[int] = set()
        #: The versions that rollbacks named, 0 for none.
        self.rollbacks: list[int] = []
        #: What is sent; a test may put other bytes here than the manifest describes.
        self.files = dict(VERSION_FILES)
        #: Each download's offset; the next ones break after so many chunks, by an error or an end.
        self.offsets: list[int] = []
        self.breaks: list[tuple[int, errors.TwofoldError | None]] = []

    def _check(self, name: str, context: grpc.ServicerContext) -> None:
        if name != self.model.name:
            abort(context, errors.NotFound(f"{name} does not exist", resource=name))

    def _version(self, number: int) -> model_pb2.ModelVersion:
        manifest = model_pb2.Manifest(
            format_version=1,
            model="digits",
            version=number,
            files=[file_of(name, data) for name, data in VERSION_FILES.items()],
            metrics={"accuracy": 0.97},
            lineage=model_pb2.Lineage(
                job="jobs/01HZZZZZZZZZZZZZZZZZZZZZZZ",
                attempt="01HZZZZZZZZZZZZZZZZZZZZZZY",
                dataset="builtin/xor",
                code_version="0.1.0",
                epoch=42,
            ),
        )
        manifest.create_time.FromDatetime(EVENT_TIME)
        return model_pb2.ModelVersion(
            name=f"models/digits/versions/{number}",
            manifest=manifest,
            withdrawn=number in self.withdrawn,
            aliases=[alias for alias, of in self.model.aliases.items() if of == number],
            manifest_sha256=hashlib.sha256(manifests.encode(manifest)).hexdigest(),
        )

    def ListModels(
        self, request: model_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> model_pb2.ListModelsResponse:
        self.script.enter("ListModels", context)
        del request
        return model_pb2.ListModelsResponse(models=[self.model])

    def GetModel(
        self, request: model_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> model_pb2.GetModelResponse:
        self.script.enter("GetModel", context)
        self._check(request.name, context)
        return model_pb2.GetModelResponse(model=self.model)

    def ListModelVersions(
        self, request: model_pb2.ListModelVersionsRequest, context: grpc.ServicerContext
    ) -> model_pb2.ListModelVersionsResponse:
        self.script.enter("ListModelVersions", context)
        self._check(request.parent, context)
        newest = int(request.page_token or 3)
        return model_pb2.ListModelVersionsResponse(
            model_versions=[self._version(newest)],
            next_page_token=str(newest - 1) if newest > 1 else "",
        )

    def GetModelVersion(
        self, request: model_pb2.GetModelVersionRequest, context: grpc.ServicerContext
    ) -> model_pb2.GetModelVersionResponse:
        self.script.enter("GetModelVersion", context)
        version = request.name.rpartition("/")[2]
        aliases = {**self.model.aliases, "latest": self.model.current_version}
        number = aliases.get(version) or int(version)
        return model_pb2.GetModelVersionResponse(model_version=self._version(number))

    def DownloadModelFile(
        self, request: model_pb2.DownloadModelFileRequest, context: grpc.ServicerContext
    ) -> Iterator[model_pb2.DownloadModelFileResponse]:
        self.script.enter("DownloadModelFile", context)
        manifest = self._version(int(request.name.rpartition("/")[2])).manifest
        own = manifests.encode(manifest)
        data = {"manifest.json": own, **self.files}[request.file]
        described = {"manifest.json": own, **VERSION_FILES}[request.file]
        self.offsets.append(request.offset_bytes)
        header = model_pb2.DownloadHeader(
            name=request.name,
            file=file_of(request.file, described),
            offset_bytes=request.offset_bytes,
        )
        yield model_pb2.DownloadModelFileResponse(header=header)
        chunks = [
            data[start : start + CHUNK_BYTES]
            for start in range(request.offset_bytes, len(data), CHUNK_BYTES)
        ]
        is_long = request.file == "weights.safetensors"
        limit, error = self.breaks.pop(0) if is_long and self.breaks else (SEPARATE, None)
        for chunk in chunks[:limit]:
            yield model_pb2.DownloadModelFileResponse(chunk=chunk)
        if error is not None:
            abort(context, error)

    def SetModelAlias(
        self, request: model_pb2.SetModelAliasRequest, context: grpc.ServicerContext
    ) -> model_pb2.SetModelAliasResponse:
        self.script.enter("SetModelAlias", context)
        self.model.aliases[request.alias] = request.version
        return model_pb2.SetModelAliasResponse(model=self.model)

    def WithdrawModelVersion(
        self, request: model_pb2.WithdrawModelVersionRequest, context: grpc.ServicerContext
    ) -> model_pb2.WithdrawModelVersionResponse:
        self.script.enter("WithdrawModelVersion", context)
        number = int(request.name.rpartition("/")[2])
        self.withdrawn.add(number)
        return model_pb2.WithdrawModelVersionResponse(model_version=self._version(number))

    def RollbackModel(
        self, request: model_pb2.RollbackModelRequest, context: grpc.ServicerContext
    ) -> model_pb2.RollbackModelResponse:
        self.script.enter("RollbackModel", context)
        self._check(request.name, context)
        number = request.version or self.model.current_version
        self.rollbacks.append(request.version)
        changed = number not in self.withdrawn
        self.withdrawn.add(number)
        self.model.current_version = max({1, 2, 3} - self.withdrawn, default=0)
        answer = model_pb2.RollbackModelResponse(
            withdrawn=f"models/digits/versions/{number}",
            model=self.model,
            changed=changed,
            principal="local",
        )
        answer.withdraw_time.FromDatetime(EVENT_TIME)
        return answer

"""Data sets, models and inference of the asyncio client."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from twofold import errors
from twofold.client import uploads
from twofold.client.aio.jobs import AsyncJobHandle
from twofold.client.aio.listing import collect
from twofold.client.aio.transport import AsyncTransport
from twofold.client.calls import datasets, inference, models
from twofold.client.calls.jobs import CreateOptions
from twofold.client.downloads import Wanted
from twofold.client.predictions import (
    SIGNATURE_ATTEMPTS,
    Columns,
    Prediction,
    Rows,
    Signature,
    changed_too_often,
    inputs_of,
    is_by_column,
    version_text,
)
from twofold.client.pulling import Pull, Pulled
from twofold.client.pushing import Labelled, prepared
from twofold.client.submission import Submission
from twofold.client.uploads import Upload
from twofold.oip import inference_pb2
from twofold.toml_spec import Tree
from twofold.v1 import dataset_pb2, model_pb2


class AsyncDatasets:
    """DatasetService."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def put(
        self, source: Path | str | Upload, timeout_s: float | None = None
    ) -> dataset_pb2.Dataset:
        """Uploads a CSV, Parquet, NPZ or NPY file; one that is there already is not sent again.

        Raises:
            InvalidData: the file cannot be read or used; fields `row` and `column` where known.
        """
        upload = (
            source
            if isinstance(source, Upload)
            else await asyncio.to_thread(uploads.from_file, Path(source))
        )
        try:
            return await self.get(upload.header.sha256)
        except errors.NotFound:
            return await self._transport.upload(datasets.upload(), upload, timeout_s)

    async def get(self, dataset: str, timeout_s: float | None = None) -> dataset_pb2.Dataset:
        """Reads a data set's description: rows and columns."""
        return await self._transport.run(datasets.get(dataset), timeout_s)

    async def list(
        self, limit: int | None = None, timeout_s: float | None = None
    ) -> list[dataset_pb2.Dataset]:
        """The newest data sets, at most `limit` (None: all)."""
        return await collect(
            lambda size, token: self._transport.run(datasets.list_page(size, token), timeout_s),
            limit,
        )

    async def delete(self, dataset: str, timeout_s: float | None = None) -> None:
        """Deletes a data set; raises WrongState where a live job needs it."""
        await self._transport.run(datasets.delete(dataset), timeout_s)


#: Submits a job: rows and spec, the module or None, and options.
Submit: TypeAlias = Callable[[Submission, object, CreateOptions | None], Awaitable[AsyncJobHandle]]


class AsyncModels:
    """ModelService."""

    def __init__(self, transport: AsyncTransport, submit: Submit) -> None:
        self._transport = transport
        self._submit = submit

    async def get(self, model: str, timeout_s: float | None = None) -> model_pb2.Model:
        """Reads a model."""
        return await self._transport.run(models.get(model), timeout_s)

    async def versions(
        self, model: str, limit: int | None = None, timeout_s: float | None = None
    ) -> list[model_pb2.ModelVersion]:
        """A model's visible versions, newest first, at most `limit` (None: all)."""
        return await collect(
            lambda size, token: self._transport.run(
                models.versions_page(model, size, token), timeout_s
            ),
            limit,
        )

    async def version(
        self, model: str, version: int | str = "latest", timeout_s: float | None = None
    ) -> model_pb2.ModelVersion:
        """Reads a version, by number or alias, with its manifest: lineage, signature, metrics."""
        return await self._transport.run(models.version(model, version), timeout_s)

    async def set_alias(
        self, model: str, alias: str, version: int, timeout_s: float | None = None
    ) -> model_pb2.Model:
        """Makes `alias` stand for `version`; raises Conflict where another was first."""
        return await self._transport.run(models.set_alias(model, alias, version), timeout_s)

    async def withdraw(
        self, model: str, version: int, timeout_s: float | None = None
    ) -> model_pb2.ModelVersion:
        """Withdraws a version: by default the next lower one is served. Idempotent."""
        return await self._transport.run(models.withdraw(model, version), timeout_s)

    async def rollback(
        self, model: str, version: int | None = None, timeout_s: float | None = None
    ) -> model_pb2.RollbackModelResponse:
        """Withdraws the version that is served by default, so that the one before it is.

        However often and by however many this is asked for at once, one version is withdrawn; the
        answer says which, by whom and when, and whether this call did it.

        Args:
            model: its name.
            version: the version to withdraw; None: whichever is served by default, unless a newer
                one was withdrawn within the last 60 s, which then is the answer.
            timeout_s: seconds in all; None: the client's default.

        Raises:
            WrongState: another version is served by default, or none would be any more.
            NotFound: there is no such model or version.
        """
        return await self._transport.run(models.rollback(model, version), timeout_s)

    async def push(
        self,
        model: str,
        module: object,
        *,
        data: Labelled,
        weights: Path | str | None = None,
        spec: Tree | None = None,
        options: CreateOptions | None = None,
    ) -> AsyncJobHandle:
        """Publishes a torch module as it is, without training; see Models.push."""
        submission = await asyncio.to_thread(prepared, model, module, data, weights, spec)
        return await self._submit(submission, module, options)

    async def pull(
        self,
        model: str,
        version: int | str = "latest",
        out: Path | str | None = None,
        timeout_s: float | None = None,
    ) -> Pulled:
        """Writes a version's files, verified, to a folder; see Models.pull."""
        pull = await asyncio.to_thread(Pull, await self.version(model, version), out)
        if found := await asyncio.to_thread(pull.standing):
            return found
        await asyncio.to_thread(pull.__enter__)
        try:
            await self._download(pull, pull.manifest_wanted(), timeout_s)
            for wanted in await asyncio.to_thread(pull.files_wanted):
                await self._download(pull, wanted, timeout_s)
            return await asyncio.to_thread(pull.finish)
        finally:
            await asyncio.to_thread(pull.discard)

    async def _download(self, pull: Pull, wanted: Wanted, timeout_s: float | None) -> None:
        # Opened here and now: a cancelled task must not leave the file to a thread.
        with pull.file(wanted) as file:
            await self._transport.download(wanted, file.write, timeout_s)
            await asyncio.to_thread(pull.sync, file)

    async def list(
        self, limit: int | None = None, timeout_s: float | None = None
    ) -> list[model_pb2.Model]:
        """Models by name, at most `limit` (None: all)."""
        return await collect(
            lambda size, token: self._transport.run(models.list_page(size, token), timeout_s),
            limit,
        )


class AsyncInference:
    """The Open Inference Protocol; `version` is a number, ":alias" or "" for the default one."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def predict(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | None = None,
        alias: str | None = None,
        timeout_s: float | None = None,
    ) -> Prediction:
        """Answers one batch; see AsyncClient.predict."""
        text = version_text(version, alias)
        if is_by_column(rows):
            return await self._by_column(model, text, rows, timeout_s)
        return await self._transport.run(inference.infer(model, text, inputs_of(rows)), timeout_s)

    async def _by_column(
        self, model: str, version: str, columns: Columns, timeout_s: float | None
    ) -> Prediction:
        for _ in range(SIGNATURE_ATTEMPTS):
            signature = await self.signature(model, version, timeout_s)
            call = inference.infer(model, version, signature.encode(columns))
            prediction = await self._transport.run(call, timeout_s)
            if signature.describes(prediction):
                return prediction
        raise changed_too_often(model)

    async def signature(
        self, model: str, version: str = "", timeout_s: float | None = None
    ) -> Signature:
        """A model's columns and labels."""
        return await self._transport.run(inference.signature(model, version), timeout_s)

    async def metadata(
        self, model: str, version: str = "", timeout_s: float | None = None
    ) -> inference_pb2.ModelMetadataResponse:
        """A model's inputs, outputs and properties, as the protocol has them."""
        return await self._transport.run(inference.metadata(model, version), timeout_s)

    async def config(
        self, model: str, version: str = "", timeout_s: float | None = None
    ) -> inference_pb2.ModelConfigResponse:
        """A model's serving configuration."""
        return await self._transport.run(inference.config(model, version), timeout_s)

    async def statistics(
        self, model: str = "", version: str = "", timeout_s: float | None = None
    ) -> list[inference_pb2.ModelStatistics]:
        """Counts and durations per version; everything where `model` is empty."""
        return await self._transport.run(inference.statistics(model, version), timeout_s)

    async def index(
        self, *, is_ready: bool = False, timeout_s: float | None = None
    ) -> list[inference_pb2.RepositoryIndexResponse.ModelIndex]:
        """What the inferer sees in the store; with `is_ready` only what it serves."""
        return await self._transport.run(inference.index(is_ready=is_ready), timeout_s)

    async def server_metadata(
        self, timeout_s: float | None = None
    ) -> inference_pb2.ServerMetadataResponse:
        """The inferer's name, version and extensions."""
        return await self._transport.run(inference.server_metadata(), timeout_s)

    async def is_live(self, timeout_s: float | None = None) -> bool:
        """Whether the inferer answers at all; raises Unavailable where it does not."""
        return await self._transport.run(inference.live(), timeout_s)

    async def is_ready(self, timeout_s: float | None = None) -> bool:
        """Whether the inferer accepts requests."""
        return await self._transport.run(inference.ready(), timeout_s)

    async def is_model_ready(
        self, model: str, version: str = "", timeout_s: float | None = None
    ) -> bool:
        """Whether a model is loaded."""
        return await self._transport.run(inference.model_ready(model, version), timeout_s)

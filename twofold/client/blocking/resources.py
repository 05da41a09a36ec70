"""Data sets, models and inference of the blocking client."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from twofold import errors
from twofold.client import uploads
from twofold.client.blocking.jobs import JobHandle
from twofold.client.blocking.listing import collect
from twofold.client.blocking.transport import Transport
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


class Datasets:
    """DatasetService."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def put(
        self, source: Path | str | Upload, timeout_s: float | None = None
    ) -> dataset_pb2.Dataset:
        """Uploads a CSV, Parquet, NPZ or NPY file; one that is there already is not sent again.

        Raises:
            InvalidData: the file cannot be read or used; fields `row` and `column` where known.
        """
        upload = source if isinstance(source, Upload) else uploads.from_file(Path(source))
        try:
            return self.get(upload.header.sha256)
        except errors.NotFound:
            return self._transport.upload(datasets.upload(), upload, timeout_s)

    def get(self, dataset: str, timeout_s: float | None = None) -> dataset_pb2.Dataset:
        """Reads a data set's description: rows and columns."""
        return self._transport.run(datasets.get(dataset), timeout_s)

    def list(
        self, limit: int | None = None, timeout_s: float | None = None
    ) -> list[dataset_pb2.Dataset]:
        """The newest data sets, at most `limit` (None: all)."""
        return collect(
            lambda size, token: self._transport.run(datasets.list_page(size, token), timeout_s),
            limit,
        )

    def delete(self, dataset: str, timeout_s: float | None = None) -> None:
        """Deletes a data set; raises WrongState where a live job needs it."""
        self._transport.run(datasets.delete(dataset), timeout_s)


#: Submits a job: rows and spec, the module or None, and options.
Submit: TypeAlias = Callable[[Submission, object, CreateOptions | None], JobHandle]


class Models:
    """ModelService."""

    def __init__(self, transport: Transport, submit: Submit) -> None:
        self._transport = transport
        self._submit = submit

    def get(self, model: str, timeout_s: float | None = None) -> model_pb2.Model:
        """Reads a model."""
        return self._transport.run(models.get(model), timeout_s)

    def versions(
        self, model: str, limit: int | None = None, timeout_s: float | None = None
    ) -> list[model_pb2.ModelVersion]:
        """A model's visible versions, newest first, at most `limit` (None: all)."""
        return collect(
            lambda size, token: self._transport.run(
                models.versions_page(model, size, token), timeout_s
            ),
            limit,
        )

    def version(
        self, model: str, version: int | str = "latest", timeout_s: float | None = None
    ) -> model_pb2.ModelVersion:
        """Reads a version, by number or alias, with its manifest: lineage, signature, metrics."""
        return self._transport.run(models.version(model, version), timeout_s)

    def set_alias(
        self, model: str, alias: str, version: int, timeout_s: float | None = None
    ) -> model_pb2.Model:
        """Makes `alias` stand for `version`; raises Conflict where another was first."""
        return self._transport.run(models.set_alias(model, alias, version), timeout_s)

    def withdraw(
        self, model: str, version: int, timeout_s: float | None = None
    ) -> model_pb2.ModelVersion:
        """Withdraws a version: by default the next lower one is served. Idempotent."""
        return self._transport.run(models.withdraw(model, version), timeout_s)

    def rollback(
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
        return self._transport.run(models.rollback(model, version), timeout_s)

    def push(
        self,
        model: str,
        module: object,
        *,
        data: Labelled,
        weights: Path | str | None = None,
        spec: Tree | None = None,
        options: CreateOptions | None = None,
    ) -> JobHandle:
        """Publishes a torch module as it is, without training; `.wait()` follows it.

        It is a training job of 0 epochs: measured on all rows, judged by the spec's gates and the
        replay of golden rows, published exactly once.

        Args:
            model: the name to publish under.
            module: a torch.nn.Module, or what twofold.nets.trace made of one; as for `train`.
            data: labelled rows, every label among them: a file, a data set's identifier, "and",
                "or", "xor", or (x, y) in memory. What the module takes and answers is told by
                their columns; some of them become the golden rows.
            weights: a safetensors file with every key of `module.state_dict()`, which is loaded
                into the module; None: the module's own.
            spec: tables such as {"gates": {"min_metric": 0.9}, "data": {"target": "species"}}.
            options: see `train`.

        Raises:
            InvalidField: the spec is refused, or the weights are not the module's.
            InvalidData: the data are refused.
            InvalidModule: the module cannot become a graph; names file and line.
        """
        return self._submit(prepared(model, module, data, weights, spec), module, options)

    def pull(
        self,
        model: str,
        version: int | str = "latest",
        out: Path | str | None = None,
        timeout_s: float | None = None,
    ) -> Pulled:
        """Writes a version's files, verified, to the folder `out`; None: MODEL@NUMBER here.

        They are its manifest, graph, weights and golden rows, as published, and a plain
        state_dict.safetensors. The folder is there whole or not at all; one that holds this very
        version already is left as it is. `timeout_s` holds for each file, 600 s by default.

        Raises:
            InvalidField: the folder holds something else, or cannot be written.
            Corrupt: what came is not what its digests say.
            NotFound: there is no such version.
        """
        pull = Pull(self.version(model, version), out)
        if found := pull.standing():
            return found
        with pull:
            self._download(pull, pull.manifest_wanted(), timeout_s)
            for wanted in pull.files_wanted():
                self._download(pull, wanted, timeout_s)
            return pull.finish()

    def _download(self, pull: Pull, wanted: Wanted, timeout_s: float | None) -> None:
        with pull.file(wanted) as file:
            self._transport.download(wanted, file.write, timeout_s)
            pull.sync(file)

    def list(
        self, limit: int | None = None, timeout_s: float | None = None
    ) -> list[model_pb2.Model]:
        """Models by name, at most `limit` (None: all)."""
        return collect(
            lambda size, token: self._transport.run(models.list_page(size, token), timeout_s),
            limit,
        )


class Inference:
    """The Open Inference Protocol; `version` is a number, ":alias" or "" for the default one."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def predict(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | None = None,
        alias: str | None = None,
        timeout_s: float | None = None,
    ) -> Prediction:
        """Answers one batch; see Client.predict."""
        text = version_text(version, alias)
        if is_by_column(rows):
            return self._by_column(model, text, rows, timeout_s)
        return self._transport.run(inference.infer(model, text, inputs_of(rows)), timeout_s)

    def _by_column(
        self, model: str, version: str, columns: Columns, timeout_s: float | None
    ) -> Prediction:
        for _ in range(SIGNATURE_ATTEMPTS):
            signature = self.signature(model, version, timeout_s)
            call = inference.infer(model, version, signature.encode(columns))
            prediction = self._transport.run(call, timeout_s)
            if signature.describes(prediction):
                return prediction
        raise changed_too_often(model)

    def signature(self, model: str, version: str = "", timeout_s: float | None = None) -> Signature:
        """A model's columns and labels."""
        return self._transport.run(inference.signature(model, version), timeout_s)

    def metadata(
        self, model: str, version: str = "", timeout_s: float | None = None
    ) -> inference_pb2.ModelMetadataResponse:
        """A model's inputs, outputs and properties, as the protocol has them."""
        return self._transport.run(inference.metadata(model, version), timeout_s)

    def config(
        self, model: str, version: str = "", timeout_s: float | None = None
    ) -> inference_pb2.ModelConfigResponse:
        """A model's serving configuration."""
        return self._transport.run(inference.config(model, version), timeout_s)

    def statistics(
        self, model: str = "", version: str = "", timeout_s: float | None = None
    ) -> list[inference_pb2.ModelStatistics]:
        """Counts and durations per version; everything where `model` is empty."""
        return self._transport.run(inference.statistics(model, version), timeout_s)

    def index(
        self, *, is_ready: bool = False, timeout_s: float | None = None
    ) -> list[inference_pb2.RepositoryIndexResponse.ModelIndex]:
        """What the inferer sees in the store; with `is_ready` only what it serves."""
        return self._transport.run(inference.index(is_ready=is_ready), timeout_s)

    def server_metadata(
        self, timeout_s: float | None = None
    ) -> inference_pb2.ServerMetadataResponse:
        """The inferer's name, version and extensions."""
        return self._transport.run(inference.server_metadata(), timeout_s)

    def is_live(self, timeout_s: float | None = None) -> bool:
        """Whether the inferer answers at all; raises Unavailable where it does not."""
        return self._transport.run(inference.live(), timeout_s)

    def is_ready(self, timeout_s: float | None = None) -> bool:
        """Whether the inferer accepts requests."""
        return self._transport.run(inference.ready(), timeout_s)

    def is_model_ready(self, model: str, version: str = "", timeout_s: float | None = None) -> bool:
        """Whether a model is loaded."""
        return self._transport.run(inference.model_ready(model, version), timeout_s)

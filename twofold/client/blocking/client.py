"""The blocking client."""

from pathlib import Path
from types import TracebackType
from typing import Self, overload

from numpy.typing import ArrayLike

from twofold.client import losses, modules
from twofold.client.blocking.jobs import JobHandle, Jobs
from twofold.client.blocking.resources import Datasets, Inference, Models
from twofold.client.blocking.transport import Transport
from twofold.client.calls.jobs import CreateOptions
from twofold.client.channels import INFER_ADDRESS, TRAIN_ADDRESS, Connection
from twofold.client.predictions import Prediction, Rows
from twofold.client.submission import Arrays, Spec, Submission, of_call
from twofold.v1 import dataset_pb2, spec_pb2


class Client:
    """Trains and predicts; safe to share by threads, closed by `with` or `close`.

    Channels open at the first use. Every call has a deadline: 30 s, 600 s for an upload, 10 s for a
    prediction, or its `timeout_s`. UNAVAILABLE alone is retried, with jittered backoff, within the
    deadline. Every failure raises a class of twofold.errors.
    """

    def __init__(
        self,
        train: str = TRAIN_ADDRESS,
        infer: str = INFER_ADDRESS,
        connection: Connection | None = None,
    ) -> None:
        """Takes HOST:PORT of trainer and inferer, or all that `connection` has."""
        self._transport = Transport(connection or Connection(train=train, infer=infer))
        self.jobs = Jobs(self._transport)
        self.datasets = Datasets(self._transport)
        self.models = Models(self._transport, self._submit)
        self.inference = Inference(self._transport)

    @overload
    def train(
        self,
        x: Arrays,
        y: ArrayLike,
        spec: Spec,
        *,
        sample_weight: ArrayLike | None = None,
        module: object = None,
        loss: object = None,
        options: CreateOptions | None = None,
    ) -> JobHandle: ...
    @overload
    def train(
        self,
        x: Spec,
        *,
        data: str | Path | None = None,
        module: object = None,
        loss: object = None,
        options: CreateOptions | None = None,
    ) -> JobHandle: ...
    def train(  # noqa: PLR0913 - what a training is made of, by keyword
        self,
        x: Arrays | Spec,
        y: ArrayLike | None = None,
        spec: Spec | None = None,
        *,
        data: str | Path | None = None,
        sample_weight: ArrayLike | None = None,
        module: object = None,
        loss: object = None,
        options: CreateOptions | None = None,
    ) -> JobHandle:
        """Submits a job and answers with its handle; `.wait()` follows it to its version.

        `train(x, y, spec)` uploads rows `x` [rows, columns] with targets `y`, numbers or text
        [rows], or numbers [rows, targets], and how much each row counts, `sample_weight` [rows];
        `x` may be an array of more dimensions, or several by name, such as
        {"image": ..., "age": ...}. `train(spec, data=...)` trains on a file (uploaded unless the
        server has it), on a data set's identifier, on "and", "or" or "xor", or on what the spec
        names.

        `module` is a torch.nn.Module, or what twofold.nets.trace made of one, to train instead of a
        family of the catalogue. It goes as a graph with its weights, never as code. Its inputs are
        told by the names of forward()'s arguments; see twofold.nets.packing.

        `loss` is a function or a torch.nn.Module without parameters, or what
        twofold.nets.trace_loss made of one, to train by instead of a built-in loss. It takes what
        the network computes and the target, and goes as a graph, too.

        Raises:
            InvalidField: the spec is refused; names the field, the value and what is allowed.
            InvalidData: the data are refused; fields `row` and `column` where known.
            InvalidModule: the module cannot become a graph; names file and line.
        """
        submission = of_call(x, y, spec, data, sample_weight)
        return self._submit(submission, module, options, loss)

    def _submit(
        self,
        submission: Submission,
        module: object,
        options: CreateOptions | None,
        loss: object = None,
    ) -> JobHandle:
        completed = self._completed(submission)
        if module is not None:
            completed = self._with_module(completed, module)
        if loss is not None:
            completed = self._with_loss(completed, loss)
        return self.jobs.handle(self.jobs.create(completed, options))

    def _completed(self, submission: Submission) -> spec_pb2.TrainingSpec:
        if submission.upload is None:
            return submission.spec
        return submission.completed(self.datasets.put(submission.upload).name)

    def _with_module(self, spec: spec_pb2.TrainingSpec, module: object) -> spec_pb2.TrainingSpec:
        packed = modules.pack(module, self._dataset_of(spec).columns, spec.data)
        weights = self.datasets.put(modules.weights_of(packed, spec.model))
        return modules.completed(spec, packed, weights)

    def _with_loss(self, spec: spec_pb2.TrainingSpec, loss: object) -> spec_pb2.TrainingSpec:
        graph = losses.ready(loss)
        if graph is None:
            graph = losses.trace(loss, spec, self._dataset_of(spec))
        return losses.completed(spec, graph)

    def _dataset_of(self, spec: spec_pb2.TrainingSpec) -> dataset_pb2.Dataset:
        name = spec.data.dataset
        return modules.builtin_dataset(name) or self.datasets.get(name)

    def predict(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | None = None,
        alias: str | None = None,
        timeout_s: float | None = None,
    ) -> Prediction:
        """Answers one batch by the model's current version, or by `version` or `alias`.

        `rows` are numbers [rows, columns], sent as float32, or the array [rows, ...] of input x; or
        input tensors by name, such as {"x": ..., "image": ...}, each of two dimensions or more; or
        columns by name, at least one of them [rows], which the model's own metadata put in order.

        Raises:
            InvalidTensor: the rows do not fit the model.
            NotFound: there is no such model or version.
        """
        return self.inference.predict(
            model, rows, version=version, alias=alias, timeout_s=timeout_s
        )

    def close(self) -> None:
        """Closes the connections; calls under way fail."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

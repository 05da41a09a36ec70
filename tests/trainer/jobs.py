"""Training requests for tests, and a supervisor that remembers what it was told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trainer import data, machine, recipe
from trainer.loop import Loop
from trainer.prepared import Prepared, prepare
from trainer.reading.table import Table
from twofold import spec, toml_spec
from twofold.features import label_of
from twofold.internal.v1 import child_pb2
from twofold.toml_spec import Value
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2, training_pb2

BOUNDS = spec.Bounds(max_parameters=1_000_000, max_memory_bytes=1 << 30)


def truth_spec(name: str, **tables: Mapping[str, Value]) -> spec_pb2.TrainingSpec:
    """A completed spec over a truth table; keyword arguments are the spec's other tables."""
    table = spec.truth_table(name)
    tree = {"model": name, "data": {"dataset": name}, **tables}
    asked = toml_spec.from_dict(tree)
    return spec.complete(asked, table.columns, table.row_count, BOUNDS)


def truth_data(name: str, asked: spec_pb2.TrainingSpec) -> Prepared:
    table = spec.truth_table(name)
    return prepare(Table(table.arrays, table.row_count), asked)


def loop_over(asked: spec_pb2.TrainingSpec, prepared: Prepared) -> Loop:
    return Loop(recipe.make(asked, prepared, machine.choose_device("cpu"), threads=1))


def request_for(
    asked: spec_pb2.TrainingSpec, folder: Path, attempt: str = "a", resume: str = ""
) -> child_pb2.TrainRequest:
    """A request whose folders exist below `folder`."""
    checkpoints, artifact = folder / attempt / "checkpoints", folder / attempt / "artifact"
    checkpoints.mkdir(parents=True)
    artifact.mkdir()
    return child_pb2.TrainRequest(
        job="j",
        attempt=attempt,
        spec=asked,
        checkpoint_path=str(checkpoints),
        artifact_path=str(artifact),
        resume_path=resume,
        threads=1,
        device="cpu",
    )


class FakeReporter:
    """Remembers; says stop when `stop_when` is true of it."""

    def __init__(self, stop_when: Callable[["FakeReporter"], bool] = lambda _: False) -> None:
        self.phases: list[training_pb2.JobPhase] = []
        self.progress: list[training_pb2.Progress] = []
        #: Epochs reported while it trains.
        self.trained_epochs: list[int] = []
        self.checkpoints: list[tuple[Path, int]] = []
        self.looks = 0
        self._stop_when = stop_when

    def progressed(
        self, phase: training_pb2.JobPhase, progress: training_pb2.Progress | None = None
    ) -> None:
        self.phases.append(phase)
        if progress is not None:
            self.progress.append(progress)
            if phase == training_pb2.JOB_PHASE_TRAINING:
                self.trained_epochs.append(progress.epoch)

    def checkpointed(self, path: Path, epoch: int) -> None:
        self.checkpoints.append((path, epoch))

    def should_stop(self) -> bool:
        self.looks += 1
        return self._stop_when(self)


def table_request(
    columns: Mapping[str, NDArray[Any]],
    tree: toml_spec.Tree,
    folder: Path,
    attempt: str = "a",
    *,
    resume: str = "",
    loss: graph_pb2.Graph | None = None,
) -> child_pb2.TrainRequest:
    """A request over a table that is written below `folder`; `tree` is the spec but for its names.

    Data and spec go the whole way: read, described, completed. Where there are arrays among the
    columns, the table is an NPZ.
    """
    path, file_format = _written(columns, folder)
    described = data.describe(path, file_format)
    named = {"dataset": "ab" * 32, **cast("dict[str, object]", tree.get("data", {}))}
    asked = toml_spec.from_dict({"model": "m", **tree, "data": named})
    if loss is not None:
        asked.training.loss_graph.CopyFrom(loss)
    done = spec.complete(asked, list(described.columns), described.row_count, BOUNDS)
    request = request_for(done, folder, attempt, resume)
    request.data_path, request.data_format = str(path), file_format
    return request


def _written(
    columns: Mapping[str, NDArray[Any]], folder: Path
) -> tuple[Path, dataset_pb2.DatasetFormat]:
    if any(values.ndim > 1 for values in columns.values()):
        path = folder / "rows.npz"
        np.savez(path, allow_pickle=False, **columns)
        return path, dataset_pb2.DATASET_FORMAT_NPZ
    path = folder / "rows.csv"
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(label_of(cell) for cell in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path, dataset_pb2.DATASET_FORMAT_CSV


def points(count: int = 120, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Columns a and b, numbers that follow from them, whether those are positive, and weights."""
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(2, count)).round(3)
    return {
        "a": a,
        "b": b,
        "sum": (a + b).round(3),
        "difference": (a - 2 * b).round(3),
        "up": a + b > 0,
        "right": (a - 2 * b > 0).astype(np.int64),
        "weight": generator.integers(0, 4, count),
    }

"""Columns and specs over them, for tests of what a spec may say."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from twofold.spec import Bounds, complete
from twofold.v1 import dataset_pb2, spec_pb2

DIGEST = "ab" * 32
BOUNDS = Bounds(max_parameters=1_000_000, max_memory_bytes=1 << 30)
REAL, INTEGER = dataset_pb2.COLUMN_KIND_REAL, dataset_pb2.COLUMN_KIND_INTEGER
BOOLEAN, CATEGORY = dataset_pb2.COLUMN_KIND_BOOLEAN, dataset_pb2.COLUMN_KIND_CATEGORY

STEP, NEURON = spec_pb2.ACTIVATION_STEP, spec_pb2.FAMILY_NEURON
LINEAR, LOGISTIC = spec_pb2.FAMILY_LINEAR, spec_pb2.FAMILY_LOGISTIC
PERCEPTRON, SOFTMAX = spec_pb2.FAMILY_PERCEPTRON, spec_pb2.FAMILY_SOFTMAX

Change = Callable[[spec_pb2.TrainingSpec], object]


def column(name: str, kind: dataset_pb2.ColumnKind, count: int = 0) -> dataset_pb2.Column:
    return dataset_pb2.Column(name=name, kind=kind, distinct_count=count)


#: One column of each kind and targets for every purpose.
COLUMNS = [
    column("real", REAL),
    column("whole", INTEGER, 50),
    column("flag", BOOLEAN, 2),
    column("colour", CATEGORY, 7),
    column("text", CATEGORY, 10_000),
    column("price", INTEGER, 1001),
    column("same", INTEGER, 1),
    column("species", CATEGORY, 3),
    column("y", CATEGORY, 2),
]


def make_spec(*changes: Change, **fields: object) -> spec_pb2.TrainingSpec:
    """An MLP on real and colour that predicts y, with "data.target" as data__target changed."""
    spec = spec_pb2.TrainingSpec(model="m")
    spec.data.dataset = DIGEST
    spec.data.features.extend(["real", "colour"])
    spec.network.family = spec_pb2.FAMILY_MLP
    for path, value in fields.items():
        *groups, name = path.split("__")
        message = cast("Any", spec)  # a path of the test
        for group in groups:
            message = getattr(message, group)
        if isinstance(value, list):
            getattr(message, name)[:] = value
        else:
            setattr(message, name, value)
    for change in changes:
        change(spec)
    return spec


def completed(
    spec: spec_pb2.TrainingSpec,
    columns: Sequence[dataset_pb2.Column] = COLUMNS,
    row_count: int = 100,
    bounds: Bounds = BOUNDS,
) -> spec_pb2.TrainingSpec:
    return complete(spec, columns, row_count, bounds)

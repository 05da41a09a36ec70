"""Preprocessing that travels with a model: columns to tensors, scores to answers. numpy only.

Used by both sides: training fits a FeatureSpec and encodes with it, the inferer decodes requests
and encodes answers with the same one. Every function treats rows independently.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from twofold.errors import InvalidData, InvalidField
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
#: Object arrays of bytes, as tensors of type BYTES are held.
Strings = NDArray[np.object_]
Columns = Mapping[str, NDArray[np.generic]]

#: The index of a value that training did not see.
UNKNOWN = -1


class Features:
    """A FeatureSpec made ready for many batches: its tables are built once."""

    def __init__(self, spec: model_pb2.FeatureSpec) -> None:
        self.spec = spec
        self._indices = [
            {value.encode(): index for index, value in enumerate(column.vocabulary)}
            for column in spec.category_columns
        ]
        #: The labels, and b"" for rows that have none.
        self._labels: Strings = np.empty(len(spec.labels) + 1, dtype=np.object_)
        self._labels[:] = [*(label.encode() for label in spec.labels), b""]

    def category_indices(self, category: Strings) -> Integers:
        """Indices int64 [B, k] of values [B, k] in their columns' vocabularies, or UNKNOWN."""
        indices = np.empty(category.shape, dtype=np.int64)
        for place, table in enumerate(self._indices):
            found = [table.get(value, UNKNOWN) for value in category[:, place]]
            indices[:, place] = found
        return indices

    def inputs(self, tensors: Mapping[str, NDArray[np.generic]]) -> list[Floats | Integers]:
        """The arguments of the net's forward(), in order, from the tensors of the signature."""
        arguments: list[Floats | Integers] = []
        if self.spec.numeric_columns:
            arguments.append(tensors["x"].astype(np.float32, copy=False))
        if self.spec.category_columns:
            category = tensors["category"].astype(np.object_, copy=False)
            arguments.append(self.category_indices(category))
        return arguments

    def answers(self, scores: Floats) -> dict[str, NDArray[np.generic]]:
        """The output tensors for the head's scores, float32 [B, C].

        The label of a row is that of its highest score; of two classes with equal scores it is
        the second, as the heads define it. A row with a score that is not a number has no label:
        it gets b"".
        """
        if self.spec.task == spec_pb2.TASK_REGRESSION:
            return {"value": scores}
        if scores.shape[1] == 2:  # noqa: PLR2004 - two classes
            best = (scores[:, 1] >= scores[:, 0]).astype(np.int64)
        else:
            best = np.argmax(scores, axis=1)
        best[np.isnan(scores).any(axis=1)] = len(self.spec.labels)
        return {"probabilities": scores, "label": self._labels[best][:, np.newaxis]}


def category_indices(spec: model_pb2.FeatureSpec, category: Strings) -> Integers:
    """See Features.category_indices; for one batch only."""
    return Features(spec).category_indices(category)


def answers(spec: model_pb2.FeatureSpec, scores: Floats) -> dict[str, NDArray[np.generic]]:
    """See Features.answers; for one batch only."""
    return Features(spec).answers(scores)


def signature(
    spec: model_pb2.FeatureSpec, score_count: int
) -> tuple[list[graph_pb2.TensorSpec], list[graph_pb2.TensorSpec]]:
    """Inputs and outputs on the wire, for a head of `score_count` classes or targets."""
    inputs: list[graph_pb2.TensorSpec] = []
    if spec.numeric_columns:
        inputs.append(_tensor("x", graph_pb2.DATA_TYPE_FP32, len(spec.numeric_columns)))
    if spec.category_columns:
        inputs.append(_tensor("category", graph_pb2.DATA_TYPE_BYTES, len(spec.category_columns)))
    if spec.task == spec_pb2.TASK_REGRESSION:
        return inputs, [_tensor("value", graph_pb2.DATA_TYPE_FP32, score_count)]
    return inputs, [
        _tensor("probabilities", graph_pb2.DATA_TYPE_FP32, score_count),
        _tensor("label", graph_pb2.DATA_TYPE_BYTES, 1),
    ]


def _tensor(name: str, data_type: graph_pb2.DataType, width: int) -> graph_pb2.TensorSpec:
    return graph_pb2.TensorSpec(name=name, data_type=data_type, shape=[-1, width])


def fit(data: spec_pb2.DataSpec, columns: Columns, rows: Integers) -> model_pb2.FeatureSpec:
    """What is learnt of the columns: vocabularies from the training rows, labels from all rows.

    Args:
        data: completed: target, features and task are set.
        columns: the whole table; arrays of text (object or str) are categories, booleans and
            numbers are numeric.
        rows: indices of the training rows. What only held-out rows hold stays unknown, as it
            would be when serving.
    """
    spec = model_pb2.FeatureSpec(target=data.target, task=data.task)
    for name in data.features:
        if not _is_text(columns[name]):
            spec.numeric_columns.append(name)
            continue
        spec.category_columns.add(name=name, vocabulary=_different(columns[name][rows]))
    if data.task == spec_pb2.TASK_CLASSIFICATION:
        spec.labels.extend(_different(columns[data.target]))
    return spec


def numeric_matrix(spec: model_pb2.FeatureSpec, columns: Columns) -> Floats:
    """float32 [B, n] of the numeric columns; raises InvalidData where a value does not fit."""
    names = spec.numeric_columns
    if not names:
        return np.empty((_row_count(columns), 0), dtype=np.float32)
    return np.stack([_floats(name, columns[name]) for name in names], axis=1)


def category_matrix(spec: model_pb2.FeatureSpec, columns: Columns) -> Strings:
    """Object array [B, k] of bytes of the category columns, as a request would hold them."""
    matrix: Strings = np.empty((_row_count(columns), len(spec.category_columns)), dtype=np.object_)
    for place, column in enumerate(spec.category_columns):
        matrix[:, place] = [str(value).encode() for value in columns[column.name]]
    return matrix


def targets(spec: model_pb2.FeatureSpec, columns: Columns) -> Integers | Floats:
    """The target: indices of labels int64 [B], or values float32 [B, 1].

    Raises:
        InvalidData: a value does not fit float32, or is not among the labels.
    """
    column = columns[spec.target]
    if spec.task == spec_pb2.TASK_REGRESSION:
        return _floats(spec.target, column)[:, np.newaxis]
    table = {label: index for index, label in enumerate(spec.labels)}
    indices = np.array([table.get(text, UNKNOWN) for text in _texts(column)], dtype=np.int64)
    if (indices == UNKNOWN).any():
        row = int(np.argmax(indices == UNKNOWN)) + 1
        raise InvalidData(
            f"row {row}, column {spec.target}: the label was not seen when the model was fitted",
            row=row,
            column=spec.target,
        )
    return indices


def scale(x: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation, float32 [n], of training rows [B, n]; a constant column has deviation 1.

    Computed in float64: sums of float32 lose digits beyond some 10^7 rows.
    """
    wide = x.astype(np.float64)
    mean = wide.mean(axis=0).astype(np.float32)
    deviation = wide.std(axis=0).astype(np.float32)
    is_constant = (x == x[:1]).all(axis=0) | (deviation < np.finfo(np.float32).tiny)
    return mean, np.where(is_constant, np.float32(1), deviation)


def _is_text(column: NDArray[np.generic]) -> bool:
    return column.dtype.kind in "OUS"


def _row_count(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _text(value: object) -> str:
    """The label of a value: false and true in lower case, whole numbers without a point."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _texts(column: NDArray[np.generic]) -> list[str]:
    return [_text(value) for value in column.tolist()]


def _different(column: NDArray[np.generic]) -> Sequence[str]:
    """Different values as text, in the order of the values: 2 before 10, "10" before "2"."""
    return [_text(value) for value in sorted(set(column.tolist()))]


def _floats(name: str, column: NDArray[np.generic]) -> Floats:
    if _is_text(column):
        raise InvalidField.of(name, "text", "a numeric column")
    with np.errstate(over="ignore"):  # what overflows is found below
        narrow = column.astype(np.float32)
    fits = np.isfinite(narrow)
    if not fits.all():
        row = int(np.argmin(fits)) + 1
        raise InvalidData(
            f"row {row}, column {name}: {column[row - 1]} does not fit a 32-bit float",
            row=row,
            column=name,
        )
    return narrow

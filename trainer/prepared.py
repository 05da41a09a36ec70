"""From a table to the arrays that a network trains on: split, encoded, measured.

Legend of suffixes: N rows, D numeric columns, K category columns.
"""
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.reading.table import Table, Values
from twofold import features
from twofold.errors import InvalidData, InvalidField, shorten
from twofold.v1 import model_pb2, spec_pb2


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table ready to train on. Inputs are raw: the network itself standardises them."""

    features: model_pb2.FeatureSpec
    x_ND: NDArray[np.float32] | None
    category_NK: NDArray[np.int64] | None
    #: The same cells as bytes, as the wire carries them; for golden rows.
    raw_category_NK: NDArray[np.object_] | None
    #: int64 [N], the label's index, or float32 [N, 1].
    target_N: NDArray[np.int64] | NDArray[np.float32]
    training_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    #: float32 [D], of the training rows; None where nothing is standardised.
    mean_D: NDArray[np.float32] | None
    deviation_D: NDArray[np.float32] | None


def prepare(table: Table, training: spec_pb2.TrainingSpec) -> Prepared:
    """Splits, encodes and measures the table as the completed spec says.

    Raises InvalidField where the spec does not fit the table, InvalidData where the table cannot
    be trained on.
    """
    data = training.data
    target = _column(table, "data.target", data.target)
    inputs = {name: _column(table, "data.features", name) for name in data.features}
    training_rows, validation_rows = split(data, target, training.training.seed)
    # Labels of all rows, vocabularies of the training rows: a label that only a held-out row has
    # is still a label, while a category that training never saw is unknown when serving, too.
    seen = {name: values[training_rows] for name, values in inputs.items()}
    fitted = features.fit({**seen, data.target: target}, data)
    _check_labels(fitted, data)
    x_ND = _numeric(inputs, fitted)
    raw_NK = _categories(inputs, fitted)
    scale = measure(x_ND[training_rows]) if x_ND is not None and data.standardize else None
    return Prepared(
        features=fitted,
        x_ND=x_ND,
        category_NK=None if raw_NK is None else features.category_indices(fitted, raw_NK),
        raw_category_NK=raw_NK,
        target_N=_encode_target(target, fitted),
        training_rows=training_rows,
        validation_rows=validation_rows,
        mean_D=scale[0] if scale else None,
        deviation_D=scale[1] if scale else None,
    )


def split(
    data: spec_pb2.DataSpec, target: Values, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and held-out row indices, ascending; the same for the same seed.

    At least one row trains. Stratified: the fraction of every label, at least one row of which
    trains.
    """
    generator = np.random.default_rng(seed)
    fraction, row_count = data.validation_fraction, len(target)
    if data.split == spec_pb2.SPLIT_STRATIFIED:
        held_out = _stratified(target, fraction, generator)
    else:
        count = min(round(row_count * fraction), row_count - 1)
        held_out = generator.permutation(row_count)[:count]
    is_held_out = np.zeros(row_count, dtype=np.bool_)
    is_held_out[held_out] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _stratified(
    target: Values, fraction: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    _, codes = np.unique(target, return_inverse=True)
    order = generator.permutation(len(target))
    by_label = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    parts = [
        by_label[start : start + min(round(count * fraction), count - 1)]
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
    ]
    return np.concatenate(parts)


def measure(x_ND: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and population deviation of each column, in double precision; a deviation of 0 is 1."""
    mean_D = x_ND.mean(axis=0, dtype=np.float64)
    # Column by column: a second matrix in double precision would be twice the data.
    variances = [float(np.mean((x_ND[:, d] - mean) ** 2)) for d, mean in enumerate(mean_D)]
    deviation_D = np.sqrt(np.array(variances)).astype(np.float32)
    deviation_D[deviation_D == 0] = 1
    return mean_D.astype(np.float32), deviation_D


def _column(table: Table, field: str, name: str) -> Values:
    found = table.columns.get(name)
    if found is None:
        raise InvalidField.of(field, name, "a column: " + shorten(", ".join(table.columns)))
    return found


def _check_labels(fitted: model_pb2.FeatureSpec, data: spec_pb2.DataSpec) -> None:
    if fitted.task == spec_pb2.TASK_CLASSIFICATION and len(fitted.labels) < 2:  # noqa: PLR2004 - one label is no choice
        raise InvalidData(
            f"column {shorten(data.target)} has one label in all rows; classification needs two",
            column=data.target,
        )


def _numeric(
    inputs: Mapping[str, Values], fitted: model_pb2.FeatureSpec
) -> NDArray[np.float32] | None:
    if not fitted.numeric_columns:
        return None
    row_count = len(inputs[fitted.numeric_columns[0]])
    x_ND = np.empty((row_count, len(fitted.numeric_columns)), dtype=np.float32)
    for index, name in enumerate(fitted.numeric_columns):
        x_ND[:, index] = inputs[name]
    return x_ND


def _categories(
    inputs: Mapping[str, Values], fitted: model_pb2.FeatureSpec
) -> NDArray[np.object_] | None:
    if not fitted.category_columns:
        return None
    columns = [_to_bytes(inputs[column.name]) for column in fitted.category_columns]
    return np.stack(columns, axis=1)


def _to_bytes(values: Values) -> NDArray[np.object_]:
    """The cells as the wire carries them; equal ones share one object."""
    shared: dict[object, bytes] = {}
    cells = [shared.setdefault(value, features.label_of(value).encode()) for value in values]
    column = np.empty(len(cells), dtype=np.object_)
    column[:] = cells
    return column


def _encode_target(
    target: Values, fitted: model_pb2.FeatureSpec
) -> NDArray[np.int64] | NDArray[np.float32]:
    if fitted.task == spec_pb2.TASK_REGRESSION:
        return target.astype(np.float32)[:, np.newaxis]
    index = {label: number for number, label in enumerate(fitted.labels)}
    present, codes = np.unique(target, return_inverse=True)
    return np.array([index[features.label_of(value)] for value in present.tolist()])[codes]

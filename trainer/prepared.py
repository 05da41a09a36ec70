"""From a table to the arrays that a network trains on: split, encoded, measured.

Legend of suffixes: N rows, D numeric columns, K category columns, C classes.
"""
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainer import targets
from trainer.codes import Codes, encode
from trainer.reading.table import Matrix, RowArray, Table
from twofold import features
from twofold.errors import InvalidData, shorten
from twofold.v1 import model_pb2, spec_pb2

#: Rows that are measured at a time: in double precision they stay in the cache.
_BLOCK_ROWS = 4_096
#: Numbers of an array that are, for the same reason.
_BLOCK_NUMBERS = 1 << 18
#: Rows copied column by column at a time, for the same reason.
_COPY_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table ready to train on. Inputs are raw: the network itself standardises them."""

    features: model_pb2.FeatureSpec
    x_ND: NDArray[np.float32] | None
    category_NK: NDArray[np.int64] | None
    #: The same cells, column by column, as they stood in the table.
    categories: tuple[Codes, ...]
    #: int64 [N], the label's index, or float32 [N, targets].
    target_N: NDArray[np.int64] | NDArray[np.float32]
    training_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    #: float32 [D], of the training rows; None where nothing is standardised.
    mean_D: NDArray[np.float32] | None
    deviation_D: NDArray[np.float32] | None
    #: float32 [N], what each row counts by data.weight; None: all alike.
    weight_N: NDArray[np.float32] | None = None
    #: Features that are arrays, by name, [N, ...]: also inputs of the net.
    arrays: Mapping[str, RowArray] = field(default_factory=dict[str, RowArray])
    #: Whether the net standardises them; `measure_axis` gives by what.
    scales_arrays: bool = False

    @property
    def is_scaled(self) -> bool:
        """Whether the net standardises anything."""
        return self.mean_D is not None or self.scales_arrays

    @property
    def resident_bytes(self) -> int:
        """What training keeps of it on its device, beside what stands here."""
        return self.target_N.nbytes + sum(array.nbytes for array in self.inputs().values())

    def inputs(self) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
        """Every row of the net's inputs by name; categories as indices."""
        columns = {"x": self.x_ND, "category": self.category_NK}
        found = {name: array for name, array in columns.items() if array is not None}
        return {**found, **self.arrays}

    def raw_inputs(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        """These rows as the wire carries them, by the inputs of the signature."""
        inputs: dict[str, NDArray[np.generic]] = {}
        if self.x_ND is not None:
            inputs["x"] = self.x_ND[rows]
        if self.categories:
            inputs["category"] = np.stack([_to_bytes(c, rows) for c in self.categories], axis=1)
        return inputs | {name: array[rows] for name, array in self.arrays.items()}


def prepare(table: Table, training: spec_pb2.TrainingSpec) -> Prepared:
    """Splits, encodes and measures the table as the completed spec says.

    Raises InvalidField where the spec does not fit the table, InvalidData where the table cannot
    be trained on.
    """
    data = training.data
    found = targets.columns(table, data)
    arrays = {name: table.arrays[name] for name in data.features if name in table.arrays}
    columns = [name for name in data.features if name not in arrays]
    inputs = {name: targets.column(table, "data.features", name) for name in columns}
    is_labelled = data.task == spec_pb2.TASK_CLASSIFICATION
    labels = encode(found[0]) if is_labelled or data.split == spec_pb2.SPLIT_STRATIFIED else None
    training_rows, validation_rows = split(data, labels, len(found[0]), training.training.seed)
    codes = {name: encode(values) for name, values in inputs.items() if values.dtype.kind == "O"}
    # Labels of all rows, vocabularies of the training rows: a label that only a held-out row has
    # is still a label, while a category that training never saw is unknown when serving, too.
    vocabularies = {name: column.taken(training_rows) for name, column in codes.items()}
    fitted = features.fit(data, vocabularies, labels.labels if labels else (), arrays)
    _check_labels(fitted, data)
    x_ND = numeric(table, fitted.numeric_columns)
    is_scaled = x_ND is not None and data.standardize
    scale = measure(x_ND, training_rows) if x_ND is not None and is_scaled else None
    return Prepared(
        features=fitted,
        x_ND=x_ND,
        category_NK=_indices(codes, vocabularies),
        categories=tuple(codes.values()),
        target_N=labels.codes if labels and is_labelled else targets.numbers(found, data),
        training_rows=training_rows,
        validation_rows=validation_rows,
        mean_D=scale[0] if scale else None,
        deviation_D=scale[1] if scale else None,
        weight_N=targets.weights(table, data, (training_rows, validation_rows)),
        arrays=arrays,
        scales_arrays=data.standardize and any(a.dtype == np.float32 for a in arrays.values()),
    )


def split(
    data: spec_pb2.DataSpec, labels: Codes | None, row_count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and held-out row indices, ascending; the same for the same seed.

    At least one row trains. Stratified, for which `labels` are needed: the fraction of every label,
    at least one row of which trains.
    """
    generator = np.random.default_rng(seed)
    fraction = data.validation_fraction
    if labels is not None and data.split == spec_pb2.SPLIT_STRATIFIED:
        held_out = _stratified(labels, fraction, generator)
    else:
        count = min(round(row_count * fraction), row_count - 1)
        held_out = generator.permutation(row_count)[:count]
    is_held_out = np.zeros(row_count, dtype=np.bool_)
    is_held_out[held_out] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _stratified(
    labels: Codes, fraction: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    order = generator.permutation(len(labels.codes))
    shuffled = labels.codes[order]
    if len(labels.labels) <= np.iinfo(np.uint16).max:
        shuffled = shuffled.astype(np.uint16)  # NumPy sorts 16 bits by counting
    by_label = order[np.argsort(shuffled, kind="stable")]
    counts = np.bincount(labels.codes)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    parts = [
        by_label[start : start + min(round(count * fraction), count - 1)]
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
    ]
    return np.concatenate(parts)


def measure(
    x_ND: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and population deviation of each column over some rows; a deviation of 0 is 1."""
    figures = _Figures(x_ND.shape[1])
    for start in range(0, len(rows), _BLOCK_ROWS):
        figures.add(x_ND[rows[start : start + _BLOCK_ROWS]].astype(np.float64))
    return figures.result()


def measure_axis(
    array: NDArray[np.float32], rows: NDArray[np.int64], axis: int | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As `measure` for each place along an axis of [N, ...], over all others and some rows.

    The axis counts the rows, as 0: channels of images [N, C, H, W] are axis 1, features of
    sequences [N, T, F] axis 2. None: one figure for all numbers.
    """
    if axis is None:
        array = array[..., np.newaxis]
        axis = array.ndim - 1
    width = array.shape[axis]
    figures = _Figures(width)
    step = max(1, _BLOCK_NUMBERS // math.prod(array.shape[1:]))
    for start in range(0, len(rows), step):
        block = np.moveaxis(array[rows[start : start + step]], axis, -1)
        figures.add(block.astype(np.float64).reshape(-1, width))
    return figures.result()


class _Figures:
    """Mean and deviation of columns that come block by block, in double precision.

    What two blocks know is joined as by T. Chan, G. Golub and R. LeVeque, "Updating formulae and a
    pairwise algorithm for computing sample variances" (1979).
    """

    def __init__(self, width: int) -> None:
        self._count = 0
        self._mean_D = np.zeros(width)
        self._squares_D = np.zeros(width)

    def add(self, block_BD: NDArray[np.float64]) -> None:
        """Takes a block into account, which is changed."""
        count, size = self._count, len(block_BD)
        block_mean_D = block_BD.mean(axis=0)
        block_BD -= block_mean_D
        apart_D = block_mean_D - self._mean_D
        total = count + size
        self._squares_D += np.einsum("bd,bd->d", block_BD, block_BD)
        self._squares_D += apart_D**2 * (count * size / total)
        self._mean_D += apart_D * (size / total)
        self._count = total

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and population deviation; a deviation of 0 is 1."""
        deviation_D = np.sqrt(self._squares_D / self._count).astype(np.float32)
        deviation_D[deviation_D == 0] = 1
        return self._mean_D.astype(np.float32), deviation_D


def _check_labels(fitted: model_pb2.FeatureSpec, data: spec_pb2.DataSpec) -> None:
    if fitted.task == spec_pb2.TASK_CLASSIFICATION and len(fitted.labels) < 2:  # noqa: PLR2004 - one label is no choice
        raise InvalidData(
            f"column {shorten(data.target)} has one label in all rows; classification needs two",
            column=data.target,
        )


def numeric(table: Table, names: Sequence[str]) -> NDArray[np.float32] | None:
    """The columns side by side, row after row; the table's own memory where they stand so."""
    if not names:
        return None
    if table.matrix is not None and (start := _place(table.matrix, names)) is not None:
        return np.ascontiguousarray(table.matrix.values[:, start : start + len(names)])
    columns = [table.columns[name] for name in names]
    x_ND = np.empty((table.row_count, len(names)), dtype=np.float32)
    for start in range(0, table.row_count, _COPY_ROWS):
        rows = slice(start, start + _COPY_ROWS)
        for index, values in enumerate(columns):
            x_ND[rows, index] = values[rows]
    return x_ND


def _place(matrix: Matrix, names: Sequence[str]) -> int | None:
    """Where these columns stand in a row, in this order, within the matrix; None: they do not."""
    if names[0] not in matrix.names:
        return None
    start = matrix.names.index(names[0])
    return start if matrix.names[start : start + len(names)] == tuple(names) else None


def _indices(
    codes: Mapping[str, Codes], vocabularies: Mapping[str, Sequence[str]]
) -> NDArray[np.int64] | None:
    """Each cell's index in its column's vocabulary, or UNKNOWN."""
    if not codes:
        return None
    columns: list[NDArray[np.int64]] = []
    for name, column in codes.items():
        places = {label: place for place, label in enumerate(vocabularies[name])}
        known = [places.get(label, features.UNKNOWN) for label in column.labels]
        columns.append(np.array(known, dtype=np.int64)[column.codes])
    return np.stack(columns, axis=1)


def _to_bytes(column: Codes, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    cells = np.empty(len(rows), dtype=np.object_)
    cells[:] = [column.labels[code].encode() for code in column.codes[rows].tolist()]
    return cells

"""A table in memory: one checked numpy array per column, none of them with a hole."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.errors import InvalidData, shorten
from twofold.v1 import dataset_pb2, graph_pb2

#: Most columns of a CSV or Parquet table: each costs a name, a parser and a plan.
MAX_COLUMNS = 4_096
#: Most columns of an array, which are only numbers.
MAX_ARRAY_COLUMNS = 65_536
#: Most dimensions of a row of an array; with the rows they are what a graph's inputs may have.
MAX_ARRAY_RANK = 15
#: Most numbers in a row of an array: as many as a graph may compute at once of a row.
MAX_ROW_NUMBERS = 1 << 24
#: Most rows; row numbers stay far inside 64 bits.
MAX_ROWS = 1_000_000_000
#: Longest column name, in characters.
MAX_NAME_LENGTH = 255
#: Different values are counted up to here.
DISTINCT_LIMIT = 10_000
#: What the wire and the network compute in holds nothing from here on: halfway between the largest
#: 32-bit float and what would follow it, so that numbers round to one below, and overflow above.
REAL_LIMIT = 2.0**128 - 2.0**103

#: float32, float64, int64, bool or object (str), one-dimensional.
Values = (
    NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64] | NDArray[np.bool_]
    | NDArray[np.object_]
)  # fmt: skip
#: float32 or int64, [rows, ...], row by row in memory.
RowArray = NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Real columns of a table that stand together in memory, so that nobody joins them again."""

    #: In the order of the last axis.
    names: tuple[str, ...]
    #: [rows, columns], row by row or column by column in memory.
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length, in order; text columns are objects of type str.

    Arrays are columns, too: of many numbers in a row instead of one.
    """

    columns: Mapping[str, Values]
    row_count: int
    #: The same cells as some of the columns.
    matrix: Matrix | None = None
    #: By name; no column has the name of an array.
    arrays: Mapping[str, RowArray] = field(default_factory=dict[str, RowArray])


def kind_of(values: Values) -> dataset_pb2.ColumnKind:
    """What a column holds, by its element type."""
    kinds = {
        "b": dataset_pb2.COLUMN_KIND_BOOLEAN,
        "i": dataset_pb2.COLUMN_KIND_INTEGER,
        "f": dataset_pb2.COLUMN_KIND_REAL,
    }
    return kinds.get(values.dtype.kind, dataset_pb2.COLUMN_KIND_CATEGORY)


def summarize(table: Table) -> dataset_pb2.Dataset:
    """Rows and columns as users are shown them, arrays first: the usual target is the last."""
    ranges = _ranges(table.matrix) if table.matrix is not None else {}
    columns = [_described(name, array) for name, array in table.arrays.items()]
    for name, values in table.columns.items():
        column = dataset_pb2.Column(name=name, kind=kind_of(values))
        if values.dtype.kind in "if":
            lowest, highest = ranges.get(name) or (values.min(), values.max())
            column.minimum, column.maximum = _plain(lowest), _plain(highest)
        if values.dtype.kind != "f":
            column.distinct_count = _count_distinct(values)
        columns.append(column)
    return dataset_pb2.Dataset(row_count=table.row_count, columns=columns)


def _described(name: str, array: RowArray) -> dataset_pb2.Column:
    is_real = array.dtype.kind == "f"
    return dataset_pb2.Column(
        name=name,
        kind=dataset_pb2.COLUMN_KIND_ARRAY,
        shape=array.shape[1:],
        data_type=graph_pb2.DATA_TYPE_FP32 if is_real else graph_pb2.DATA_TYPE_INT64,
        minimum=_plain(array.min()),
        maximum=_plain(array.max()),
    )


def _ranges(matrix: Matrix) -> dict[str, tuple[np.generic, np.generic]]:
    """Least and largest number of each column, in two passes over all and not over each."""
    lowest, highest = matrix.values.min(axis=0), matrix.values.max(axis=0)
    return {name: (lowest[at], highest[at]) for at, name in enumerate(matrix.names)}


def _plain(value: np.generic) -> float:
    """The number as it was written: 0.1 and not 0.10000000149011612."""
    return float(str(value))


def _count_distinct(values: Values) -> int:
    if values.dtype.kind == "O":
        seen: set[str] = set()
        for start in range(0, len(values), DISTINCT_LIMIT):
            seen.update(values[start : start + DISTINCT_LIMIT].tolist())
            if len(seen) >= DISTINCT_LIMIT:
                break
        return min(len(seen), DISTINCT_LIMIT)
    return min(len(np.unique(values)), DISTINCT_LIMIT)


def check_names(names: Sequence[str]) -> list[str]:
    """The names of a header; raises InvalidData for an empty, odd or repeated one."""
    if len(names) > MAX_COLUMNS:
        raise InvalidData(f"there are more than {MAX_COLUMNS} columns, which is the limit")
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise InvalidData(f"column {number} has no name; give it one", column=str(number))
        if len(name) > MAX_NAME_LENGTH or not name.isprintable() or name != name.strip():
            raise InvalidData(
                f"the name of column {number}, {shorten(name)}, is not of at most "
                f"{MAX_NAME_LENGTH} printable characters without blanks around them",
                column=str(number),
            )
    for name, count in itertools.groupby(sorted(names)):
        if len(list(count)) > 1:
            raise InvalidData(f"two columns have the name {shorten(name)}", column=name)
    return list(names)


def check_row_count(row_count: int) -> int:
    """The number of rows; raises InvalidData for none or too many."""
    if not 0 < row_count <= MAX_ROWS:
        raise InvalidData(f"the table has {row_count} rows; 1 to {MAX_ROWS} are allowed")
    return row_count


def check_reals(names: Sequence[str], values: NDArray[np.floating[Any]], first_row: int) -> None:
    """Refuses NaN, infinities and what 32-bit floats cannot hold; `first_row` counts from 1.

    One pass over the whole block; the cell is looked for only where there is one to be named.
    """
    if are_good(values).all():
        return
    row, column = np.argwhere(~are_good(values))[0]
    raise bad_real(first_row + int(row), names[int(column)], float(values[row, column]))


def are_good(values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which reals are finite and fit 32-bit floats."""
    if values.dtype == np.float64:
        return np.abs(values) < REAL_LIMIT
    return np.isfinite(values)


def bad_real(row: int, column: str, value: float) -> InvalidData:
    """The refusal of a number that cannot be used."""
    return bad_cell(row, column, "missing (NaN)" if math.isnan(value) else repr(value))


def bad_cell(row: int, column: str, found: str) -> InvalidData:
    """The refusal of one cell, with its place."""
    return InvalidData(
        f"row {row}, column {shorten(column)}: the value is {shorten(found)}; every cell needs a "
        "value, and numbers must be finite and fit 32-bit floats; leave the row out or fill it in",
        row=row,
        column=column,
    )

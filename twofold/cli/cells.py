"""Cells of tables to columns of arrays: fast where all is well, else cell by cell, naming rows."""

import csv
import math
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from twofold.errors import InvalidData, shorten
from twofold.tensors import Array

#: Longest cell of a CSV file, in characters; csv's own limit is a quarter of it.
CELL_LIMIT = 1 << 19
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: Truth as the trainer's reader has it; as numbers, which a feature is.
_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Columns to read."""

    numeric: tuple[str, ...]
    """Read as float64, finite."""
    category: tuple[str, ...]
    """Read as text that is not empty."""
    other: tuple[str, ...] = ()
    """Cells as they are: text in CSV, any value in Parquet."""
    arrays: tuple[str, ...] = ()
    """Numbers of any shape in each row; of NPZ archives alone."""

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of one value, each once."""
        return tuple(dict.fromkeys((*self.numeric, *self.category, *self.other)))


def row_count(columns: Mapping[str, Array]) -> int:
    """Rows of a batch."""
    return len(next(iter(columns.values()), ()))


def places(header: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """Where each named column stands; raises InvalidData where it does not, or twice."""
    for name in names:
        if header.count(name) != 1:
            what = "is there twice" if name in header else "is missing"
            raise InvalidData(f"column {name} {what}; the model needs it once", column=name)
    return {name: header.index(name) for name in names}


class Parser:
    """Cells of CSV rows to the columns that are wanted."""

    def __init__(self, header: Sequence[str], wanted: Wanted) -> None:
        self._width = len(header)
        self._wanted = wanted
        self._places = places(header, wanted.names)

    def columns(self, rows: Sequence[tuple[int, list[str]]]) -> dict[str, Array]:
        """Columns of numbered rows; raises InvalidData for the first cell that is wrong."""
        for number, row in rows:
            if len(row) != self._width:
                text = f"row {number} has {len(row)} cells; the header has {self._width}"
                raise InvalidData(text, row=number)
        columns: dict[str, Array] = {}
        for name in self._wanted.numeric:
            place = self._places[name]
            columns[name] = np.array([_number(row[place], at, name) for at, row in rows])
        for name in self._wanted.category:
            place = self._places[name]
            columns[name] = _texts([_category(row[place], at, name) for at, row in rows])
        for name in self._wanted.other:
            columns[name] = _texts([row[self._places[name]] for _, row in rows])
        return columns


def fast_columns(
    batch: Any,  # noqa: ANN401 - pyarrow ships no types
    wanted: Wanted,
) -> dict[str, Array] | None:
    """Columns of an Arrow batch; None where a cell is not what it should be."""
    columns: dict[str, Array] = {}
    for name in wanted.numeric:
        column = batch.column(name)
        numbers: Array = np.asarray(column.to_numpy(zero_copy_only=False))
        if column.null_count or numbers.dtype.kind not in "biuf" or not np.isfinite(numbers).all():
            return None
        columns[name] = numbers.astype(np.float64, copy=False)
    for name in wanted.category:
        values: list[object] = batch.column(name).to_pylist()
        if not all(isinstance(value, str) and 0 < len(value) <= CELL_LIMIT for value in values):
            return None
        columns[name] = _texts(values)
    for name in wanted.other:
        columns[name] = _texts(batch.column(name).to_pylist())
    return columns


def arrow_columns(
    batch: Any,  # noqa: ANN401 - pyarrow ships no types
    wanted: Wanted,
    first: int,
) -> dict[str, Array]:
    """Columns of an Arrow batch, cell by cell; raises InvalidData for the first wrong one."""
    columns: dict[str, Array] = {}
    for name in wanted.numeric:
        cells: list[object] = batch.column(name).to_pylist()
        numbers = [_arrow_number(cell, first + row, name) for row, cell in enumerate(cells)]
        columns[name] = np.array(numbers)
    for name in wanted.category:
        cells = batch.column(name).to_pylist()
        texts = [
            _category("" if cell is None else str(cell), first + row, name)
            for row, cell in enumerate(cells)
        ]
        columns[name] = _texts(texts)
    for name in wanted.other:
        columns[name] = _texts(batch.column(name).to_pylist())
    return columns


def _texts(values: Sequence[object]) -> Array:
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array


def _number(cell: str, row: int, column: str) -> float:
    text = cell.strip()
    truth = _TRUTH.get(text.lower())
    if truth is not None:
        return truth
    # float() alone would take nan, inf and 1_000 too.
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise bad_cell(cell, row, column, "a number")
    return value


def _category(cell: str, row: int, column: str) -> str:
    if not cell:
        raise bad_cell(cell, row, column, "text")
    return cell


def _arrow_number(cell: object, row: int, column: str) -> float:
    value = float(cell) if isinstance(cell, bool | int | float) else math.nan
    if not math.isfinite(value):
        raise bad_cell(cell, row, column, "a number")
    return value


def bad_cell(cell: object, row: int, column: str, wanted: str) -> InvalidData:
    """What is said of a cell that is not `wanted`."""
    shown = "missing" if cell in ("", None) else f"{shorten(cell)!r}"
    message = f"row {row}, column {column} is {shown}; expected {wanted}"
    return InvalidData(message, row=row, column=column)


@contextmanager
def refusing_bad_text() -> Generator[None]:
    """Raises InvalidData for what is no CSV, or no text."""
    csv.field_size_limit(CELL_LIMIT)
    try:
        yield
    except csv.Error as error:
        raise InvalidData(f"the rows are not a CSV table: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidData("the rows are not UTF-8 text") from error


@contextmanager
def refusing_bad_parquet(name: str) -> Generator[None]:
    """Raises InvalidData for what pyarrow cannot read."""
    try:
        yield
    # What pyarrow's exceptions derive from.
    except (ValueError, TypeError, KeyError, NotImplementedError, OSError) as error:
        raise InvalidData(f"{name} cannot be read as Parquet") from error

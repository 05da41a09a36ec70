"""Rows from CSV, Parquet and NPY, in batches: only the columns that a model asks for."""

import csv
import math
import re
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import typer

from twofold.client.predictions import Rows, Signature
from twofold.errors import InvalidData, shorten

#: Standard input, as CSV.
STANDARD_INPUT = "-"
#: Longest cell of a CSV file, in characters; csv's own limit is a quarter of it.
_CELL_LIMIT = 1 << 19
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: Truth as the trainer's reader has it; as numbers, which a feature is.
_TRUTH = {"true": 1.0, "false": 0.0}
_TABLE_DIMENSIONS = 2


def batches(source: str, signature: Signature, size: int) -> Iterator[Rows]:
    """The rows of a file (or of standard input, as CSV), `size` at a time.

    The target and columns that the model does not know are left out.

    Raises:
        InvalidData: unusable; fields `row` (from 1, without the header) and `column` where known.
        BadParameter: no such file, or of another kind.
    """
    if source == STANDARD_INPUT:
        return _csv(sys.stdin, signature, size)
    path = Path(source)
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {source}")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv_file(path, signature, size)
    if suffix == ".parquet":
        return _parquet(path, signature, size)
    if suffix == ".npy":
        return _npy(path, size)
    raise typer.BadParameter(f"{source} is not .csv, .parquet, .npy or - for CSV on standard input")


def _csv_file(path: Path, signature: Signature, size: int) -> Iterator[Rows]:
    # A byte order mark, as spreadsheets write it, is no part of the first name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from _csv(file, signature, size)


def _csv(file: TextIO, signature: Signature, size: int) -> Iterator[Rows]:
    csv.field_size_limit(_CELL_LIMIT)
    with _refusing_bad_text():
        reader = csv.reader(file, strict=True)
        header = next(reader, list[str]())
        parser = _Parser(header, signature)
        # Blank lines are no rows, for the trainer's reader neither.
        rows = enumerate((cells for cells in reader if cells), start=1)
        while batch := list(islice(rows, size)):
            yield parser.columns(batch)


@contextmanager
def _refusing_bad_text() -> Generator[None]:
    try:
        yield
    except csv.Error as error:
        raise InvalidData(f"the rows are not a CSV table: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidData("the rows are not UTF-8 text") from error


class _Parser:
    """Cells of CSV rows to the columns that a model asks for."""

    def __init__(self, header: Sequence[str], signature: Signature) -> None:
        self._width = len(header)
        self._numeric = _places(header, signature.numeric_columns)
        self._category = _places(header, signature.category_columns)

    def columns(self, rows: Sequence[tuple[int, list[str]]]) -> dict[str, list[float] | list[str]]:
        """Columns of numbered rows."""
        for number, cells in rows:
            if len(cells) != self._width:
                raise InvalidData(
                    f"row {number} has {len(cells)} cells; the header has {self._width}",
                    row=number,
                )
        columns: dict[str, list[float] | list[str]] = {
            name: [_number(cells[place], row, name) for row, cells in rows]
            for name, place in self._numeric.items()
        }
        for name, place in self._category.items():
            columns[name] = [_category(cells[place], row, name) for row, cells in rows]
        return columns


def _places(header: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """Where each named column stands; raises InvalidData where it does not, or twice."""
    for name in names:
        if header.count(name) != 1:
            what = "is there twice" if name in header else "is missing"
            raise InvalidData(f"column {name} {what}; the model needs it once", column=name)
    return {name: header.index(name) for name in names}


def _number(cell: str, row: int, column: str) -> float:
    text = cell.strip()
    truth = _TRUTH.get(text.lower())
    if truth is not None:
        return truth
    # float() alone would take nan, inf and 1_000 too.
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise _bad_cell(cell, row, column, "a number")
    return value


def _category(cell: str, row: int, column: str) -> str:
    if not cell:
        raise _bad_cell(cell, row, column, "text")
    return cell


def _bad_cell(cell: object, row: int, column: str, wanted: str) -> InvalidData:
    shown = "missing" if cell in ("", None) else f"{shorten(cell)!r}"
    message = f"row {row}, column {column} is {shown}; expected {wanted}"
    return InvalidData(message, row=row, column=column)


def _parquet(path: Path, signature: Signature, size: int) -> Iterator[Rows]:
    from pyarrow import parquet  # noqa: PLC0415 - the large library, for this format alone

    names = [*signature.numeric_columns, *signature.category_columns]
    try:
        opened: Any = parquet.ParquetFile(path)  # pyarrow ships no types
        with opened as file:
            _places(file.schema_arrow.names, names)
            first = 1
            for batch in file.iter_batches(batch_size=size, columns=names):
                yield _arrow_columns(batch, signature, first)
                first += len(batch)
    # What pyarrow's exceptions derive from.
    except (ValueError, TypeError, KeyError, NotImplementedError, OSError) as error:
        raise InvalidData(f"{path.name} cannot be read as Parquet") from error


def _arrow_columns(
    batch: Any,  # noqa: ANN401 - pyarrow ships no types
    signature: Signature,
    first: int,
) -> dict[str, list[float] | list[str]]:
    columns: dict[str, list[float] | list[str]] = {}
    for name in signature.numeric_columns:
        cells: list[object] = batch.column(name).to_pylist()
        columns[name] = [_arrow_number(cell, first + row, name) for row, cell in enumerate(cells)]
    for name in signature.category_columns:
        cells = batch.column(name).to_pylist()
        columns[name] = [
            _category("" if cell is None else str(cell), first + row, name)
            for row, cell in enumerate(cells)
        ]
    return columns


def _arrow_number(cell: object, row: int, column: str) -> float:
    value = float(cell) if isinstance(cell, bool | int | float) else math.nan
    if not math.isfinite(value):
        raise _bad_cell(cell, row, column, "a number")
    return value


def _npy(path: Path, size: int) -> Iterator[Rows]:
    try:
        # Mapped, so that memory holds a batch; without pickle, so that it is data and no code.
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)  # Any: as numpy's stub
    except (OSError, ValueError, EOFError) as error:
        raise InvalidData(f"{path.name} cannot be read as a NumPy array of numbers") from error
    if np.ndim(array) != _TABLE_DIMENSIONS:
        raise InvalidData(f"{path.name} holds no array [rows, columns]")
    for first in range(0, len(array), size):
        yield np.asarray(array[first : first + size])

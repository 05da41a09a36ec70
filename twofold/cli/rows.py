"""Rows from CSV, Parquet, NPY and NPZ, in batches: only the columns that are asked for.

Columns come as arrays. What a fast reader refuses, or reads as no number, is read again by a slow
one (twofold.cli.cells), which decides and names the row: both take the same files.
"""

import csv
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import typer

from twofold.cli import archives, cells
from twofold.cli.cells import Parser, Wanted
from twofold.client.predictions import Rows
from twofold.errors import InvalidData
from twofold.tensors import Array

__all__ = ["STANDARD_INPUT", "Described", "Rows", "Wanted", "batches", "describe"]

#: Standard input, as CSV.
STANDARD_INPUT = "-"
_TABLE_DIMENSIONS = 2
#: Bytes of a CSV file that are parsed at a time.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Described:
    """What a file says before its rows are read."""

    columns: tuple[str, ...]
    """Empty where they have no names."""
    row_count: int | None
    """None where only reading tells."""


def describe(source: str) -> Described:
    """The columns of a file, and its number of rows where that is known; see `batches`."""
    if source == STANDARD_INPUT:  # can be read but once
        return Described((), None)
    path, suffix = _file(source)
    if suffix == ".csv":
        with cells.refusing_bad_text(), _text(path) as file:
            return Described(tuple(next(csv.reader(file), ())), None)
    if suffix == ".parquet":
        with cells.refusing_bad_parquet(path.name), _parquet_file(path) as table:
            return Described(tuple(table.schema_arrow.names), int(table.metadata.num_rows))
    if suffix == ".npz":
        return Described(*archives.describe(path))
    return Described((), len(_array(path)))


def batches(source: str, wanted: Wanted, size: int) -> Iterator[Rows]:
    """The rows of a file (or of standard input, as CSV), at most `size` at a time.

    Columns that are not wanted are left out. Memory holds about a batch and a block of the file; of
    an NPZ archive all members that are wanted.

    Raises:
        InvalidData: unusable; fields `row` (from 1, without the header) and `column` where known.
        BadParameter: no such file, or of another kind.
    """
    if source != STANDARD_INPUT:
        path, suffix = _file(source)
        if suffix == ".npz":
            return archives.batches(path, wanted, size)
        if suffix == ".npy":
            return _npy(path, wanted, size)
    if wanted.arrays:
        text = f"the model takes the array {wanted.arrays[0]}, which only a .npz file can hold"
        raise typer.BadParameter(text)
    if source == STANDARD_INPUT:
        return _csv(sys.stdin, wanted, size, 0)
    path, suffix = _file(source)
    if suffix == ".csv":
        return _csv_file(path, wanted, size)
    return _parquet(path, wanted, size)


def _file(source: str) -> tuple[Path, str]:
    path = Path(source)
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {source}")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet", ".npy", ".npz"):
        text = f"{source} is not .csv, .parquet, .npy, .npz or - for CSV on standard input"
        raise typer.BadParameter(text)
    try:
        path.open("rb").close()
    except OSError as error:
        raise typer.BadParameter(f"{source} cannot be read: {error.strerror}") from error
    return path, suffix


def _text(path: Path) -> TextIO:
    # A byte order mark, as spreadsheets write it, is no part of the first name.
    return path.open(encoding="utf-8-sig", newline="")


def _csv_file(path: Path, wanted: Wanted, size: int) -> Iterator[Rows]:
    with cells.refusing_bad_text(), _text(path) as file:
        cells.places(next(csv.reader(file), list[str]()), wanted.names)
    fast, done = _fast_csv(path, wanted, size), 0
    while True:
        try:
            batch = next(fast)
        except StopIteration as end:
            if end.value:
                return
            break
        yield batch
        done += cells.row_count(batch)
    with _text(path) as file:
        yield from _csv(file, wanted, size, done)


def _fast_csv(path: Path, wanted: Wanted, size: int) -> Generator[dict[str, Array], None, bool]:
    """Batches as long as every cell is what it should be; returns whether that was all.

    Of quotes Arrow takes what the slow reader refuses, such as one that is never closed: files
    with any below their header are not for it.
    """
    if _has_quotes(path):
        return False
    import pyarrow as pa  # noqa: PLC0415 - the large library, at its use
    from pyarrow import csv as arrow_csv  # noqa: PLC0415 - likewise

    library: Any = pa  # pyarrow ships no types
    reader: Any = arrow_csv
    kinds = dict.fromkeys(wanted.names, library.string())
    kinds |= dict.fromkeys(wanted.numeric, library.float64())
    try:
        stream = reader.open_csv(
            path,
            read_options=reader.ReadOptions(block_size=_BLOCK_BYTES),
            convert_options=reader.ConvertOptions(
                column_types=kinds, include_columns=list(wanted.names)
            ),
        )
        with stream:
            for block in stream:
                for first in range(0, len(block), size):
                    batch = cells.fast_columns(block.slice(first, size), wanted)
                    if batch is None:
                        return False
                    yield batch
    except library.ArrowException:
        return False
    return True


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        file.readline()
        while piece := file.read(_BLOCK_BYTES):
            if b'"' in piece:
                return True
    return False


def _csv(file: TextIO, wanted: Wanted, size: int, skipped: int) -> Iterator[Rows]:
    """Batches after `skipped` rows, cell by cell; raises InvalidData."""
    with cells.refusing_bad_text():
        reader = csv.reader(file, strict=True)
        parser = Parser(next(reader, list[str]()), wanted)
        # Blank lines are no rows, for the trainer's reader neither.
        rows = islice(enumerate((row for row in reader if row), start=1), skipped, None)
        while batch := list(islice(rows, size)):
            yield parser.columns(batch)


def _parquet_file(path: Path) -> Any:  # noqa: ANN401 - pyarrow ships no types
    from pyarrow import parquet  # noqa: PLC0415 - the large library, at its use

    library: Any = parquet
    # Read as it is needed: else a whole row group is held.
    return library.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK_BYTES)


def _parquet(path: Path, wanted: Wanted, size: int) -> Iterator[Rows]:
    names: Sequence[str] = wanted.names
    with cells.refusing_bad_parquet(path.name), _parquet_file(path) as file:
        cells.places(file.schema_arrow.names, names)
        first = 1
        for batch in file.iter_batches(batch_size=size, columns=list(names)):
            fast = cells.fast_columns(batch, wanted)
            yield cells.arrow_columns(batch, wanted, first) if fast is None else fast
            first += len(batch)


def _npy(path: Path, wanted: Wanted, size: int) -> Iterator[Rows]:
    named = (*wanted.other, *(name for name in wanted.arrays if name != "x"))
    if named:
        raise InvalidData(f"{path.name} has no names, and so no column {named[0]}")
    array = _array(path)
    for first in range(0, len(array), size):
        yield np.asarray(array[first : first + size])


def _array(path: Path) -> Array:
    try:
        # Mapped, so that memory holds a batch; without pickle, so that it is data and no code.
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)  # Any: as numpy's stub
    except (OSError, ValueError, EOFError) as error:
        raise InvalidData(f"{path.name} cannot be read as a NumPy array of numbers") from error
    if np.ndim(array) < _TABLE_DIMENSIONS:
        raise InvalidData(f"{path.name} holds no array [rows, columns] or [rows, ...]")
    return array

"""CSV into a table: RFC 4180, UTF-8, commas, one header row.

Large files of the usual kind are read by csvfast. Here is the careful way, for all others and for
naming what is wrong. Two passes over the file: the first reads every cell as text and decides what
each column holds, the second converts. So a column that turns to text in its millionth row keeps
its first rows as they stood ("007"), and memory holds the typed table alone.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv

from trainer.reading import csvfast
from trainer.reading.arrow import ArrowArray, TableWriter, translate
from trainer.reading.csvfast import BLANKS, FALSE, TRUE, as_booleans
from trainer.reading.csvguard import MAX_ROW_BYTES, CsvGuard, read_header
from trainer.reading.table import REAL_LIMIT, Table, bad_cell, check_row_count
from twofold.errors import InvalidData, shorten
from twofold.v1 import dataset_pb2

# Its functions are made as it is imported: nothing knows their types.
pc: Any = pyarrow.compute

#: Bytes a batch is parsed from; a row must fit twice, or the parser loses it at a block's edge.
_BLOCK_BYTES = 4 * MAX_ROW_BYTES
_BOOLEAN = dataset_pb2.COLUMN_KIND_BOOLEAN
_INTEGER = dataset_pb2.COLUMN_KIND_INTEGER
_REAL = dataset_pb2.COLUMN_KIND_REAL
_CATEGORY = dataset_pb2.COLUMN_KIND_CATEGORY
#: What other programs write for a missing number. In a column of text they are text.
_HOLLOW = r"^(?i:nan|na|n/a|null|none|nil|\?|-|[+-]?inf|[+-]?infinity)$"
_ARROW_TYPES = {
    _BOOLEAN: pa.string(),
    _INTEGER: pa.int64(),
    _REAL: pa.float32(),
    _CATEGORY: pa.dictionary(pa.int32(), pa.string()),
}


def read_csv(path: Path) -> Table:
    """The table; raises InvalidData with row and column where the file is not one."""
    names = read_header(path)
    if path.stat().st_size >= csvfast.LEAST_BYTES:
        table = csvfast.read(path, names, _guess_from_sample)
        if table is not None:
            return table
    return _read_carefully(path, names)


def _guess_from_sample(sample: ArrowArray) -> dict[str, dataset_pb2.ColumnKind] | None:
    guesses = {name: _Guess(name) for name in sample.schema.names}
    for name, guess in guesses.items():
        for array in sample.column(name).chunks:
            guess.look(array, 1)
    kinds = {name: guess.kind() for name, guess in guesses.items()}
    return kinds if all(guess.is_sure for guess in guesses.values()) else None


def _read_carefully(path: Path, names: Sequence[str]) -> Table:
    guesses = [_Guess(name) for name in names]
    row_count = 0
    for batch in _batches(path, names, [pa.string()] * len(names)):
        for guess, array in zip(guesses, batch.columns, strict=True):
            guess.look(array, row_count + 1)
        row_count += len(batch)
    check_row_count(row_count)
    kinds = {name: guess.kind() for name, guess in zip(names, guesses, strict=True)}
    writer = TableWriter(kinds, row_count)
    for batch in _batches(path, names, [_ARROW_TYPES[kind] for kind in kinds.values()]):
        writer.append(
            [
                as_booleans(array) if kind == _BOOLEAN else array
                for array, kind in zip(batch.columns, kinds.values(), strict=True)
            ]
        )
    return writer.finish()


def _batches(path: Path, names: Sequence[str], types: Sequence[Any]) -> Iterator[Any]:
    refusals: list[InvalidData] = []

    def refuse(row: Any) -> str:  # noqa: ANN401 - Arrow's InvalidRow
        refusals.append(_ragged(row))
        return "error"

    with closing(CsvGuard(path)) as guard:
        reader = _translate(
            refusals, lambda: _open(guard, dict(zip(names, types, strict=True)), refuse)
        )
        while (batch := _translate(refusals, lambda: next(reader, None))) is not None:
            yield batch


def _translate(refusals: list[InvalidData], read: Any) -> Any:  # noqa: ANN401 - Arrow's objects
    try:
        return translate("the file is not a CSV table", read)
    except InvalidData as error:
        raise (refusals[0] if refusals else error) from error.__cause__


def _open(guard: CsvGuard, types: dict[str, Any], refuse: Any) -> Any:  # noqa: ANN401 - Arrow's
    return pacsv.open_csv(
        guard,
        # One thread: rows have numbers then, and memory is bounded.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
        convert_options=pacsv.ConvertOptions(
            column_types=types,
            null_values=[],
            strings_can_be_null=False,
        ),
    )


def _ragged(row: Any) -> InvalidData:  # noqa: ANN401 - Arrow's InvalidRow
    number = row.number - 1  # Arrow counts the header
    if row.text.count('"') % 2:
        return InvalidData(f"row {number} opens a quote that is never closed", row=number)
    return InvalidData(
        f"row {number} has {row.actual_columns} cells; the header has {row.expected_columns}",
        row=number,
    )


class _Guess:
    """What a column holds, so far: the narrowest kind that takes every cell seen."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kind: dataset_pb2.ColumnKind | None = None
        # The first cell that is refused if the column turns out to be of numbers or booleans.
        self._hollow: InvalidData | None = None

    def look(self, array: ArrowArray, first_row: int) -> None:
        """Takes the next cells; `first_row` counts from 1."""
        array = pc.ascii_trim(array, BLANKS)
        empty = pc.equal(array, "").to_numpy(zero_copy_only=False)
        if empty.any():
            raise bad_cell(first_row + int(np.argmax(empty)), self._name, "missing")
        if self._kind != _CATEGORY:
            self._kind = _join(self._kind, self._classify(array, first_row))

    def kind(self) -> dataset_pb2.ColumnKind:
        """The verdict; raises InvalidData for a hole in a column of numbers or booleans."""
        if self._hollow is not None and self._kind != _CATEGORY:
            raise self._hollow
        return self._kind or _CATEGORY

    @property
    def is_sure(self) -> bool:
        """Whether a cell was seen that says what the column holds."""
        return self._kind is not None

    def _classify(self, array: ArrowArray, first_row: int) -> dataset_pb2.ColumnKind | None:
        if self._kind != _BOOLEAN and (kind := self._numeric_kind(array, first_row)):
            return kind
        hollow = pc.match_substring_regex(array, _HOLLOW)
        rest = array.filter(pc.invert(hollow))
        if len(rest) < len(array) and self._hollow is None:
            index = pc.index(hollow, value=True).as_py()
            self._hollow = bad_cell(first_row + index, self._name, shorten(array[index].as_py()))
        if not len(rest):
            return None
        if pc.all(pc.is_in(rest, pa.array(TRUE + FALSE))).as_py():
            return _BOOLEAN
        return self._numeric_kind(rest, first_row) or _CATEGORY

    def _numeric_kind(self, array: ArrowArray, first_row: int) -> dataset_pb2.ColumnKind | None:
        if _is_integer(array):
            return _INTEGER
        try:
            reals = pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            return None
        good = np.abs(reals) < REAL_LIMIT
        if not good.all() and self._hollow is None:
            index = int(np.argmin(good))
            self._hollow = bad_cell(first_row + index, self._name, shorten(array[index].as_py()))
        return _REAL


def _is_integer(array: ArrowArray) -> bool:
    try:
        pc.cast(array, pa.int64())
    except pa.ArrowInvalid:
        return False
    # Arrow also takes "0x1F", which other readers of the same file take for text.
    return not pc.any(pc.match_substring(array, "x", ignore_case=True)).as_py()


def _join(
    one: dataset_pb2.ColumnKind | None, other: dataset_pb2.ColumnKind | None
) -> dataset_pb2.ColumnKind | None:
    if one is None or other is None or one == other:
        return other if one is None else one
    return _REAL if {one, other} == {_INTEGER, _REAL} else _CATEGORY

"""CSV as most files are: in one pass, on every core. What is odd is left to the careful reader.

What a column holds is guessed from the file's beginning, and then every cell is held to it. Where
one does not fit, nothing is refused here: trainer.reading.csvfile reads again, decides by all cells
and names the one at fault. So a file that passes here gives what the careful reader would give,
only that one row may be longer than MAX_ROW_BYTES, by less than a block.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv

from trainer.reading.arrow import ArrowArray, TableWriter
from trainer.reading.csvguard import MAX_ROW_BYTES
from trainer.reading.table import MAX_ROWS, Table
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2

# Its functions are made as it is imported: nothing knows their types.
pc: Any = pyarrow.compute

#: Files below this are read at once either way.
LEAST_BYTES = 1 << 20
#: Bytes at the beginning that the guess is made from: some milliseconds.
SAMPLE_BYTES = 1 << 18
#: Bytes that one thread parses at a time; a longer row ends the parser.
_BLOCK_BYTES = MAX_ROW_BYTES
_PIECE_CELLS = 1 << 20
_SCAN_BYTES = 1 << 18
TRUE = ["true", "True", "TRUE"]
FALSE = ["false", "False", "FALSE"]
BLANKS = " \t"

_BOOLEAN = dataset_pb2.COLUMN_KIND_BOOLEAN
_INTEGER = dataset_pb2.COLUMN_KIND_INTEGER
_REAL = dataset_pb2.COLUMN_KIND_REAL
_CATEGORY = dataset_pb2.COLUMN_KIND_CATEGORY
Kinds = dict[str, dataset_pb2.ColumnKind]
#: What the rows of a text table hold, or None.
Guess = Callable[[ArrowArray], Kinds | None]

_TEXT = pa.dictionary(pa.int32(), pa.string())
#: Whole numbers are not here: Arrow infers them, and says so where they end in fractions.
_TYPES = {_REAL: pa.float32(), _BOOLEAN: _TEXT, _CATEGORY: _TEXT}


class _Odd(Exception):
    """The file needs the careful reader."""


@dataclass(frozen=True, slots=True)
class _Marks:
    """Bytes of the rows that decide how they may be parsed."""

    quote_count: int
    has_nul: bool
    #: Whether "0x" occurs, as before a hexadecimal number.
    has_hex: bool


def read(path: Path, names: Sequence[str], guess: Guess) -> Table | None:
    """The table, or None where the careful reader must look; raises OSError of the disk.

    Args:
        path: of the file.
        names: of its columns.
        guess: see Guess; gets the rows of the file's beginning, every cell as text.
    """
    try:
        return _read(path, names, guess)
    except OSError as error:  # of Arrow, for a bad file, it has no number
        if error.errno is not None:
            raise
    except (_Odd, pa.ArrowException, InvalidData, MemoryError, OverflowError, UnicodeError):
        pass
    return None


def _read(path: Path, names: Sequence[str], guess: Guess) -> Table:
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    header, newline, _ = head.partition(b"\n")
    rows = head[len(header) + 1 : head.rfind(b"\n") + 1]
    if not newline or not rows or header.count(b'"') % 2 or b"\r" in header.rstrip(b"\r"):
        raise _Odd
    sample = _parse(pa.BufferReader(rows), names, dict.fromkeys(names, pa.string()), '"', skip=0)
    kinds = guess(sample)
    if kinds is None:
        raise _Odd
    marks = _scan(path, len(header))
    quote = _quote(kinds, marks)
    table = _parse(str(path), names, _types(kinds), quote)
    if found := _found_real(table, kinds):
        # Again, as the careful reader would: straight to 32 bits, rounded once.
        kinds |= dict.fromkeys(found, _REAL)
        table = _parse(str(path), names, _types(kinds), quote)
    _check_integers(table, kinds, marks)
    return _write(table, kinds)


def _types(kinds: Mapping[str, dataset_pb2.ColumnKind]) -> dict[str, Any]:
    return {name: _TYPES[kind] for name, kind in kinds.items() if kind in _TYPES}


def _quote(kinds: Kinds, marks: _Marks) -> str | bool:
    """The quote character; False where there are none, which parses faster.

    A quoted number among bare ones then does not parse, and the careful reader takes it.
    """
    if {_CATEGORY, _BOOLEAN}.isdisjoint(kinds.values()):
        return False
    if marks.has_nul or marks.quote_count % 2:
        raise _Odd
    return '"' if marks.quote_count else False


def _scan(path: Path, start: int) -> _Marks:
    quote_count, has_nul, has_hex = 0, False, False
    block, last = bytearray(_SCAN_BYTES), b""
    with path.open("rb") as file:
        file.seek(start)
        while size := file.readinto(block):
            if size < len(block):
                block = block[:size]
            # Finding a letter takes a tenth of counting it, and most blocks have none.
            quote_count += block.count(b'"') if b'"' in block else 0
            has_nul = has_nul or b"\0" in block
            if b"x" in block or b"X" in block:
                has_hex = has_hex or b"0x" in last + block.lower()
            last = block[-1:]
    return _Marks(quote_count, has_nul, has_hex)


def _parse(
    source: Any,  # noqa: ANN401 - a path or Arrow's reader
    names: Sequence[str],
    types: Mapping[str, Any],
    quote: str | bool,  # noqa: FBT001 - Arrow's own
    skip: int = 1,
) -> ArrowArray:
    return pacsv.read_csv(
        source,
        read_options=pacsv.ReadOptions(
            block_size=_BLOCK_BYTES, column_names=list(names), skip_rows=skip
        ),
        parse_options=pacsv.ParseOptions(quote_char=quote, newlines_in_values=quote is not False),
        convert_options=pacsv.ConvertOptions(
            column_types=dict(types), null_values=[], strings_can_be_null=False
        ),
    )


def _found_real(table: ArrowArray, kinds: Kinds) -> list[str]:
    """Columns that began with whole numbers and hold others too."""
    return [
        name
        for name, kind in kinds.items()
        if kind == _INTEGER and pa.types.is_float64(table.column(name).type)
    ]


def _check_integers(table: ArrowArray, kinds: Kinds, marks: _Marks) -> None:
    integers = [name for name, kind in kinds.items() if kind == _INTEGER]
    if any(not pa.types.is_int64(table.column(name).type) for name in integers):
        raise _Odd
    # Arrow takes "0x1F" for a whole number, which is text.
    if integers and marks.has_hex:
        raise _Odd


def _write(table: ArrowArray, kinds: Kinds) -> Table:
    if not 0 < table.num_rows <= MAX_ROWS:
        raise _Odd
    writer = TableWriter(kinds, table.num_rows)
    # More rows than a block has where it is wide, fewer than all: they are copied once more.
    step = max(1, _PIECE_CELLS // len(kinds))
    for start in range(0, table.num_rows, step):
        for piece in table.slice(start, step).combine_chunks().to_batches():
            columns = zip(piece.columns, kinds.values(), strict=True)
            writer.append([_checked(array, kind) for array, kind in columns])
    return writer.finish()


def _checked(array: ArrowArray, kind: dataset_pb2.ColumnKind) -> ArrowArray:
    """The cells as a writer takes them; raises _Odd for a text that must be looked at."""
    if kind in (_REAL, _INTEGER):
        return array
    texts = pc.ascii_trim(array.dictionary, BLANKS)
    odd = pc.equal(texts, "") if kind == _CATEGORY else pc.invert(_is_truth(texts))
    if pc.any(odd).as_py():
        raise _Odd
    return array if kind == _CATEGORY else as_booleans(array.dictionary).take(array.indices)


def _is_truth(texts: ArrowArray) -> ArrowArray:
    return pc.is_in(texts, pa.array(TRUE + FALSE))


def as_booleans(texts: ArrowArray) -> ArrowArray:
    """True for the words of truth; Arrow's own conversion would refuse blanks around them."""
    return pc.is_in(pc.ascii_trim(texts, BLANKS), pa.array(TRUE))

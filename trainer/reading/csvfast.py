"""CSV as most files are: in one pass, on every core. What is odd is left to the careful reader.

What a column holds is guessed from the file's beginning, and then every cell is held to it. Where
one does not fit, nothing is refused here: trainer.reading.csvfile reads again, decides by all cells
and names the one at fault. So a file that passes here gives what the careful reader would give,
only that one row may be longer than MAX_ROW_BYTES, by less than a block.

Where no newline can stand in a cell, blocks of rows are parsed side by side and written into the
table while later ones are parsed: a block's numbers then never leave the processor's cache.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import codecs
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
#: Blocks that wait for each thread, and for the one that writes them.
_BLOCKS_AHEAD = 4
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


@dataclass(frozen=True, slots=True)
class _File:
    """What is known before the rows are read."""

    path: Path
    #: Bytes of the header.
    start: int
    names: tuple[str, ...]
    #: The quote character, or False where there are none.
    quote: str | bool


class _Odd(Exception):
    """The file needs the careful reader."""


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
    if rows.startswith(codecs.BOM_UTF8):
        raise _Odd
    sample = _parse(pa.BufferReader(rows), names, dict.fromkeys(names, pa.string()), '"')
    kinds = guess(sample)
    if kinds is None:
        raise _Odd
    file = _File(path, len(header) + 1, tuple(names), _quote(path, len(header), kinds))
    row_bytes = max(1, len(rows) // max(1, sample.num_rows))
    estimate = min(MAX_ROWS, path.stat().st_size // row_bytes)
    table, found = _write(file, kinds, estimate)
    if found:
        # Again, as the careful reader would: straight to 32 bits, rounded once.
        table, found = _write(file, kinds | dict.fromkeys(found, _REAL), estimate)
    if table is None or found:
        raise _Odd
    return table


def _types(kinds: Mapping[str, dataset_pb2.ColumnKind]) -> dict[str, Any]:
    return {name: _TYPES[kind] for name, kind in kinds.items() if kind in _TYPES}


def _quote(path: Path, start: int, kinds: Kinds) -> str | bool:
    """The quote character; False where there are none, which parses faster.

    A quoted number among bare ones then does not parse, and the careful reader takes it.
    """
    if {_CATEGORY, _BOOLEAN}.isdisjoint(kinds.values()):
        return False
    quote_count, has_nul, has_hex = _scan(path, start)
    if has_nul or quote_count % 2 or (quote_count and has_hex and _INTEGER in kinds.values()):
        raise _Odd
    return '"' if quote_count else False


def _scan(path: Path, start: int) -> tuple[int, bool, bool]:
    """How many quotes the rows have, whether a NUL, and whether the mark of a hexadecimal."""
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
            has_hex = has_hex or _has_hex(last + block)
            last = block[-1:]
    return quote_count, has_nul, has_hex


def _has_hex(block: bytes | bytearray) -> bool:
    return (b"x" in block or b"X" in block) and b"0x" in block.lower()


def _write(file: _File, kinds: Kinds, estimate: int) -> tuple[Table | None, set[str]]:
    """The table, or the columns that began with whole numbers and hold others too."""
    writer = TableWriter(kinds, estimate, is_estimate=True)
    found: set[str] = set()
    row_count = 0
    for batch in _batches(file, _types(kinds)):
        row_count += len(batch)
        if row_count > MAX_ROWS:
            raise _Odd
        found |= _found_real(batch, kinds)
        if not found:
            columns = zip(batch.columns, kinds.values(), strict=True)
            writer.append([_checked(array, kind) for array, kind in columns])
    if not row_count:
        raise _Odd
    return (None if found else writer.finish()), found


def _batches(file: _File, types: Mapping[str, Any]) -> Iterator[ArrowArray]:
    """Rows after rows, in their order."""
    if file.quote is False:
        yield from _parse_blocks(file, types)
        return
    table = _parse(str(file.path), file.names, types, file.quote, skip=1)
    # More rows than a block has where it is wide, fewer than all: they are copied once more.
    step = max(1, _PIECE_CELLS // len(file.names))
    for start in range(0, table.num_rows, step):
        yield from table.slice(start, step).combine_chunks().to_batches()


def _parse_blocks(file: _File, types: Mapping[str, Any]) -> Iterator[ArrowArray]:
    thread_count = pa.cpu_count()
    waiting: deque[Future[ArrowArray]] = deque()
    with ThreadPoolExecutor(thread_count, "csv") as pool:
        try:
            for block in _blocks(file):
                waiting.append(pool.submit(_parse_block, block, file.names, types))
                if len(waiting) > _BLOCKS_AHEAD * thread_count:
                    yield from waiting.popleft().result().to_batches()
            while waiting:
                yield from waiting.popleft().result().to_batches()
        finally:
            for future in waiting:
                future.cancel()


def _blocks(file: _File) -> Iterator[bytearray]:
    """The rows in pieces of whole lines; raises _Odd for a line that does not fit one."""
    rest = b""
    with file.path.open("rb") as source:
        source.seek(file.start)
        while True:
            block = bytearray(_BLOCK_BYTES)
            block[: len(rest)] = rest
            filled = len(rest) + source.readinto(memoryview(block)[len(rest) :])
            is_last = filled < len(block)
            stop = filled if is_last else block.rfind(b"\n") + 1
            if not stop and not is_last:
                raise _Odd
            rest = bytes(memoryview(block)[stop:filled])
            del block[stop:]
            if block:
                yield block
            if is_last:
                return


def _parse_block(block: bytearray, names: Sequence[str], types: Mapping[str, Any]) -> ArrowArray:
    # A mark of the byte order is text here; Arrow would skip it.
    if block.startswith(codecs.BOM_UTF8):
        raise _Odd
    # Whole numbers have no type here; Arrow takes "0x1F" for one, which is text.
    if len(types) < len(names) and _has_hex(block):
        raise _Odd
    return _parse(
        pa.BufferReader(pa.py_buffer(block)), names, types, quote=False, block_bytes=len(block) + 1
    )


def _parse(
    source: Any,  # noqa: ANN401 - a path or Arrow's reader
    names: Sequence[str],
    types: Mapping[str, Any],
    quote: str | bool,  # noqa: FBT001 - Arrow's own
    *,
    skip: int = 0,
    block_bytes: int | None = None,
) -> ArrowArray:
    """The rows of a source; on this thread where they are one block, else on all."""
    return pacsv.read_csv(
        source,
        read_options=pacsv.ReadOptions(
            use_threads=block_bytes is None,
            block_size=block_bytes or _BLOCK_BYTES,
            column_names=list(names),
            skip_rows=skip,
        ),
        parse_options=pacsv.ParseOptions(quote_char=quote, newlines_in_values=quote is not False),
        convert_options=pacsv.ConvertOptions(
            column_types=dict(types), null_values=[], strings_can_be_null=False
        ),
    )


def _found_real(batch: ArrowArray, kinds: Kinds) -> set[str]:
    """Columns guessed to be of whole numbers that hold others; raises _Odd for anything else."""
    integers = {name: batch.column(name) for name, kind in kinds.items() if kind == _INTEGER}
    found = {name for name, array in integers.items() if pa.types.is_float64(array.type)}
    if any(not pa.types.is_int64(integers[name].type) for name in integers.keys() - found):
        raise _Odd
    return found


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

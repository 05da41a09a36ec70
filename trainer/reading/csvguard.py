"""A CSV file's bytes on their way to the parser: what must stop before a parser sees it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import codecs
import csv
import io
from pathlib import Path

import numpy as np

from trainer.reading.table import check_names, check_row_count
from twofold.errors import InvalidData

#: Longest row in bytes. A quote that is never closed makes the rest of the file one row, so this
#: also bounds what the parser must hold.
MAX_ROW_BYTES = 1 << 20
_NEWLINE, _RETURN, _QUOTE = ord("\n"), ord("\r"), ord('"')


class CsvGuard(io.RawIOBase):
    """Hands out the file's bytes; raises InvalidData for NUL, an endless row or an open quote.

    Counts rows as the parser does: a newline within quotes ends none, and an empty line is none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._row = 0  # the header is row 0
        self._before = b"  "  # the last two bytes of the block before
        self._row_bytes = 0
        self._is_quoted = False

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def close(self) -> None:
        """See io.RawIOBase."""
        self._file.close()
        super().close()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, checked."""
        block = self._file.read(size)
        if b"\0" in block:
            row = self._row + self._count_rows(block[: block.index(b"\0")])
            raise _refusal(row, "has a NUL byte; only UTF-8 text is taken, not UTF-16 or binary")
        self._check_text(block)
        self._advance(block)
        if not block and self._is_quoted:
            raise _refusal(self._row, "opens a quote that is never closed")
        return block

    def _check_text(self, block: bytes) -> None:
        kept = len(self._decoder.getstate()[0])  # bytes of a character that began a block earlier
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            row = self._row + self._count_rows(block[: max(0, error.start - kept)])
            raise _refusal(row, "is not valid UTF-8") from error

    def _advance(self, block: bytes) -> None:
        starts = np.concatenate(([0], self._line_ends(block) + 1))
        lengths = np.diff(np.append(starts, len(block)))
        lengths[0] += self._row_bytes
        longest = int(lengths.argmax())
        if lengths[longest] > MAX_ROW_BYTES:
            row = self._row + self._count_rows(block[: starts[longest]])
            hint = "; is a quote left open?" if b'"' in block or self._is_quoted else ""
            raise _refusal(row, f"is longer than {MAX_ROW_BYTES} bytes{hint}")
        self._row += self._count_rows(block)
        self._row_bytes = int(lengths[-1])
        self._is_quoted ^= block.count(b'"') % 2 == 1
        self._before = (self._before + block)[-2:]

    def _count_rows(self, block: bytes) -> int:
        data = np.frombuffer(self._before + block, dtype=np.uint8)
        ends = self._line_ends(block)
        last, last_but_one = data[ends + 1], data[ends]
        is_empty = (last == _NEWLINE) | ((last == _RETURN) & (last_but_one == _NEWLINE))
        return int(np.count_nonzero(~is_empty))

    def _line_ends(self, block: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Offsets of the newlines outside quotes."""
        data = np.frombuffer(block, dtype=np.uint8)
        newlines = np.flatnonzero(data == _NEWLINE)
        if not self._is_quoted and b'"' not in block:
            return newlines
        quotes = np.flatnonzero(data == _QUOTE)
        depth = np.searchsorted(quotes, newlines) + self._is_quoted
        return newlines[depth % 2 == 0]


def read_header(path: Path) -> list[str]:
    """The column names; raises InvalidData for a header that is not usable."""
    with path.open("rb") as file:
        head = file.read(MAX_ROW_BYTES + 1)
    if b"\0" in head.partition(b"\n")[0]:
        raise InvalidData("the file has NUL bytes; only UTF-8 text is taken, not UTF-16 or binary")
    text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode(head)
    lines = io.StringIO(text, newline="")
    try:
        names = next(csv.reader(lines, strict=True), [])
    except csv.Error as error:
        raise InvalidData("the header row cannot be read; is a quote left open?") from error
    if not names:
        raise InvalidData("the first row is empty; it must name the columns")
    if "�" in "".join(names):
        raise InvalidData("the header row is not valid UTF-8")
    check_names(names)
    if not lines.read(1):
        check_row_count(0)
    return names


def _refusal(row: int, text: str) -> InvalidData:
    if row == 0:
        return InvalidData(f"the header row {text}")
    return InvalidData(f"row {row} {text}", row=row)

"""A CSV file's bytes on their way to the parser: what must stop before a parser sees it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import codecs
import csv
import io
from pathlib import Path

import numpy as np

from trainer.reading.table import check_names
from twofold.errors import InvalidData

#: Longest row in bytes. A quote that is never closed makes the rest of the file one row, so this
#: also bounds what the parser must hold.
MAX_ROW_BYTES = 1 << 20
_NEWLINE, _QUOTE = ord("\n"), ord('"')


class CsvGuard(io.RawIOBase):
    """Hands out the file's bytes; raises InvalidData for NUL, an endless row or an open quote.

    Counts rows as RFC 4180 does: a newline within quotes ends none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._row = 0  # the header is row 0
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
            at = self._row + self._count_rows(block[: block.index(b"\0")])
            raise InvalidData(
                f"row {at} has a NUL byte; only UTF-8 text is taken, not UTF-16 or binary", row=at
            )
        self._check_text(block)
        self._advance(block)
        if not block and self._is_quoted:
            raise _open_quote(self._row)
        return block

    def _check_text(self, block: bytes) -> None:
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = self._row + self._count_rows(block[: error.start])
            raise InvalidData(f"row {at} is not valid UTF-8", row=at) from error

    def _advance(self, block: bytes) -> None:
        ends = self._row_ends(block)
        starts = np.concatenate(([0], ends + 1))
        lengths = np.diff(np.append(starts, len(block)))
        lengths[0] += self._row_bytes
        longest = int(lengths.argmax())
        if lengths[longest] > MAX_ROW_BYTES:
            raise _long_row(self._row + longest, is_quoted=b'"' in block or self._is_quoted)
        self._row += len(ends)
        self._row_bytes = int(lengths[-1])
        self._is_quoted ^= block.count(b'"') % 2 == 1

    def _count_rows(self, block: bytes) -> int:
        return len(self._row_ends(block))

    def _row_ends(self, block: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
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
    if b"\0" in head:
        raise InvalidData("the file has NUL bytes; only UTF-8 text is taken, not UTF-16 or binary")
    text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode(head)
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error as error:
        raise InvalidData("the header row cannot be read; is a quote left open?") from error
    if not names:
        raise InvalidData("the first row is empty; it must name the columns")
    if "�" in "".join(names):
        raise InvalidData("the header row is not valid UTF-8")
    return check_names(names)


def _open_quote(row: int) -> InvalidData:
    return InvalidData(f"row {row} opens a quote that is never closed", row=row)


def _long_row(row: int, *, is_quoted: bool) -> InvalidData:
    hint = "; is a quote left open?" if is_quoted else ""
    return InvalidData(f"row {row} is longer than {MAX_ROW_BYTES} bytes{hint}", row=row)

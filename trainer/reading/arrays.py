"""NumPy's own format into arrays and tables; archives are trainer.reading.npz's. Never a pickle.

A header is believed only if it and its data fill the file (or archive member) to the byte, so no
header can claim more than it brings.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import io
import math
import sys
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trainer.reading.table import (
    MAX_ARRAY_COLUMNS,
    MAX_ROWS,
    Table,
    Values,
    bad_cell,
    check_reals,
    check_row_count,
)  # fmt: skip
from twofold.errors import InvalidData, shorten

#: Rows and columns.
_TABLE_RANK = 2
_MAGIC = b"\x93NUMPY"
#: NumPy's own headers of plain arrays take 128 bytes; its reader refuses above 10,000.
_MAX_HEADER_BYTES = 10_000
#: Longest text of a cell, in characters.
_MAX_TEXT_LENGTH = 1_000
_CHUNK_BYTES = 4 << 20

#: Of NumPy's header reader, which evaluates a literal; short texts can exhaust its parser.
_HEADER_ERRORS = (
    ValueError, TypeError, SyntaxError, RecursionError, MemoryError, KeyError, tokenize.TokenError,
)  # fmt: skip


def read_npy(path: Path) -> Table:
    """Columns x0 ... and, last, y, of one array [rows, columns]; raises InvalidData."""
    with path.open("rb") as file:
        array = read_array(file, path.stat().st_size, "the array", _TABLE_RANK)
    matrix = check_numbers(check_matrix(array, "the array"), "the array")
    check_row_count(len(matrix))
    names = [f"x{index}" for index in range(matrix.shape[1] - 1)] + ["y"]
    columns = zip(names, split(matrix), strict=True)
    return Table({name: canonical(name, values) for name, values in columns}, len(matrix))


def split(matrix: NDArray[Any]) -> list[NDArray[Any]]:
    """The columns of [rows, columns], each contiguous."""
    return list(np.ascontiguousarray(matrix.T))


def canonical(name: str, values: NDArray[Any]) -> Values:
    """float32 or float64, int64, bool, or objects of type str; raises InvalidData for a hole."""
    if values.dtype.kind == "f":
        # By size: other byte orders are the same numbers. 16 bits cannot be compared to the limit.
        is_double = values.dtype.itemsize == 8  # noqa: PLR2004 - bytes
        reals = values.astype(np.float64) if is_double else values.astype(np.float32)
        check_reals([name], reals[:, np.newaxis], 1)
        return reals
    if values.dtype.kind == "u" and values.max() > np.iinfo(np.int64).max:
        index = int(values.argmax())
        raise bad_cell(index + 1, name, str(values[index]))
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind == "b":
        # A file can hold any byte for a boolean, and NumPy would compute with that byte.
        return values.view(np.uint8) != 0
    return _texts(name, values)


def _texts(name: str, values: NDArray[Any]) -> NDArray[np.object_]:
    if values.dtype.kind == "U":
        _check_code_points(name, values)
    distinct, codes = np.unique(values, return_inverse=True)
    texts = [_decode(value) for value in distinct.tolist()]
    for index, text in enumerate(texts):
        if not text:
            row = int(np.argmax(codes == index)) + 1
            raise _not_unicode(row, name) if text is None else bad_cell(row, name, "missing")
    return np.array([*texts, None], dtype=np.object_)[codes]


def _check_code_points(name: str, values: NDArray[Any]) -> None:
    """Refuses what no str can hold: NumPy keeps any 32 bits for a character."""
    points = values.view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
    is_wild = points > sys.maxunicode
    if is_wild.any():
        width = len(points) // len(values)
        raise _not_unicode(int(np.argmax(is_wild)) // width + 1, name)


def _decode(value: str | bytes) -> str | None:
    """The text; None where it is not Unicode."""
    try:
        text = value if isinstance(value, str) else value.decode()
        text.encode()  # a lone surrogate is a character, but not text
    except UnicodeError:
        return None
    return text


def _not_unicode(row: int, column: str) -> InvalidData:
    text = f"row {row}, column {column} holds text that is not valid Unicode"
    return InvalidData(text, row=row, column=column)


def check_matrix(array: NDArray[Any], what: str) -> NDArray[Any]:
    """The array; raises InvalidData unless it is [rows, columns]."""
    if array.ndim != _TABLE_RANK or not 1 <= array.shape[1] <= MAX_ARRAY_COLUMNS:
        raise InvalidData(
            f"{what} has the shape {array.shape}; needed is [rows, columns] with 1 to "
            f"{MAX_ARRAY_COLUMNS} columns"
        )
    return array


def check_numbers(array: NDArray[Any], what: str) -> NDArray[Any]:
    """The array; raises InvalidData where it holds text."""
    if array.dtype.kind in "US":
        raise InvalidData(f"{what} holds text; taken are floats, integers and booleans")
    return array


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    size_bytes: int


def read_array(file: IO[bytes], size_bytes: int, what: str, max_rank: int) -> NDArray[Any]:
    """The array in NumPy's format of a file of this size; raises InvalidData."""
    header = _read_header(file, what, max_rank)
    data_bytes = math.prod(header.shape) * header.dtype.itemsize
    if header.size_bytes + data_bytes != size_bytes:
        raise InvalidData(
            f"{what} claims {data_bytes} bytes of data, but {size_bytes - header.size_bytes} are "
            "there"
        )
    data = np.empty(data_bytes, dtype=np.uint8)
    _fill(file, data.data, what)
    order = "F" if header.is_fortran else "C"
    return data.view(header.dtype).reshape(header.shape, order=order)


def _fill(file: IO[bytes], room: memoryview, what: str) -> None:
    filled = 0
    while filled < len(room):
        part = file.read(min(_CHUNK_BYTES, len(room) - filled))
        if not part:
            raise InvalidData(f"{what} ends after {filled} of {len(room)} bytes")
        room[filled : filled + len(part)] = part
        filled += len(part)


def _read_header(file: IO[bytes], what: str, max_rank: int) -> _Header:
    """The checked header of NPY format 1.0, 2.0 or 3.0. Source: numpy.lib.format."""
    start = file.read(8)
    if len(start) < 8 or start[:6] != _MAGIC or start[6] not in {1, 2, 3}:  # noqa: PLR2004 - magic, version
        raise InvalidData(f"{what} is not in NumPy's format")
    width = 2 if start[6] == 1 else 4
    length_field = file.read(width)
    length = int.from_bytes(length_field, "little")
    if length > _MAX_HEADER_BYTES:
        raise InvalidData(f"{what} has a header of {length} bytes; at most {_MAX_HEADER_BYTES}")
    text = length_field + file.read(length)
    # Formats 2.0 and 3.0 differ in the text's encoding alone, which plain types do not use.
    read = (
        np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0  # noqa: PLR2004 - as above
    )
    try:
        with warnings.catch_warnings(action="ignore"):  # "1L": written by Python 2
            shape, is_fortran, dtype = read(io.BytesIO(text))
    except _HEADER_ERRORS as error:
        raise InvalidData(f"{what} has an unreadable header") from error
    shape = _check_shape(shape, what, max_rank)
    return _Header(_check_dtype(dtype, what), shape, is_fortran, 8 + len(text))


def _check_shape(shape: tuple[int, ...], what: str, max_rank: int) -> tuple[int, ...]:
    is_odd = any(isinstance(n, bool) or not 0 <= n <= MAX_ROWS for n in shape)
    if is_odd or len(shape) > max_rank:
        needed = "[rows, columns]"
        if max_rank > _TABLE_RANK:
            needed = f"at most {max_rank} dimensions of at most {MAX_ROWS}"
        raise InvalidData(f"{what} has the shape {shorten(shape)}; needed is {needed}")
    return shape


def _check_dtype(dtype: np.dtype[Any], what: str) -> np.dtype[Any]:
    is_plain = dtype.kind in "biuf" and dtype.itemsize <= 8  # noqa: PLR2004 - bytes: no long double
    is_text = dtype.kind in "US" and 0 < dtype.itemsize <= 4 * _MAX_TEXT_LENGTH
    if dtype.names is not None or dtype.subdtype is not None or not (is_plain or is_text):
        raise InvalidData(
            f"{what} has the type {shorten(str(dtype))}; taken are floats, integers and booleans, "
            "and text for columns"
        )
    return dtype

"""NumPy archives into a table: members are columns, targets, and arrays of any shape.

Member x of rank 2 is the columns x0, x1 ..., y of rank 2 the columns y0, y1 ...; any other member
of rank 1 is a column of its name, and of a higher rank an array of its name. Nothing is believed
that an archive says of itself: see trainer.reading.arrays.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trainer.reading.arrays import canonical, check_matrix, check_numbers, read_array, split
from trainer.reading.row_arrays import row_array
from trainer.reading.table import (
    MAX_ARRAY_COLUMNS,
    MAX_ARRAY_RANK,
    RowArray,
    Table,
    Values,
    check_row_count,
)
from twofold.errors import InvalidData, shorten

#: Most members: each may be an input of a network, which has as many.
MAX_MEMBERS = 64
_SUFFIX = ".npy"
#: What may be the name of an input, and of an argument in Python.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_ALLOWED = "names of letters, digits and '_', at most 63, such as x, y or image"
#: The wire's own name for text columns.
_RESERVED = "category"
_X, _Y = "x", "y"
_TABLE_RANK = 2

_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
#: In archives above 2 GiB these stand in front of it, and what the first says counts.
_BIG_END = struct.Struct("<4sQ2H2L4Q")
_BIG_END_LOCATOR = struct.Struct("<4sLQL")
#: Entries of MAX_MEMBERS with the longest names and the sizes of large members need no more.
_MAX_DIRECTORY_BYTES = 16_384
#: Deflate reaches 1,032 : 1 on zeros. Real tables stay far below; small ones may do as they like.
_MAX_RATIO = 200
_FREE_BYTES = 64 << 20
#: What NumPy writes. Other methods' errors and ratios are their own.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError,
)  # fmt: skip


def read_npz(path: Path) -> Table:
    """The table of an archive's members, y last; raises InvalidData."""
    _check_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: _read(archive, info) for name, info in _members(archive).items()}
    except _ZIP_ERRORS as error:
        raise InvalidData("the file is not an archive as numpy.savez writes it") from error
    row_count = _row_count(members)
    columns: dict[str, Values] = {}
    arrays: dict[str, RowArray] = {}
    for name, array in members.items():
        if _is_array(name, array):
            arrays[name] = row_array(name, array)
            continue
        for column, values in _columns(name, array):
            if column in columns or column in members.keys() - {name}:
                raise InvalidData(f"two columns have the name {column}", column=column)
            columns[column] = canonical(column, values)
    if len(columns) > MAX_ARRAY_COLUMNS:
        raise InvalidData(f"there are more than {MAX_ARRAY_COLUMNS} columns, which is the limit")
    return Table(columns, row_count, arrays=arrays)


def _is_array(name: str, array: NDArray[Any]) -> bool:
    if name == _Y and array.ndim > _TABLE_RANK:
        text = f"y has the shape {array.shape}; taken are [rows] and [rows, targets]"
        raise InvalidData(text, column=_Y)
    return array.ndim > (_TABLE_RANK if name in (_X, _Y) else 1)


def _columns(name: str, array: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns of a member that is no array, by name."""
    if name == _X:
        check_numbers(check_matrix(array, _X), _X)
    if array.ndim == 1:
        yield name, array
        return
    for index, values in enumerate(split(check_matrix(array, name))):
        yield f"{name}{index}", values


def _row_count(members: Mapping[str, NDArray[Any]]) -> int:
    """The rows that all members have; raises InvalidData where they differ."""
    first, array = next(iter(members.items()))
    row_count = len(array) if array.ndim else 0
    for name, other in members.items():
        if other.ndim < 1 or len(other) != row_count:
            raise InvalidData(
                f"{name} has the shape {other.shape}; needed is one value for each of the "
                f"{row_count} rows of {first}",
                column=name,
            )
    return check_row_count(row_count)


def _check_directory(path: Path) -> None:
    """Refuses an archive of too many members before its directory is read."""
    with path.open("rb") as file:
        room = _BIG_END.size + _BIG_END_LOCATOR.size + _END_OF_DIRECTORY.size
        file.seek(max(0, path.stat().st_size - room))
        tail = file.read(room)
    end = tail[-_END_OF_DIRECTORY.size :]
    if len(end) < _END_OF_DIRECTORY.size or not end.startswith(b"PK\5\6"):
        raise InvalidData("the file is not an archive as numpy.savez writes it")
    _, disk, first_disk, here, count, directory_bytes, _, _ = _END_OF_DIRECTORY.unpack(end)
    if len(tail) == room and tail[_BIG_END.size :].startswith(b"PK\6\7"):
        big = _BIG_END.unpack_from(tail)
        disk, first_disk, here, count, directory_bytes = big[4:9]
    if disk or first_disk or here != count:
        raise InvalidData("the archive is one of several parts; taken is a whole one")
    if not 1 <= count <= MAX_MEMBERS:
        raise InvalidData(f"the archive has {count} members; taken are 1 to {MAX_MEMBERS}")
    if directory_bytes > _MAX_DIRECTORY_BYTES:
        raise InvalidData(f"the archive's directory takes {directory_bytes} bytes")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by their names without suffix; y is the last. Raises InvalidData."""
    infos = archive.infolist()
    names = [info.filename.removesuffix(_SUFFIX) for info in infos]
    for name, info in zip(names, infos, strict=True):
        _check_name(name, info)
        _check_member(info)
    if len(set(names)) < len(names) or set(names) == {_Y}:
        raise InvalidData(
            f"the archive has the members {shorten(names)}; taken are members of different names, "
            "and at least one besides y"
        )
    _check_size("the archive", sum(i.file_size for i in infos), sum(i.compress_size for i in infos))
    return dict(sorted(zip(names, infos, strict=True), key=lambda member: member[0] == _Y))


def _check_name(name: str, info: zipfile.ZipInfo) -> None:
    is_ours = info.filename.endswith(_SUFFIX) and _NAME.fullmatch(name) is not None
    if not is_ours or name == _RESERVED:
        what = f"the archive has a member {shorten(info.filename)}"
        if name == _RESERVED:
            raise InvalidData(f"{what}; the name is the wire's own: choose another one")
        raise InvalidData(f"{what}; taken are {_ALLOWED}, as numpy.savez writes them")


def _check_member(info: zipfile.ZipInfo) -> None:
    if info.header_offset < 0:  # seeking there would look like a failure of the disk
        raise zipfile.BadZipFile(info.filename)
    if info.compress_type not in _METHODS:
        raise InvalidData(f"{info.filename} is compressed in another way than NumPy does")
    _check_size(info.filename, info.file_size, info.compress_size)


def _check_size(what: str, size_bytes: int, compressed_bytes: int) -> None:
    if size_bytes > max(_FREE_BYTES, compressed_bytes * _MAX_RATIO):
        raise InvalidData(
            f"{what} claims {size_bytes} bytes out of {compressed_bytes}; at most {_MAX_RATIO} "
            "times as many are taken"
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    name = info.filename.removesuffix(_SUFFIX)
    with archive.open(info) as file:
        return read_array(file, info.file_size, name, 1 + MAX_ARRAY_RANK)

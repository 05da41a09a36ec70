"""Rows from NPZ archives, whose members are columns and arrays: as the trainer reads them."""
# pyright: reportUnknownMemberType=false

import re
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from twofold.cli import cells
from twofold.cli.cells import Wanted
from twofold.errors import InvalidData
from twofold.tensors import Array

_SUFFIX = ".npy"
_TABLE_DIMENSIONS = 2
#: Members whose columns are numbered: x0, x1 ..., and the targets y0, y1 ...
_NUMBERED = re.compile(r"([xy])(0|[1-9][0-9]*)")


def describe(path: Path) -> tuple[tuple[str, ...], int]:
    """The columns and arrays of an archive, and its rows, from the members' headers alone."""
    with _refusing(path), zipfile.ZipFile(path) as archive:
        shapes = {
            info.filename.removesuffix(_SUFFIX): _shape(archive.open(info))
            for info in archive.infolist()
        }
    names: list[str] = []
    for name, shape in shapes.items():
        is_numbered = name in ("x", "y") and len(shape) == _TABLE_DIMENSIONS
        names += [f"{name}{place}" for place in range(shape[1])] if is_numbered else [name]
    return tuple(names), max((shape[0] for shape in shapes.values() if shape), default=0)


def batches(path: Path, wanted: Wanted, size: int) -> Iterator[dict[str, Array]]:
    """The wanted columns and arrays, at most `size` rows at a time.

    Members are read whole: an archive cannot be read in pieces.

    Raises InvalidData for what is missing or cannot be used; fields `row` and `column` where known.
    """
    with _refusing(path):
        columns = _columns(path, wanted)
    if len({len(array) for array in columns.values()}) > 1:
        raise InvalidData(f"the members of {path.name} have different numbers of rows")
    count = len(next(iter(columns.values()), ()))
    for first in range(0, count, size):
        yield {name: array[first : first + size] for name, array in columns.items()}


def _columns(path: Path, wanted: Wanted) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as archive:
        members = cast("Mapping[str, Array]", archive)
        read: dict[str, Array] = {}

        def column(name: str) -> Array:
            found = _NUMBERED.fullmatch(name)
            member = found[1] if found and name not in members else name
            if member not in members:
                raise _missing(name)
            if member not in read:
                read[member] = members[member]
            return _taken(name, read[member], int(found[2]) if found and member != name else None)

        return {
            **{name: _numbers(name, column(name)) for name in wanted.numeric},
            **{name: _texts(name, column(name)) for name in wanted.category},
            **{name: _array(name, column(name)) for name in wanted.arrays},
            **{name: _plain(column(name)) for name in wanted.other},
        }


def _taken(name: str, member: Array, place: int | None) -> Array:
    if place is None:
        return member
    if member.ndim != _TABLE_DIMENSIONS or place >= member.shape[1]:
        raise _missing(name)
    return member[:, place]


def _missing(name: str) -> InvalidData:
    return InvalidData(f"column {name} is missing; the model needs it once", column=name)


def _column(name: str, values: Array) -> Array:
    if values.ndim != 1:
        shown = f"column {name} has the shape {values.shape}; expected one value a row"
        raise InvalidData(shown, column=name)
    return values


def _numbers(name: str, values: Array) -> Array:
    if _column(name, values).dtype.kind not in "biuf":
        raise InvalidData(f"column {name} holds {values.dtype}; expected numbers", column=name)
    numbers = values.astype(np.float64)
    is_good = np.isfinite(numbers)
    if not is_good.all():
        row = int(np.argmin(is_good))
        raise cells.bad_cell(float(numbers[row]), row + 1, name, "a number")
    return numbers


def _texts(name: str, values: Array) -> Array:
    texts = _plain(_column(name, values))
    for row, text in enumerate(texts.tolist(), start=1):
        if not isinstance(text, str) or not text:
            raise cells.bad_cell(text, row, name, "text")
    return texts


def _array(name: str, values: Array) -> Array:
    if values.ndim < _TABLE_DIMENSIONS or values.dtype.kind not in "biuf":
        shown = f"array {name} is {values.dtype} of shape {values.shape}"
        raise InvalidData(f"{shown}; expected numbers [rows, ...]", column=name)
    return values


def _plain(values: Array) -> Array:
    """Text as objects of type str, as other files give it; numbers as they are."""
    if values.dtype.kind not in "US":
        return values
    texts = np.empty(len(values), dtype=np.object_)
    is_bytes = values.dtype.kind == "S"
    texts[:] = [text.decode() if is_bytes else text for text in values.tolist()]
    return texts


def _shape(file: IO[bytes]) -> tuple[int, ...]:
    with file:
        version = np.lib.format.read_magic(file)
        readers: Mapping[bool, Callable[[IO[bytes]], Any]] = {
            True: np.lib.format.read_array_header_1_0,
            False: np.lib.format.read_array_header_2_0,
        }
        shape, _, _ = readers[version == (1, 0)](file)
        return shape


@contextmanager
def _refusing(path: Path) -> Generator[None]:
    """Raises InvalidData for what is no archive of plain arrays."""
    try:
        yield
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, KeyError, TypeError) as error:
        raise InvalidData(f"{path.name} cannot be read as an NPZ archive of arrays") from error

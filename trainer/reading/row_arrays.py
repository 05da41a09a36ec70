"""Arrays with many numbers in a row, such as images, as float32 or int64; none of them odd."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.reading.arrays import check_numbers
from trainer.reading.table import (
    MAX_ARRAY_RANK,
    MAX_ROW_NUMBERS,
    RowArray,
    are_good,
    bad_cell,
    bad_real,
)
from twofold.errors import InvalidData

#: Numbers that are looked at together: in the cache, and nothing large beside the array itself.
_BLOCK_NUMBERS = 1 << 18
_LARGEST = np.iinfo(np.int64).max


def row_array(name: str, array: NDArray[Any]) -> RowArray:
    """[rows, ...] as float32 or, for whole numbers, int64; the same memory where it is so already.

    Bytes and booleans become float32: that is what pixels and masks are. Whole numbers of any other
    width stay whole, as identifiers of tokens must.

    Raises:
        InvalidData: text, a shape that is too large, NaN, infinities, or what 32-bit floats or
            64-bit whole numbers cannot hold; names the row.
    """
    check_numbers(array, name)
    _check_shape(name, array.shape)
    is_whole = array.dtype.kind in "iu" and array.dtype != np.uint8
    kind = np.dtype(np.int64 if is_whole else np.float32)
    is_ready = array.dtype == kind and array.dtype.isnative and array.flags.c_contiguous
    made: NDArray[Any] = array if is_ready else np.empty(array.shape, kind)
    step = max(1, _BLOCK_NUMBERS // math.prod(array.shape[1:]))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        _check_block(name, block, start)
        if not is_ready:
            # A file can hold any byte for a boolean, and NumPy would compute with that byte.
            is_truth = block.dtype.kind == "b"
            made[start : start + step] = block.view(np.uint8) != 0 if is_truth else block
    return made


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    rest = shape[1:]
    if 0 in rest or len(rest) > MAX_ARRAY_RANK or math.prod(rest) > MAX_ROW_NUMBERS:
        raise InvalidData(
            f"{name} has the shape {shape}; a row has 1 to {MAX_ARRAY_RANK} dimensions and 1 to "
            f"{MAX_ROW_NUMBERS} numbers",
            column=name,
        )


def _check_block(name: str, block: NDArray[Any], start: int) -> None:
    if block.dtype.kind == "f" and not are_good(block).all():
        place = tuple(np.argwhere(~are_good(block))[0].tolist())
        raise bad_real(start + place[0] + 1, name, float(block[place]))
    if block.dtype.kind == "u" and block.max() > _LARGEST:
        row = int(np.argwhere(block > _LARGEST)[0][0])
        raise bad_cell(start + row + 1, name, str(block[row].max()))

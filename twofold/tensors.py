"""Tensors as bytes, the way the Open Inference Protocol writes them (raw contents).

Row-major, little-endian, no padding. BYTES: each element is a 4-byte little-endian length and then
that many bytes; in numpy an object array of `bytes`. BF16 is not offered: numpy has no such type.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Any because numpy arrays carry their element type at run time only, and BYTES arrays are objects.
Array = NDArray[Any]

#: The protocol's name of each element type and numpy's, little-endian.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH = struct.Struct("<I")
TEXT_KINDS = "OSU"
#: numpy's own limit; also keeps the product of a hostile shape cheap.
MAX_RANK = 64


def datatype_of(array: Array) -> str:
    """The protocol's name of the array's element type; raises ValueError where it has none."""
    if array.dtype.kind in TEXT_KINDS:
        return "BYTES"
    name = _NAMES.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise ValueError(f"element type {array.dtype} has no datatype; allowed: {allowed()}")
    return name


def allowed() -> str:
    """The datatypes, for messages."""
    return ", ".join(DTYPES)


def to_raw(array: Array) -> bytes:
    """The array's bytes on the wire; text is sent as UTF-8.

    Raises:
        ValueError: the element type has no datatype.
        TypeError: an element of BYTES is neither bytes nor text.
    """
    datatype = datatype_of(array)
    if datatype == "BYTES":
        return b"".join(packed(element) for element in array.ravel())
    return array.astype(DTYPES[datatype], order="C", copy=False).tobytes()


def packed(element: object) -> bytes:
    """An element of BYTES as it travels; raises TypeError for what is neither bytes nor text."""
    data = element.encode() if isinstance(element, str) else element
    if not isinstance(data, bytes):
        raise TypeError(f"a {type(element).__name__} cannot be sent as BYTES; use bytes or text")
    return _LENGTH.pack(len(data)) + data


def from_raw(datatype: str, shape: Sequence[int], raw: bytes) -> Array:
    """The array that `raw` holds; numeric ones are read-only views, nothing is copied.

    Raises:
        ValueError: an unknown datatype, a negative dimension, or not exactly the bytes that the
            shape needs. Nothing is allocated by then, however large the shape.
    """
    dtype = dtype_of(datatype)
    count = element_count(shape)
    if datatype == "BYTES":
        return _from_bytes(shape, count, raw)
    size = count * dtype.itemsize
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes, but {datatype} {list(shape)} needs {size}")
    if datatype == "BOOL":  # a bool whose byte is neither 0 nor 1 is undefined in numpy
        return (np.frombuffer(raw, "u1") != 0).reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The element type of a datatype; raises ValueError for an unknown one."""
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise ValueError(f"datatype {datatype[:32]!r} is unknown; allowed: {allowed()}")
    return dtype


def element_count(shape: Sequence[int]) -> int:
    """The product of the dimensions, in integers that do not overflow; raises ValueError."""
    if len(shape) > MAX_RANK:
        raise ValueError(f"a shape of {len(shape)} dimensions; allowed: at most {MAX_RANK}")
    if any(dimension < 0 for dimension in shape):
        raise ValueError(f"shape {list(shape)} has a negative dimension")
    return math.prod(shape)


def _from_bytes(shape: Sequence[int], count: int, raw: bytes) -> Array:
    if count * _LENGTH.size > len(raw):  # each element has a length: refuse before allocating
        raise ValueError(f"{len(raw)} bytes cannot hold BYTES {list(shape)}")
    array = np.empty(count, dtype=object)
    position = 0
    for index in range(count):
        if position + _LENGTH.size > len(raw):
            raise ValueError(f"BYTES {list(shape)} ends within the length of element {index}")
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size
        array[index] = raw[position : position + length]
        position += length
        if position > len(raw):
            raise ValueError(f"BYTES {list(shape)} ends within element {index}")
    if position != len(raw):
        raise ValueError(f"BYTES {list(shape)} has {len(raw) - position} bytes too many")
    return array.reshape(shape)

"""Safetensors files: named tensors, described from their header alone. No torch."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from safetensors import SafetensorError, safe_open

from twofold.errors import InvalidData, shorten
from twofold.v1 import dataset_pb2

#: What graphs hold, in safetensors' names; see twofold.v1.DataType.
TYPES = frozenset({"F32", "F64", "I64", "I32", "BOOL"})
#: Most tensors: more than the modules and states of any graph have.
MAX_TENSORS = 65_536
MAX_NAME_LENGTH = 512


class _Slice(Protocol):
    """A tensor of a file, not read yet; the library has no types."""

    def get_dtype(self) -> str: ...

    def get_shape(self) -> list[int]: ...


class _File(Protocol):
    def keys(self) -> list[str]: ...

    def get_slice(self, name: str) -> _Slice: ...


@contextmanager
def _opened(path: Path) -> Generator[_File]:
    with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
        yield cast("_File", file)


def describe_weights(path: Path) -> dataset_pb2.Dataset:
    """A data set without rows and columns; raises InvalidData where the file is no such one.

    The library refuses a header that and its tensors do not fill the file to the byte.
    """
    try:
        with _opened(path) as file:
            names = file.keys()
            if len(names) > MAX_TENSORS:
                raise InvalidData(f"the file has {len(names)} tensors; allowed: {MAX_TENSORS}")
            for name in names:
                _check(name, file.get_slice(name).get_dtype())
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidData("the file is not of the format safetensors") from error
    return dataset_pb2.Dataset()


def read_shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor of a file that was described before, by name."""
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}


def _check(name: str, data_type: str) -> None:
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidData(f"the name of tensor {shorten(name)} is too long or not printable")
    if data_type not in TYPES:
        allowed = ", ".join(sorted(TYPES))
        raise InvalidData(f"tensor {shorten(name)} is {data_type}; allowed: {allowed}")

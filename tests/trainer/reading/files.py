"""Files as a hostile uploader makes them, and what every refusal must look like."""

import io
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from trainer.reading.table import Table
from twofold.errors import InvalidData

Read = Callable[[Path], Table]
PLAIN_HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }"


@dataclass(frozen=True)
class Refusal:
    """What a caller is told."""

    message: str
    fields: Mapping[str, str] = field(default_factory=dict[str, str])


def refusal_of(read: Read, path: Path) -> Refusal:
    """The refusal of a file; it must be fit for strangers."""
    with pytest.raises(InvalidData) as caught:
        read(path)
    message, fields = caught.value.message, caught.value.fields
    assert message
    assert len(message) < 700
    assert not re.search(rf"Traceback|0x[0-9a-f]{{8}}|pyarrow|{path.parent}", message)
    return Refusal(message, fields)


def columns_of(table: Table) -> dict[str, list[Any]]:
    """The cells of a table, as plain Python values."""
    assert all(len(values) == table.row_count for values in table.columns.values())
    return {name: values.tolist() for name, values in table.columns.items()}


def npy(array: ArrayLike) -> bytes:
    """The array as numpy.save writes it."""
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def npy_with(header: str | bytes, data: bytes = b"", version: int = 1) -> bytes:
    """A file in NumPy's format with any header and any data."""
    text = header if isinstance(header, bytes) else header.encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def npz(members: Mapping[str, bytes], method: int = ZIP_DEFLATED) -> bytes:
    """An archive of any members."""
    file = io.BytesIO()
    with ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def wild_text(code_point: int) -> NDArray[np.str_]:
    """Three texts, the second of which has a character of any 32 bits."""
    texts = np.array(["a", "b", "c"])
    texts.view(np.uint32)[1] = code_point
    return texts

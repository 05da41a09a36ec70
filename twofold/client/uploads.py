"""What an upload sends: the digest first, then the file in chunks."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from twofold.errors import InvalidData, InvalidField
from twofold.tensors import Array
from twofold.v1 import dataset_pb2 as pb

#: Bytes per message; the largest that the server takes.
CHUNK_BYTES = 1 << 20
#: Longest display name that the server takes.
_NAME_LIMIT = 255
_FORMATS = {
    ".csv": pb.DATASET_FORMAT_CSV,
    ".parquet": pb.DATASET_FORMAT_PARQUET,
    ".npz": pb.DATASET_FORMAT_NPZ,
    ".npy": pb.DATASET_FORMAT_NPY,
}
_TABLE_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send, as often as it takes."""

    header: pb.UploadHeader
    open: Callable[[], BinaryIO]

    def first(self) -> bytes:
        """The first message of the stream."""
        return pb.UploadDatasetRequest(header=self.header).SerializeToString()

    def messages(self) -> Iterator[bytes]:
        """The whole stream of one attempt; reads the file, so not on an event loop."""
        yield self.first()
        with self.open() as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk_message(chunk)


def chunk_message(chunk: bytes) -> bytes:
    """A later message of the stream."""
    return pb.UploadDatasetRequest(chunk=chunk).SerializeToString()


def from_file(path: Path, display_name: str | None = None) -> Upload:
    """The upload of a CSV, Parquet, NPZ or NPY file, by its suffix; reads it for the digest.

    Raises:
        InvalidField: the suffix is another.
        InvalidData: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise InvalidField.of("data", path.name, f"a file named *{', *'.join(_FORMATS)}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = file.tell()
    except OSError as error:
        raise InvalidData(f"cannot read {path.name}: {error.strerror}") from error
    header = pb.UploadHeader(
        format=_FORMATS[suffix],
        size_bytes=size_bytes,
        sha256=digest,
        display_name=_shown(path.name if display_name is None else display_name),
    )
    return Upload(header, lambda: path.open("rb"))


def from_arrays(x: ArrayLike, y: ArrayLike, display_name: str = "arrays") -> Upload:
    """The upload of rows `x` [rows, columns] and their targets `y` [rows], as an NPZ in memory.

    `x` may be of any numeric dtype; `y` numeric, boolean or text. The same arrays always make the
    same bytes, so the server stores them once.

    Raises:
        InvalidData: other shapes or types.
    """
    rows, targets = _rows(np.asarray(x)), _targets(np.asarray(y))
    if len(rows) != len(targets):
        raise InvalidData(f"x has {len(rows)} rows, but y has {len(targets)}")
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, x=rows, y=targets)
    data = buffer.getvalue()
    header = pb.UploadHeader(
        format=pb.DATASET_FORMAT_NPZ,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        display_name=_shown(display_name),
    )
    return Upload(header, lambda: io.BytesIO(data))


def _shown(name: str) -> str:
    return "".join(character for character in name if character.isprintable())[:_NAME_LIMIT]


def _rows(x: Array) -> Array:
    if x.ndim != _TABLE_DIMENSIONS or x.dtype.kind not in "biuf":
        raise InvalidData(f"x is {x.dtype} {list(x.shape)}; expected numbers [rows, columns]")
    return x


def _targets(y: Array) -> Array:
    flat = y.reshape(-1) if y.ndim == _TABLE_DIMENSIONS and y.shape[1] == 1 else y
    values: list[object] = flat.tolist() if flat.dtype.kind == "O" else []
    if values and all(isinstance(value, str) for value in values):
        flat = flat.astype(np.str_)
    if flat.ndim != 1 or flat.dtype.kind not in "biufU":
        raise InvalidData(f"y is {y.dtype} {list(y.shape)}; expected numbers or text [rows]")
    return flat

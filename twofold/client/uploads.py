"""What an upload sends: the digest first, then the file in chunks."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from twofold.client.retry import RetryPolicy, next_delay_s
from twofold.errors import (
    Conflict,
    InvalidData,
    InvalidField,
    TwofoldError,
    Unimplemented,
    shorten,
)
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
    ".safetensors": pb.DATASET_FORMAT_SAFETENSORS,
}
_TABLE_DIMENSIONS = 2
#: y is the targets', file NumPy's own argument; category is the wire's input of text columns.
_RESERVED = frozenset({"y", "file", "allow_pickle", "category"})
#: The column of the rows' weights.
WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send, as often as it takes."""

    header: pb.UploadHeader
    open: Callable[[], BinaryIO]

    def first(self, offset: int) -> bytes:
        """The first message of a stream that begins at `offset`."""
        header = pb.UploadHeader()
        header.CopyFrom(self.header)
        header.offset = offset
        return pb.UploadDatasetRequest(header=header).SerializeToString()

    def messages(self, offset: int) -> Iterator[bytes]:
        """The whole stream of one attempt; reads the file, so not on an event loop."""
        yield self.first(offset)
        with self.open() as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk_message(chunk)


class Sending:
    """An upload over as many streams as it takes. Decides; the clients send."""

    def __init__(self, upload: Upload, policy: RetryPolicy) -> None:
        self._size_bytes = upload.header.size_bytes
        self._policy = policy
        self._failures = 0
        #: Where the next stream begins.
        self.offset = 0
        #: Whether to ask how much has come before a stream begins: not for one chunk.
        self.must_ask = self._size_bytes > CHUNK_BYTES

    def found(self, committed_bytes: int) -> None:
        """The server's answer to that."""
        if self.offset < committed_bytes <= self._size_bytes:
            self._failures = 0  # the last stream came further, so another may reach the end
        self.offset = committed_bytes if committed_bytes <= self._size_bytes else 0

    def delay_s(self, error: TwofoldError, remaining_s: float, uniform: float) -> float | None:
        """The delay before the next stream after one failed; None: give up.

        UNAVAILABLE as for any call. ABORTED means that another stream, maybe a broken one of ours
        that the server has not given up yet, holds the file: waited for as long as there is time.
        """
        if isinstance(error, Unimplemented) and self.must_ask:
            self.must_ask = False  # a server of an earlier release: always the whole file
            return 0.0
        self._failures += 1
        if not isinstance(error, Conflict) or self._policy.attempts == 1:
            return next_delay_s(self._policy, error, self._failures, remaining_s, uniform)
        delay_s = self._policy.delay_s(self._failures, uniform)
        return delay_s if delay_s < remaining_s else None


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


def from_arrays(
    x: ArrayLike | Mapping[str, ArrayLike],
    y: ArrayLike,
    display_name: str = "arrays",
    weight: ArrayLike | None = None,
) -> Upload:
    """The upload of rows `x` and their targets `y`, as an NPZ in memory.

    `x` is numbers [rows, columns], or an array of a higher rank, such as images [rows, C, H, W]; or
    several of them by name, then also columns [rows]. `y` is numeric, boolean or text [rows], the
    column "y", or numeric or boolean [rows, targets], the columns "y0", "y1" and so on; `weight`
    numeric [rows], the column WEIGHT. The same arrays always make the same bytes, so the server
    stores them once.

    Raises:
        InvalidData: other shapes or types.
    """
    targets = _targets(np.asarray(y))
    taken = {*target_names(y), *([] if weight is None else [WEIGHT])}
    members = _members(x, taken) if isinstance(x, Mapping) else {"x": _rows(np.asarray(x))}
    for name, array in members.items():
        if len(array) != len(targets):
            raise InvalidData(f"{name} has {len(array)} rows, but y has {len(targets)}")
    if weight is not None:
        members[WEIGHT] = _weights(np.asarray(weight), len(targets))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **members, y=targets)
    return _in_memory(buffer.getvalue(), pb.DATASET_FORMAT_NPZ, display_name)


def from_weights(data: bytes, display_name: str = "weights") -> Upload:
    """The upload of a network's weights, the bytes of a safetensors file."""
    return _in_memory(data, pb.DATASET_FORMAT_SAFETENSORS, display_name)


def _in_memory(data: bytes, file_format: pb.DatasetFormat, display_name: str) -> Upload:
    header = pb.UploadHeader(
        format=file_format,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        display_name=_shown(display_name),
    )
    return Upload(header, lambda: io.BytesIO(data))


def _shown(name: str) -> str:
    return "".join(character for character in name if character.isprintable())[:_NAME_LIMIT]


def _rows(x: Array) -> Array:
    if x.ndim < _TABLE_DIMENSIONS or x.dtype.kind not in "biuf":
        raise InvalidData(f"x is {x.dtype} {list(x.shape)}; expected numbers [rows, columns]")
    return x


def _members(arrays: Mapping[str, ArrayLike], taken: set[str]) -> dict[str, Array]:
    members = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in members.items():
        if not name.isidentifier() or name in (_RESERVED | taken):
            raise InvalidData(
                f"{shorten(name)!r} cannot be an array's name; use letters, such as image"
            )
        if array.ndim < 1 or array.dtype.kind not in ("biuf" if array.ndim > 1 else "biufU"):
            found = f"{name} is {array.dtype} {list(array.shape)}"
            raise InvalidData(f"{found}; expected numbers [rows, ...] or a column [rows]")
    return members


def target_names(y: ArrayLike) -> list[str]:
    """The columns that `y` becomes."""
    shape = np.shape(y)
    several = len(shape) == _TABLE_DIMENSIONS and shape[1] > 1
    return [f"y{index}" for index in range(shape[1])] if several else ["y"]


def _weights(weight: Array, row_count: int) -> Array:
    if weight.shape != (row_count,) or weight.dtype.kind not in "biuf":
        found = f"{weight.dtype} {list(weight.shape)}"
        raise InvalidData(f"sample_weight is {found}; expected numbers [{row_count}]")
    return weight


def _targets(y: Array) -> Array:
    if y.ndim == _TABLE_DIMENSIONS and y.shape[1] > 1 and y.dtype.kind in "biuf":
        return y
    flat = y.reshape(-1) if y.ndim == _TABLE_DIMENSIONS and y.shape[1] == 1 else y
    values: list[object] = flat.tolist() if flat.dtype.kind == "O" else []
    if values and all(isinstance(value, str) for value in values):
        flat = flat.astype(np.str_)
    if flat.ndim != 1 or flat.dtype.kind not in "biufU":
        raise InvalidData(
            f"y is {y.dtype} {list(y.shape)}; expected numbers or text [rows], or numbers "
            "[rows, targets]"
        )
    return flat

"""The outputs of a batch, cut by rows: each request has views, or bytes, of one whole."""

from collections.abc import Iterator, Mapping

from twofold import tensors
from twofold.tensors import Array


class Outputs:
    """The outputs of all requests that ran together, rows after rows.

    `kept` is for who encodes them: what all requests of the batch have in common is made once.
    """

    __slots__ = ("arrays", "kept")

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        #: By name; each [rows of the batch, ...].
        self.arrays = arrays
        self.kept: object = None


class RequestOutputs(Mapping[str, Array]):
    """One request's rows of a batch, `start` up to before `stop`; views, made when looked at."""

    __slots__ = ("start", "stop", "whole")

    def __init__(self, whole: Outputs, start: int, stop: int) -> None:
        self.whole = whole
        self.start = start
        self.stop = stop

    def __getitem__(self, name: str) -> Array:
        return self.whole.arrays[name][self.start : self.stop]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole.arrays)

    def __len__(self) -> int:
        return len(self.whole.arrays)


class RawRows:
    """An array as it travels (see tensors.to_raw), converted once and cut by rows."""

    __slots__ = ("_data", "_rows", "_size")

    def __init__(self, array: Array) -> None:
        """`array` is [rows, ...], of at least one row."""
        #: Of text, whose rows have no common size.
        self._rows: list[bytes] | None = None
        self._data, self._size = b"", 0
        if array.dtype.kind in tensors.TEXT_KINDS:
            packed = [tensors.packed(element) for element in array.ravel()]
            rows, width = len(array), len(packed) // len(array)
            self._rows = [b"".join(packed[row * width : (row + 1) * width]) for row in range(rows)]
        else:
            self._data = tensors.to_raw(array)
            self._size = len(self._data) // len(array)

    def of(self, start: int, stop: int) -> bytes:
        """The bytes of some rows."""
        if self._rows is None:
            return self._data[start * self._size : stop * self._size]
        if stop == start + 1:
            return self._rows[start]
        return b"".join(self._rows[start:stop])

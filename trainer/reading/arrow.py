"""Arrow batches into columns of a table: shared by CSV and Parquet."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from trainer.reading.table import Values, bad_cell, check_reals
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2

# Its functions are made as it is imported: nothing knows their types.
pc: Any = pyarrow.compute
# pyarrow ships no types: its objects are Any here and nowhere further.
ArrowArray = Any

_DTYPES: dict[dataset_pb2.ColumnKind, type[np.generic]] = {
    dataset_pb2.COLUMN_KIND_REAL: np.float64,
    dataset_pb2.COLUMN_KIND_INTEGER: np.int64,
    dataset_pb2.COLUMN_KIND_BOOLEAN: np.bool_,
    dataset_pb2.COLUMN_KIND_CATEGORY: np.object_,
}


class ColumnWriter:
    """Fills one column, batch by batch; equal texts share one str object."""

    def __init__(self, name: str, kind: dataset_pb2.ColumnKind, row_count: int) -> None:
        self._name = name
        self._kind = kind
        self._texts: dict[str, str] = {}
        self._filled = 0
        self._values = np.empty(row_count, dtype=_DTYPES[kind])

    def append(self, array: ArrowArray) -> None:
        """Takes the next cells; raises InvalidData for a missing or unusable one."""
        stop = self._filled + len(array)
        if stop > len(self._values):
            raise InvalidData(f"the file has more rows than the {len(self._values)} it claims")
        is_null = pc.is_null(array)  # also where a dictionary's entry is the null
        if pc.any(is_null).as_py():
            index = pc.index(is_null, value=True).as_py()
            raise bad_cell(self._filled + index + 1, self._name, "missing")
        self._values[self._filled : stop] = self._convert(array)
        self._filled = stop

    def finish(self) -> Values:
        """The whole column; raises InvalidData where rows are missing."""
        if self._filled != len(self._values):
            raise InvalidData(f"the file claims {len(self._values)} rows but holds {self._filled}")
        return self._values  # pyright: ignore[reportReturnType] - one of the dtypes above

    def _convert(self, array: ArrowArray) -> NDArray[Any]:
        if self._kind == dataset_pb2.COLUMN_KIND_CATEGORY:
            return self._convert_texts(array)
        if self._kind == dataset_pb2.COLUMN_KIND_REAL:
            reals = np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False))
            check_reals(self._name, reals, self._filled + 1)
            return reals
        if self._kind == dataset_pb2.COLUMN_KIND_INTEGER:
            return self._convert_integers(array)
        return np.asarray(array.to_numpy(zero_copy_only=False))

    def _convert_integers(self, array: ArrowArray) -> NDArray[np.int64]:
        try:
            return np.asarray(array.cast(pa.int64()).to_numpy(zero_copy_only=False))
        except pa.ArrowInvalid as error:
            largest = np.iinfo(np.int64).max
            index = next(i for i, v in enumerate(array.to_pylist()) if v > largest)
            cell = str(array[index].as_py())
            raise bad_cell(self._filled + index + 1, self._name, cell) from error

    def _convert_texts(self, array: ArrowArray) -> NDArray[np.object_]:
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        texts: list[str] = [self._share(text) for text in encoded.dictionary.to_pylist()]
        vocabulary = np.array([*texts, ""], dtype=np.object_)[:-1]
        codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False))
        cells: NDArray[np.object_] = vocabulary[codes]
        if "" in self._texts and (empty := cells == "").any():
            raise bad_cell(self._filled + int(np.argmax(empty)) + 1, self._name, "missing")
        return cells

    def _share(self, text: str) -> str:
        return self._texts.setdefault(text, text)


def translate(refusal: str, read: Callable[[], Any]) -> Any:  # noqa: ANN401 - Arrow's objects
    """What `read` returns; an error of Arrow is a refusal of the file, memory stays memory.

    Arrow raises OSError for a bad file too, so only an OSError with an errno is the disk's.
    """
    try:
        return read()
    except pa.ArrowMemoryError as error:
        raise MemoryError from error
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise InvalidData(refusal) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise InvalidData(refusal) from error

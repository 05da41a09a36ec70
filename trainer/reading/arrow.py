"""Arrow's columns into a table: shared by CSV and Parquet."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from trainer.reading.table import Matrix, Table, Values, bad_cell, bad_real
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2

# Its functions are made as it is imported: nothing knows their types.
pc: Any = pyarrow.compute
# pyarrow ships no types: its objects are Any here and nowhere further.
ArrowArray = Any

_REAL = dataset_pb2.COLUMN_KIND_REAL
_DTYPES: dict[dataset_pb2.ColumnKind, type[np.generic]] = {
    _REAL: np.float32,
    dataset_pb2.COLUMN_KIND_INTEGER: np.int64,
    dataset_pb2.COLUMN_KIND_BOOLEAN: np.bool_,
    dataset_pb2.COLUMN_KIND_CATEGORY: np.object_,
}


class TableWriter:
    """Fills a table, batch by batch; its real columns stand in one block, column after column."""

    def __init__(self, kinds: Mapping[str, dataset_pb2.ColumnKind], row_count: int) -> None:
        self._row_count = row_count
        reals = [name for name, kind in kinds.items() if kind == _REAL]
        self._block_DN = np.empty((len(reals), row_count), dtype=np.float32)
        self._reals = {name: self._block_DN[place] for place, name in enumerate(reals)}
        self._writers = {
            name: ColumnWriter(name, kind, row_count, self._reals.get(name))
            for name, kind in kinds.items()
        }

    def append(self, arrays: Sequence[ArrowArray]) -> None:
        """Takes the next cells of every column; raises InvalidData for a bad one."""
        for writer, array in zip(self._writers.values(), arrays, strict=True):
            writer.append(array)

    def append_to(self, name: str, array: ArrowArray) -> None:
        """Takes the next cells of one column; raises InvalidData for a bad one."""
        self._writers[name].append(array)

    def finish(self) -> Table:
        """The whole table; raises InvalidData where rows are missing."""
        columns = {name: writer.finish() for name, writer in self._writers.items()}
        matrix = Matrix(tuple(self._reals), self._block_DN.T) if self._reals else None
        return Table(columns, self._row_count, matrix)


class ColumnWriter:
    """Fills one column, batch by batch; equal texts share one str object."""

    def __init__(
        self,
        name: str,
        kind: dataset_pb2.ColumnKind,
        row_count: int,
        room: NDArray[Any] | None = None,
    ) -> None:
        self._name = name
        self._kind = kind
        self._texts: dict[str, str] = {}
        self._filled = 0
        values: NDArray[Any] = np.empty(row_count, dtype=_DTYPES[kind]) if room is None else room
        self._values = values

    def append(self, array: ArrowArray) -> None:
        """Takes the next cells; raises InvalidData for a missing or unusable one."""
        stop = self._filled + len(array)
        if stop > len(self._values):
            raise InvalidData(f"the file has more rows than the {len(self._values)} it claims")
        # A dictionary's own null is not counted.
        if array.null_count or pa.types.is_dictionary(array.type):
            self._refuse_nulls(array)
        if self._kind == _REAL:
            self._take_reals(array, self._values[self._filled : stop])
        else:
            self._values[self._filled : stop] = self._convert(array)
        self._filled = stop

    def finish(self) -> Values:
        """The whole column; raises InvalidData where rows are missing."""
        if self._filled != len(self._values):
            raise InvalidData(f"the file claims {len(self._values)} rows but holds {self._filled}")
        return self._values

    def _refuse_nulls(self, array: ArrowArray) -> None:
        is_null = pc.is_null(array)  # also where a dictionary's entry is the null
        if pc.any(is_null).as_py():
            index = pc.index(is_null, value=True).as_py()
            raise bad_cell(self._filled + index + 1, self._name, "missing")

    def _take_reals(self, array: ArrowArray, room: NDArray[np.float32]) -> None:
        reals = np.asarray(array.to_numpy(zero_copy_only=False))
        with np.errstate(over="ignore"):  # becomes infinite, which is found
            room[:] = reals
        good = np.isfinite(room)  # now, while the cells are in the cache
        if not good.all():
            index = int(np.argmin(good))
            raise bad_real(self._filled + index + 1, self._name, float(reals[index]))

    def _convert(self, array: ArrowArray) -> NDArray[Any]:
        if self._kind == dataset_pb2.COLUMN_KIND_CATEGORY:
            return self._convert_texts(array)
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


def use_threads(count: int) -> None:
    """Sets how many threads read one file in this process; by default, one a core."""
    pa.set_cpu_count(count)
    pa.set_io_thread_count(count)


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

"""Arrow's columns into a table: shared by CSV and Parquet."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
#: Cells written at a time, in 32 bits: half of a usual second-level cache.
_TILE_CELLS = 1 << 17
_DTYPES: dict[dataset_pb2.ColumnKind, type[np.generic]] = {
    dataset_pb2.COLUMN_KIND_INTEGER: np.int64,
    dataset_pb2.COLUMN_KIND_BOOLEAN: np.bool_,
    dataset_pb2.COLUMN_KIND_CATEGORY: np.object_,
}


class TableWriter:
    """Fills a table, batch by batch; its real columns stand side by side, row after row.

    So they stand as training gathers them. Written column after column, and turned later, they
    would pass through memory twice, the second time through pages that must first be found.

    Args:
        kinds: of the columns, in order.
        row_count: of the file.
        is_estimate: whether there may be more or fewer rows.
    """

    def __init__(
        self,
        kinds: Mapping[str, dataset_pb2.ColumnKind],
        row_count: int,
        *,
        is_estimate: bool = False,
    ) -> None:
        self._kinds = kinds
        self._is_estimate = is_estimate
        self._reals = tuple(name for name, kind in kinds.items() if kind == _REAL)
        self._matrix = np.empty((row_count, len(self._reals)), dtype=np.float32)
        self._writers = {
            name: ColumnWriter(name, kind, row_count)
            for name, kind in kinds.items()
            if kind != _REAL
        }
        self._filled = 0

    def append(self, arrays: Sequence[ArrowArray]) -> None:
        """Takes the next cells of every column; raises InvalidData for a bad one."""
        stop = self._filled + len(arrays[0])
        if stop > len(self._matrix):
            if not self._is_estimate:
                raise InvalidData(f"the file has more rows than the {len(self._matrix)} it claims")
            self._resize(max(stop, len(self._matrix) + len(self._matrix) // 4))
        reals: list[NDArray[Any]] = []
        for (name, kind), array in zip(self._kinds.items(), arrays, strict=True):
            refuse_nulls(array, name, self._filled + 1)
            if kind == _REAL:
                reals.append(np.asarray(array.to_numpy(zero_copy_only=False)))
            else:
                self._writers[name].append(array)
        if reals:
            self._take(reals)
        self._filled = stop

    def finish(self) -> Table:
        """The whole table; raises InvalidData where rows are missing."""
        if self._is_estimate:
            self._resize(self._filled)
        if self._filled != len(self._matrix):
            raise InvalidData(f"the file claims {len(self._matrix)} rows but holds {self._filled}")
        columns: dict[str, Values] = {
            name: self._matrix[:, place] for place, name in enumerate(self._reals)
        }
        columns |= {name: writer.finish() for name, writer in self._writers.items()}
        matrix = Matrix(self._reals, self._matrix) if self._reals else None
        return Table({name: columns[name] for name in self._kinds}, self._filled, matrix)

    def _resize(self, row_count: int) -> None:
        # In place, which moves pages and not cells: nothing else looks at them yet.
        self._matrix.resize((row_count, len(self._reals)), refcheck=False)
        for writer in self._writers.values():
            writer.resize(row_count)

    def _take(self, reals: Sequence[NDArray[Any]]) -> None:
        """Writes some rows at a time: as many as stay in the cache until every column is there."""
        row_count = len(reals[0])
        step = max(1, _TILE_CELLS // len(reals))
        starts = range(0, row_count, step)
        if len(starts) == 1:
            self._write(reals, 0, row_count)
            return
        with ThreadPoolExecutor(pa.cpu_count(), "table") as pool:
            stops = (min(start + step, row_count) for start in starts)
            # In order, so that of several bad cells the first one is told of.
            deque(pool.map(partial(self._write, reals), starts, stops), maxlen=0)

    def _write(self, reals: Sequence[NDArray[Any]], start: int, stop: int) -> None:
        tile = self._matrix[self._filled + start : self._filled + stop]
        with np.errstate(over="ignore"):  # becomes infinite, which is found
            for place, values in enumerate(reals):
                tile[:, place] = values[start:stop]
        good = np.isfinite(tile)
        if not good.all():
            row, place = (int(index) for index in np.argwhere(~good)[0])
            value = float(reals[place][start + row])
            raise bad_real(self._filled + start + row + 1, self._reals[place], value)


def refuse_nulls(array: ArrowArray, name: str, first_row: int) -> None:
    """Raises InvalidData for a null; `first_row` counts from 1."""
    # A dictionary's own null is not counted.
    if not array.null_count and not pa.types.is_dictionary(array.type):
        return
    is_null = pc.is_null(array)  # also where a dictionary's entry is the null
    if pc.any(is_null).as_py():
        index = pc.index(is_null, value=True).as_py()
        raise bad_cell(first_row + index, name, "missing")


class ColumnWriter:
    """Fills one column that is not of reals; equal texts share one str object."""

    def __init__(self, name: str, kind: dataset_pb2.ColumnKind, row_count: int) -> None:
        self._name = name
        self._kind = kind
        self._texts: dict[str, str] = {}
        self._filled = 0
        self._values: NDArray[Any] = np.empty(row_count, dtype=_DTYPES[kind])

    def append(self, array: ArrowArray) -> None:
        """Takes the next cells, none of them null; raises InvalidData for an unusable one."""
        stop = self._filled + len(array)
        self._values[self._filled : stop] = self._convert(array)
        self._filled = stop

    def resize(self, row_count: int) -> None:
        """Makes room for this many rows in all."""
        self._values.resize(row_count, refcheck=False)

    def finish(self) -> Values:
        """The whole column."""
        return self._values

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

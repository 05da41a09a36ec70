"""Where answers go: standard output, or a file that appears whole or not at all."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import typer

from twofold.cli import answers
from twofold.cli.answers import Format, Writer
from twofold.client.predictions import Prediction, Signature
from twofold.errors import InvalidField
from twofold.tensors import Array

#: Rows of a row group: readers want large ones, memory small ones.
GROUP_ROWS = 1 << 16
_PARQUET = ".parquet"
_TABLE_DIMENSIONS = 2


@contextmanager
def opened(out: Path | None, form: Format) -> Generator[Writer]:
    """A writer to `out`, of its suffix's format, or of `form` to standard output.

    The file has its name once the block ends without an error; until then whatever had that name
    stays, and after an error too.

    Raises:
        BadParameter: a suffix that is none of the formats.
        InvalidField: the file cannot be written.
    """
    if out is None:
        yield answers.writer(form, typer.echo)
        return
    suffix = out.suffix.lower()
    if suffix not in (_PARQUET, *(f".{known}" for known in Format)):
        raise typer.BadParameter(f"{out} is not .jsonl, .csv or .parquet")
    staging = out.parent / f".{out.name}.{secrets.token_hex(8)}.partial"
    try:
        with _parquet(staging) if suffix == _PARQUET else _lines(staging, suffix) as writer:
            yield writer
        _sync(staging)
        staging.replace(out)
    except OSError as error:
        text = f"{out} cannot be written: {error.strerror or error}"
        raise InvalidField(text, field="out", value=out) from error
    finally:
        with suppress(OSError):
            staging.unlink()


@contextmanager
def _lines(path: Path, suffix: str) -> Generator[Writer]:
    with path.open("x", encoding="utf-8", newline="") as file:

        def write(line: str) -> None:
            file.write(line + "\n")

        yield answers.writer(Format(suffix[1:]), write)


@contextmanager
def _parquet(path: Path) -> Generator[Writer]:
    writer = ParquetWriter(path)
    try:
        yield writer
        writer.close()
    finally:
        writer.discard()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ParquetWriter:
    """Columns as CSV has them: label as text, numbers as float32, version as int64.

    But raw outputs of several dimensions are one column each, of lists of lists of fixed sizes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None  # pyarrow ships no types
        self._columns: list[str] = []
        self._waiting: list[Any] = []
        self._waiting_rows = 0

    def write(self, prediction: Prediction, signature: Signature) -> None:
        """See Writer; raises Conflict where the columns are no longer those of the first batch."""
        import pyarrow as pa  # noqa: PLC0415 - the large library, at its use

        library: Any = pa
        columns = _columns(prediction, signature)
        answers.check_columns(list(columns), self._columns, prediction)
        self._columns = self._columns or list(columns)
        arrays = [_arrow(library, array) for array in columns.values()]
        batch = library.record_batch(arrays, names=self._columns)
        self._waiting.append(batch)
        self._waiting_rows += len(batch)
        if self._waiting_rows >= GROUP_ROWS:
            self._flush(library)

    def close(self) -> None:
        """Ends the file; without a batch it is one without columns."""
        import pyarrow as pa  # noqa: PLC0415 - as above

        self._flush(pa)
        if self._file is None:
            from pyarrow import parquet  # noqa: PLC0415 - as above

            library: Any = parquet
            arrow: Any = pa
            library.write_table(arrow.table({}), self._path)

    def discard(self) -> None:
        """Closes what is open."""
        if self._file is not None:
            self._file.close()

    def _flush(self, library: Any) -> None:  # noqa: ANN401 - pyarrow ships no types
        from pyarrow import parquet  # noqa: PLC0415 - as above

        if not self._waiting:
            return
        table = library.Table.from_batches(self._waiting)
        if self._file is None:
            arrow: Any = parquet
            self._file = arrow.ParquetWriter(self._path, table.schema)
        self._file.write_table(table, row_group_size=len(table))
        self._waiting, self._waiting_rows = [], 0


def _columns(prediction: Prediction, signature: Signature) -> dict[str, Array]:
    """An array [rows] or [rows, ...] per column: each of the outputs, then the version."""
    columns: dict[str, Array] = {}
    count = 0
    for name in answers.ordered(prediction):
        output = prediction.outputs[name]
        count = len(output)
        if output.ndim > _TABLE_DIMENSIONS:
            columns[name] = output
            continue
        table = output.reshape(count, -1)
        names = answers.column_names(name, table.shape[1:], signature)
        columns |= {column: table[:, place] for place, column in enumerate(names)}
    return {**columns, "version": np.full(count, prediction.version, dtype=np.int64)}


def _arrow(library: Any, array: Array) -> Any:  # noqa: ANN401 - pyarrow ships no types
    if array.ndim > 1:
        made = library.array(np.ascontiguousarray(array).reshape(-1))
        for size in array.shape[:0:-1]:
            made = library.FixedSizeListArray.from_arrays(made, size)
        return made
    if array.dtype.kind != "O":
        return library.array(np.ascontiguousarray(array))
    texts = [value.decode(errors="replace") for value in array.tolist()]
    return library.array(texts, library.string())

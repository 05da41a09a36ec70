"""Predictions as JSON lines or CSV. Pure, but for where the lines go."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from io import StringIO
from typing import Protocol, TypeAlias, cast

import numpy as np

from twofold.client.predictions import Prediction, Signature
from twofold.errors import Conflict
from twofold.features import label_of
from twofold.tensors import Array

Cell: TypeAlias = str | float | int | None
#: A row of an output: one cell, or lists of lists of them.
Nested: TypeAlias = "Cell | list[Nested]"
#: Takes one line, without its line break.
Print: TypeAlias = Callable[[str], None]


class Format(StrEnum):
    """How predictions are written."""

    JSONL = "jsonl"
    CSV = "csv"


class Writer(Protocol):
    """Writes predictions of consecutive batches."""

    def write(self, prediction: Prediction, signature: Signature) -> None:
        """Writes one batch; `signature` is that of the version that answered."""
        ...


def writer(form: Format, out: Print) -> Writer:
    """A writer of `form`."""
    return CsvWriter(out) if form is Format.CSV else JsonWriter(out)


class JsonWriter:
    """One JSON object a row: its number, the outputs by name, the version."""

    def __init__(self, out: Print) -> None:
        self._out = out
        self._count = 0

    def write(self, prediction: Prediction, signature: Signature) -> None:
        """See Writer."""
        for row in _rows(prediction):
            self._count += 1
            answer = {
                name: _value(name, cells, prediction.outputs[name].shape[1:], signature)
                for name, cells in row.items()
            }
            line = {"row": self._count, **answer, "version": prediction.version}
            self._out(json.dumps(line, ensure_ascii=False))


def _value(
    name: str, cells: list[Cell], shape: tuple[int, ...], signature: Signature
) -> "Nested | dict[str, Cell]":
    if parts := parts_of(name, shape, signature):
        return dict(zip(parts, cells, strict=True))
    if len(shape) > 1:
        return _nested(cells, shape)
    return cells[0] if len(cells) == 1 else [*cells]


def _nested(cells: Sequence[Cell], shape: tuple[int, ...]) -> "list[Nested]":
    """Lists of lists, as the output's dimensions are."""
    nested: list[Nested] = [*cells]
    for size in shape[:0:-1]:
        nested = [nested[at : at + size] for at in range(0, len(nested), size)]
    return nested


class CsvWriter:
    """A header, then one line a row; the version is the last column."""

    def __init__(self, out: Print) -> None:
        self._out = out
        self._header: list[str] = []

    def write(self, prediction: Prediction, signature: Signature) -> None:
        """See Writer; raises Conflict where the columns are no longer those of the header."""
        header = [
            column
            for name in ordered(prediction)
            for column in column_names(name, prediction.outputs[name].shape[1:], signature)
        ]
        for row in _rows(prediction):
            self._check(header, prediction)
            cells = [cell for cells in row.values() for cell in cells]
            self._line([*cells, prediction.version])

    def _check(self, header: list[str], prediction: Prediction) -> None:
        if not self._header:
            self._line([*header, "version"])
            self._header = header
        check_columns(header, self._header, prediction)

    def _line(self, cells: Sequence[Cell]) -> None:
        line = StringIO()
        plain = [label_of(cell) if isinstance(cell, bool) else cell for cell in cells]
        csv.writer(line, lineterminator="").writerow(plain)
        self._out(line.getvalue())


def check_columns(found: Sequence[str], before: Sequence[str], prediction: Prediction) -> None:
    """Raises Conflict where columns are not those of the batches before; none: any will do."""
    if before and list(found) != list(before):
        raise Conflict(
            f"version {prediction.version} of {prediction.model}, published meanwhile, has "
            f"other outputs; name a version: {prediction.model}@{prediction.version}",
            resource=f"models/{prediction.model}",
        )


def ordered(prediction: Prediction) -> list[str]:
    """The outputs' names. For people: the label, which is what is looked for, comes first."""
    return sorted(prediction.outputs, key=lambda name: name != "label")


def column_names(name: str, shape: tuple[int, ...], signature: Signature) -> list[str]:
    """The columns of an output: one of its name, or one for each label or number.

    Of several dimensions each number has its place in all of them: mask.0.1.
    """
    if math.prod(shape) == 1:
        return [name]
    if parts := parts_of(name, shape, signature):
        return [f"{name}.{part}" for part in parts]
    return [".".join((name, *map(str, place))) for place in np.ndindex(shape)]


def parts_of(name: str, shape: tuple[int, ...], signature: Signature) -> Sequence[str]:
    """What the numbers of an output stand for: labels, or targets; none where they have no name."""
    if name == "value":
        is_named = shape == (len(signature.targets),) and shape != (1,)
        return signature.targets if is_named else ()
    is_labelled = name == "probabilities" or (name == "label" and shape != (1,))
    return signature.labels if is_labelled and shape == (len(signature.labels),) else ()


def _rows(prediction: Prediction) -> Iterator[dict[str, list[Cell]]]:
    """The outputs' cells by name, row by row; the label first."""
    names = ordered(prediction)
    tables = [_cells(prediction.outputs[name]) for name in names]
    for row in zip(*tables, strict=True):
        yield dict(zip(names, row, strict=True))


def _cells(output: Array) -> list[list[Cell]]:
    table = output.reshape(len(output), -1)
    rows = cast("list[list[object]]", table.tolist())
    if table.dtype == np.float32:
        # The shortest text that gives the same float32; float64's has digits of no meaning.
        rows = [[float(str(number)) for number in row] for row in table]
    return [[_cell(value) for value in row] for row in rows]


def _cell(value: object) -> Cell:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for it
    return cast("Cell", value)

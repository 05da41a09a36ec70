"""Columns as small numbers: which different values there are, and which of them each row has."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.reading.table import Values
from twofold import features

#: Whole numbers this close together are counted in a table, which takes a tenth of a sort's time.
_TABLE_RANGE = 1 << 20


@dataclass(frozen=True, slots=True)
class Codes:
    """A column of N rows."""

    #: The different values as text, in the order of the values: 2 before 10, "10" before "2".
    labels: tuple[str, ...]
    #: Each row's place in `labels`, int64 [N].
    codes: NDArray[np.int64]

    def taken(self, rows: NDArray[np.int64]) -> list[str]:
        """The labels that these rows have, in order."""
        counts = np.bincount(self.codes[rows], minlength=len(self.labels))
        return [self.labels[place] for place in np.flatnonzero(counts).tolist()]


def encode(values: Values) -> Codes:
    """The codes of a column of any kind, without sorting its rows where that can be helped."""
    if values.dtype.kind == "O":
        distinct, codes = _of_texts(values)
    elif values.dtype.kind in "bi" and _are_close(values):
        distinct, codes = _of_close(values)
    else:
        found, codes = np.unique(values, return_inverse=True)
        distinct = found.tolist()
    return Codes(tuple(features.label_of(value) for value in distinct), codes)


def _of_texts(values: Values) -> tuple[Sequence[object], NDArray[np.int64]]:
    cells = values.tolist()
    distinct = sorted(set(cells))
    places = {value: place for place, value in enumerate(distinct)}
    codes = np.fromiter(map(places.__getitem__, cells), dtype=np.int64, count=len(cells))
    return distinct, codes


def _are_close(values: Values) -> bool:
    return int(values.max()) - int(values.min()) < _TABLE_RANGE


def _of_close(values: Values) -> tuple[Sequence[object], NDArray[np.int64]]:
    lowest = values.min()
    offsets = values.astype(np.int64) - int(lowest)
    present = np.flatnonzero(np.bincount(offsets))
    places = np.zeros(int(present[-1]) + 1, dtype=np.int64)
    places[present] = np.arange(len(present))
    return (present + int(lowest)).astype(values.dtype).tolist(), places[offsets]

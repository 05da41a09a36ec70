"""The built-in data sets: the truth tables of AND, OR and XOR."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold.errors import InvalidField
from twofold.v1 import dataset_pb2

_FUNCTIONS: Mapping[str, Callable[[int, int], int]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


class TruthTable(NamedTuple):
    """A built-in data set."""

    columns: list[dataset_pb2.Column]
    #: a and b float64 [4], label int64 [4].
    arrays: dict[str, NDArray[np.float64] | NDArray[np.int64]]

    @property
    def row_count(self) -> int:
        """Rows: 4."""
        return len(self.arrays["label"])


def truth_table(name: str) -> TruthTable:
    """The truth table of this name; raises InvalidField."""
    if name not in _FUNCTIONS:
        raise InvalidField.of("data.dataset", name, ", ".join(_FUNCTIONS))
    pairs = [(a, b) for a in (0, 1) for b in (0, 1)]
    arrays: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
        "a": np.array([a for a, _ in pairs], dtype=np.float64),
        "b": np.array([b for _, b in pairs], dtype=np.float64),
        "label": np.array([_FUNCTIONS[name](a, b) for a, b in pairs], dtype=np.int64),
    }
    real, integer = dataset_pb2.COLUMN_KIND_REAL, dataset_pb2.COLUMN_KIND_INTEGER
    columns = [
        dataset_pb2.Column(name="a", kind=real, minimum=0, maximum=1),
        dataset_pb2.Column(name="b", kind=real, minimum=0, maximum=1),
        dataset_pb2.Column(name="label", kind=integer, distinct_count=2, minimum=0, maximum=1),
    ]
    return TruthTable(columns, arrays)

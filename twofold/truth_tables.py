"""The built-in data sets: the truth tables of AND, OR and XOR."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from twofold.errors import InvalidField
from twofold.v1 import dataset_pb2

_FUNCTIONS: Mapping[str, Callable[[int, int], int]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


def is_truth_table(name: str) -> bool:
    """Whether `name` is a built-in data set."""
    return name in _FUNCTIONS


def truth_table(name: str) -> tuple[list[dataset_pb2.Column], dict[str, NDArray[np.generic]]]:
    """Columns and rows: a and b float64 [4], label int64 [4]; raises InvalidField."""
    if name not in _FUNCTIONS:
        raise InvalidField.of("data.dataset", name, ", ".join(_FUNCTIONS))
    pairs = [(a, b) for a in (0, 1) for b in (0, 1)]
    rows: dict[str, NDArray[np.generic]] = {
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
    return columns, rows

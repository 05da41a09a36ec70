"""Columns as small numbers: the same as a sort would say, for every kind of value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.codes import encode
from trainer.reading.table import Values

EDGE = 2**63


def texts(*cells: str) -> NDArray[np.object_]:
    return np.array(cells, dtype=np.object_)


@pytest.mark.parametrize(
    ("values", "labels", "codes"),
    [
        (texts("b", "a", "10", "2", "b"), ("10", "2", "a", "b"), [3, 2, 0, 1, 3]),
        (np.array([10, 2, 10]), ("2", "10"), [1, 0, 1]),
        (np.array([3, -1, 3]), ("-1", "3"), [1, 0, 1]),
        (np.array([EDGE - 1, -EDGE, 0]), (str(-EDGE), "0", str(EDGE - 1)), [2, 0, 1]),
        (np.array([EDGE - 1, EDGE - 2]), (str(EDGE - 2), str(EDGE - 1)), [1, 0]),
        (np.array([True, False, True]), ("false", "true"), [1, 0, 1]),
        (np.array([True, True]), ("true",), [0, 0]),
        (np.array([1.5, 0.5]), ("0.5", "1.5"), [1, 0]),
        (np.array([7], dtype=np.uint8), ("7",), [0]),
    ],
)
def test_labels_stand_in_the_order_of_the_values(
    values: Values, labels: tuple[str, ...], codes: list[int]
) -> None:
    found = encode(values)

    assert found.labels == labels
    assert found.codes.dtype == np.int64
    assert found.codes.tolist() == codes


@given(st.lists(st.integers(-(2**21), 2**21), min_size=1, max_size=50))
def test_near_and_far_numbers_are_coded_alike(values: list[int]) -> None:
    found = encode(np.array(values, dtype=np.int64))

    assert found.labels == tuple(str(value) for value in sorted(set(values)))
    assert [int(found.labels[code]) for code in map(int, found.codes)] == values


def test_the_labels_of_some_rows_keep_their_order() -> None:
    found = encode(texts("c", "a", "b", "a"))

    assert found.taken(np.array([0, 3], dtype=np.int64)) == ["a", "c"]

"""The outputs of a batch, cut for its requests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer.outputs import Outputs, RawRows, RequestOutputs
from twofold import tensors
from twofold.tensors import Array

ARRAYS: list[Array] = [
    np.arange(12, dtype=np.float32).reshape(4, 3),
    np.arange(24, dtype=np.int64).reshape(4, 3, 2),
    np.asfortranarray(np.arange(12, dtype=np.float64).reshape(4, 3)),
    np.array([True, False, True, False]),
    np.array([b"a", b"", b"long", b"x"], dtype=object).reshape(4, 1),
    np.array([b"a", "b", b"", b"long", b"x", b"y", b"z", b"0"], dtype=object).reshape(4, 2),
    np.empty((4, 0), np.float32),
    np.empty((4, 0), dtype=object),
]


@given(st.sampled_from(ARRAYS), st.integers(0, 3), st.integers(1, 4))
def test_rows_are_the_bytes_of_their_slice(array: Array, start: int, count: int) -> None:
    stop = min(start + count, 4)

    assert RawRows(array).of(start, stop) == tensors.to_raw(array[start:stop])


def test_a_request_sees_its_own_rows_of_every_output() -> None:
    whole = Outputs({"a": ARRAYS[0], "b": ARRAYS[3]})
    found = RequestOutputs(whole, 1, 3)

    assert list(found) == ["a", "b"]
    assert len(found) == 2
    assert found["a"].tolist() == ARRAYS[0][1:3].tolist()
    assert found["b"].tolist() == [False, True]
    with pytest.raises(KeyError):
        found["c"]

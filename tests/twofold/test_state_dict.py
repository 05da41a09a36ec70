"""Plain state_dicts of weights with ties and buffers of no state_dict."""

import io
import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from twofold import state_dict
from twofold.errors import Corrupt

WEIGHTS = {
    "embed.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "mask": np.array([True, False]),
    "count": np.array(7, dtype=np.int64),
    "none": np.zeros((0, 4), dtype=np.float64),
}


def convert(data: bytes, ties: Mapping[str, str], left_out: tuple[str, ...] = ()) -> bytes:
    written = io.BytesIO()
    state_dict.convert(io.BytesIO(data), written.write, ties, left_out)
    return written.getvalue()


def test_the_same_keys_are_the_same_bytes() -> None:
    data = save(WEIGHTS, {"made": "by hand"})

    assert convert(data, {}) == data


def test_ties_are_added_and_left_out_buffers_are_gone() -> None:
    found = load(convert(save(WEIGHTS), {"head.weight": "embed.weight"}, ("mask",)))

    assert sorted(found) == ["count", "embed.weight", "head.weight", "none"]
    for key, source in {"head.weight": "embed.weight", "count": "count", "none": "none"}.items():
        assert found[key].dtype == WEIGHTS[source].dtype
        assert np.array_equal(found[key], WEIGHTS[source])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=6))
def test_any_sizes_keep_their_numbers(shapes: list[tuple[int, bool]]) -> None:
    weights = {
        f"w{index}": np.full(size, index, np.float16) for index, (size, _) in enumerate(shapes)
    }
    left_out = tuple(f"w{index}" for index, (_, gone) in enumerate(shapes) if gone)

    found = load(convert(save(weights), {"tied": "w0"}, left_out))

    assert found.keys() == (weights.keys() - set(left_out)) | {"tied"}
    assert np.array_equal(found["tied"], weights["w0"])
    assert all(np.array_equal(found[key], weights[key]) for key in weights if key in found)


def header(table: object) -> bytes:
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 20,
        (1 << 40).to_bytes(8, "little"),
        header([]),
        header({"a": {}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"abc",
        header({"b": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
    ],
)
def test_what_is_no_weights_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt, match="the weights"):
        convert(data, {"tied": "a"})

"""Features that are arrays: as they are, and measured along one axis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.trainer.test_prepared import make_spec
from trainer import prepared
from trainer.prepared import prepare
from trainer.reading.table import Table, Values


def table_of() -> Table:
    image = np.arange(4 * 2 * 3 * 3, dtype=np.float32).reshape(4, 2, 3, 3)
    ids = np.arange(8, dtype=np.int64).reshape(4, 2)
    columns: dict[str, Values] = {"a": np.arange(4), "y": np.arange(4) % 2}
    return Table(columns, 4, arrays={"image": image, "ids": ids})


def test_they_are_inputs_and_raw_rows_by_their_names() -> None:
    table = table_of()
    found = prepare(table, make_spec("ids", "a", "image", standardize=False))

    assert list(found.arrays) == ["ids", "image"]
    assert found.arrays["image"] is table.arrays["image"], "not copied"
    assert list(found.inputs()) == ["x", "ids", "image"]
    raw = found.raw_inputs(np.array([2, 0]))
    assert {name: array.shape for name, array in raw.items()} == {
        "x": (2, 1),
        "ids": (2, 2),
        "image": (2, 2, 3, 3),
    }
    assert [column.name for column in found.features.array_columns] == ["ids", "image"]
    assert not found.is_scaled


def test_only_floats_are_standardised() -> None:
    assert prepare(table_of(), make_spec("image")).scales_arrays
    assert not prepare(table_of(), make_spec("ids")).is_scaled


@given(
    array=hnp.arrays(np.float32, (7, 2, 3, 4), elements=st.floats(-1e3, 1e3, width=32)),
    axis=st.sampled_from([1, 2, 3]),
    block=st.integers(1, 200),
)
def test_figures_are_those_of_each_place_along_the_axis(
    array: NDArray[np.float32], axis: int, block: int
) -> None:
    rows = np.array([0, 2, 3, 6])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "_BLOCK_NUMBERS", block)
        mean, deviation = prepared.measure_axis(array, rows, axis)

    others = tuple(place for place in range(4) if place != axis)
    chosen = array[rows].astype(np.float64)
    spread = chosen.std(axis=others)
    assert mean.shape == deviation.shape == (array.shape[axis],)
    assert np.allclose(mean, chosen.mean(axis=others), rtol=1e-5, atol=1e-3)
    is_plain = deviation != 1
    assert np.allclose(deviation[is_plain], spread[is_plain], rtol=1e-4, atol=1e-3)


def test_without_an_axis_there_is_one_figure() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    mean, deviation = prepared.measure_axis(array, np.arange(3), None)

    assert mean.tolist() == [5.5]
    assert deviation.tolist() == [pytest.approx(np.arange(12).std())]

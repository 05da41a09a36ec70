"""Members with many numbers in a row become arrays: float32 or int64, checked, by name."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.reading.files import npy, npy_with, npz, refusal_of
from trainer.reading import row_arrays
from trainer.reading.npz import read_npz
from trainer.reading.row_arrays import row_array
from trainer.reading.table import summarize
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2, graph_pb2

Write = Callable[[bytes], Path]
IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def savez(**members: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **members)
    return file.getvalue()


def test_every_member_becomes_columns_or_an_array_and_y_is_last(write: Write) -> None:
    content = savez(
        y=np.array(["a", "b"]),
        image=IMAGES,
        x=np.array([[1.0, 2.0], [3.0, 4.0]]),
        tokens=np.array([[1, 2, 3], [4, 5, 6]]),
        weight=np.array([0.5, 1.5]),
    )

    table = read_npz(write(content))

    assert list(table.columns) == ["x0", "x1", "weight", "y"]
    assert list(table.arrays) == ["image", "tokens"]
    assert table.row_count == 2
    assert np.array_equal(table.arrays["image"], IMAGES)
    described = summarize(table)
    assert [column.name for column in described.columns] == ["image", "tokens", *table.columns]
    image, tokens = described.columns[:2]
    assert image == dataset_pb2.Column(
        name="image",
        kind=dataset_pb2.COLUMN_KIND_ARRAY,
        shape=[3, 4, 5],
        data_type=graph_pb2.DATA_TYPE_FP32,
        minimum=0,
        maximum=119,
    )
    assert (list(tokens.shape), tokens.data_type) == ([3], graph_pb2.DATA_TYPE_INT64)
    assert (tokens.minimum, tokens.maximum) == (1, 6)


def test_x_of_a_higher_rank_is_an_array_too(write: Write) -> None:
    table = read_npz(write(savez(x=IMAGES, y=np.array([0, 1]))))

    assert list(table.arrays) == ["x"]
    assert list(table.columns) == ["y"]


@pytest.mark.parametrize(
    ("element", "kept"),
    [
        ("<f2", "<f4"), ("<f4", "<f4"), (">f4", "<f4"), ("<f8", "<f4"), (">f8", "<f4"),
        ("|u1", "<f4"), ("|b1", "<f4"),
        ("|i1", "<i8"), ("<u2", "<i8"), (">i4", "<i8"), ("<i8", "<i8"), ("<u8", "<i8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["C", "F"])
def test_pixels_become_floats_and_identifiers_stay_whole(
    monkeypatch: pytest.MonkeyPatch, element: str, kept: str, order: str
) -> None:
    """Also where many blocks are looked at, one after the other."""
    monkeypatch.setattr(row_arrays, "_BLOCK_NUMBERS", 7)
    plain = (np.arange(30).reshape(5, 2, 3) % 2).astype(np.dtype(element))
    array = np.asfortranarray(plain) if order == "F" else plain

    found = row_array("a", array)

    assert found.dtype.str == kept
    assert found.flags.c_contiguous
    assert found.tolist() == (np.arange(30).reshape(5, 2, 3) % 2).tolist()


def test_what_is_ready_is_not_copied() -> None:
    assert row_array("a", IMAGES) is IMAGES
    identifiers = np.ones((2, 3), dtype=np.int64)
    assert row_array("a", identifiers) is identifiers


def test_any_byte_of_a_boolean_is_true_or_false() -> None:
    odd = np.array([[0, 1, 2, 255]], dtype=np.uint8).view(np.bool_)

    assert row_array("a", odd).tolist() == [[0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("value", "dtype", "found"),
    [
        (np.nan, np.float32, "missing (NaN)"),
        (np.inf, np.float32, "inf"),
        (-np.inf, np.float16, "-inf"),
        (1e39, np.float64, "1e+39"),
        (2**63, np.uint64, "9223372036854775808"),
    ],
)
def test_a_number_that_cannot_be_used_is_named_by_its_row(
    write: Write, monkeypatch: pytest.MonkeyPatch, value: float, dtype: type, found: str
) -> None:
    monkeypatch.setattr(row_arrays, "_BLOCK_NUMBERS", 4)
    array: NDArray[Any] = np.zeros((4, 3, 2), dtype=np.dtype(dtype))
    array[2, 1, 1] = value

    refusal = refusal_of(read_npz, write(savez(image=array)))

    assert f"row 3, column image: the value is {found}" in refusal.message
    assert refusal.fields == {"row": "3", "column": "image"}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"a": np.zeros((2, 0, 3))}, "a has the shape (2, 0, 3); a row has 1 to 15 dimensions"),
        ({"a": np.zeros((2, *[1] * 16))}, "needed is at most 16 dimensions"),
        ({"a": np.array([["b"], ["c"]])}, "a holds text"),
        ({"a": np.zeros((2, 2)), "b": np.zeros((3, 2))}, "one value for each of the 2 rows of a"),
        ({"a": np.zeros((2, 2)), "y": np.zeros((2, 2, 2))}, "taken are [rows] and [rows, targets]"),
        ({"a": np.zeros((0, 2))}, "the table has 0 rows"),
    ],
)
def test_other_shapes_are_refused(
    write: Write, members: dict[str, NDArray[np.generic]], text: str
) -> None:
    assert text in refusal_of(read_npz, write(savez(**members))).message


def test_a_row_has_a_limit_that_is_told_before_anything_is_made() -> None:
    """The array takes no memory: all its numbers are one."""
    large = np.broadcast_to(np.float64(0), (2, (1 << 24) + 1))

    with pytest.raises(InvalidData, match="1 to 16777216 numbers"):
        row_array("a", large)


def test_a_header_that_claims_more_than_there_is_is_refused(write: Write) -> None:
    """D-HEADER."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1000, 1000, 1000), }"
    content = npz({"a.npy": npy_with(header, bytes(64)), "y.npy": npy([1, 2])})

    assert (
        "claims 16000000000 bytes of data, but 64" in refusal_of(read_npz, write(content)).message
    )

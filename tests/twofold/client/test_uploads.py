"""What an upload sends."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from twofold import errors
from twofold.client import uploads
from twofold.v1 import dataset_pb2


def content(upload: uploads.Upload) -> bytes:
    header, *chunks = (
        dataset_pb2.UploadDatasetRequest.FromString(message) for message in upload.messages()
    )
    assert header.header == upload.header
    return b"".join(chunk.chunk for chunk in chunks)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", dataset_pb2.DATASET_FORMAT_CSV),
        ("a.PARQUET", dataset_pb2.DATASET_FORMAT_PARQUET),
        ("a.npz", dataset_pb2.DATASET_FORMAT_NPZ),
        ("a.npy", dataset_pb2.DATASET_FORMAT_NPY),
    ],
)
def test_header_tells_format_size_and_digest(
    tmp_path: Path, name: str, expected: dataset_pb2.DatasetFormat
) -> None:
    file = tmp_path / name
    file.write_bytes(b"content")

    upload = uploads.from_file(file)

    assert upload.header.format == expected
    assert upload.header.size_bytes == 7
    assert upload.header.sha256 == hashlib.sha256(b"content").hexdigest()
    assert content(upload) == b"content"


def test_display_name_has_no_control_characters_and_is_short(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"")

    assert uploads.from_file(file, "a\x1b[31m\nb").header.display_name == "a[31mb"
    assert len(uploads.from_file(file, "x" * 1000).header.display_name) == 255


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidField, match=r"data is model\.pkl; allowed: .*\.csv"):
        uploads.from_file(tmp_path / "model.pkl")


def test_unreadable_file_is_refused_by_name_alone(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidData, match=r"cannot read absent\.csv: No such file"):
        uploads.from_file(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    "y",
    [
        [1, 2, 1],
        [1.5, 2.5, 3.5],
        [True, False, True],
        ["a", "b", "a"],
        np.array(["a", "b", "a"], dtype=np.object_),
        [["a"], ["b"], ["a"]],
    ],
)
def test_targets_of_every_kind_are_packed_without_pickle(y: ArrayLike, tmp_path: Path) -> None:
    upload = uploads.from_arrays(np.eye(3), y)

    file = tmp_path / "a.npz"
    file.write_bytes(content(upload))
    with np.load(file, allow_pickle=False) as archive:
        assert archive["x"].tolist() == np.eye(3).tolist()
        assert archive["y"].tolist() == np.asarray(y).reshape(-1).tolist()


def test_same_arrays_make_the_same_bytes() -> None:
    first, second = (uploads.from_arrays(np.eye(3), ["a", "b", "c"]) for _ in range(2))

    assert first.header.sha256 == second.header.sha256


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0, 2.0], [1, 2], r"x is float64 \[2\]; expected numbers \[rows, columns\]"),
        ([["a"], ["b"]], [1, 2], "x is <U1"),
        ([[1.0], [2.0]], [1, 2, 3], "x has 2 rows, but y has 3"),
        ([[1.0], [2.0]], [[1, 2], [3, 4]], "y is int64"),
        ([[1.0], [2.0]], np.array([1, "a"], dtype=np.object_), "y is object"),
        ([[1.0], [2.0]], [b"a", b"b"], "y is |S1"),
    ],
)
def test_other_arrays_are_refused(x: ArrayLike, y: ArrayLike, message: str) -> None:
    with pytest.raises(errors.InvalidData, match=message):
        uploads.from_arrays(x, y)

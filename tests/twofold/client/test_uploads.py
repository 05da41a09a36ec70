"""What an upload sends."""

import hashlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from twofold import errors
from twofold.client import submission, uploads
from twofold.client.retry import RetryPolicy
from twofold.v1 import dataset_pb2


def content(upload: uploads.Upload, offset: int = 0) -> bytes:
    header, *chunks = (
        dataset_pb2.UploadDatasetRequest.FromString(message) for message in upload.messages(offset)
    )
    assert header.header.offset == offset
    header.header.offset = 0
    assert header.header == upload.header
    return b"".join(chunk.chunk for chunk in chunks)


def test_a_stream_may_begin_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"content")

    assert [content(uploads.from_file(file), offset) for offset in (0, 3, 7)] == [
        b"content",
        b"tent",
        b"",
    ]


def sending(size_bytes: int = 10 << 20, attempts: int = 3) -> uploads.Sending:
    header = dataset_pb2.UploadHeader(size_bytes=size_bytes)
    policy = RetryPolicy(attempts=attempts, first_delay_s=1, factor=2, longest_delay_s=8)
    return uploads.Sending(uploads.Upload(header, BytesIO), policy)


AWAY, BUSY = errors.Unavailable("away"), errors.Conflict("busy")


def test_streams_go_on_while_they_come_further() -> None:
    upload = sending()
    for committed in (1, 2, 3, 4):
        assert upload.delay_s(AWAY, 60, 0) == 0.5
        upload.found(committed << 20)
        assert upload.offset == committed << 20

    delays = [upload.delay_s(AWAY, 60, 0) for _ in range(3)]
    assert delays == [0.5, 1.0, None]


def test_a_file_that_another_stream_holds_is_waited_for_until_the_deadline() -> None:
    upload = sending()

    assert [upload.delay_s(BUSY, 60, 0) for _ in range(6)] == [0.5, 1, 2, 4, 4, 4]
    assert upload.delay_s(BUSY, 4, 0) is None
    assert sending(attempts=1).delay_s(BUSY, 60, 0) is None
    assert sending().delay_s(errors.InvalidData("no"), 60, 0) is None


def test_more_than_the_file_has_is_none_of_it() -> None:
    upload = sending()
    upload.found((10 << 20) + 1)

    assert upload.offset == 0


def test_one_chunk_is_sent_without_asking() -> None:
    assert not sending(1 << 20).must_ask
    assert sending((1 << 20) + 1).must_ask


def test_a_server_that_cannot_be_asked_gets_the_whole_file() -> None:
    upload = sending()

    assert upload.delay_s(errors.Unimplemented("?"), 60, 0) == 0
    assert not upload.must_ask
    assert upload.delay_s(errors.Unimplemented("?"), 60, 0) is None


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


@pytest.mark.parametrize(
    "x", [np.ones((3, 2, 2)), {"image": np.ones((3, 2, 2)), "age": [1, 2, 3], "word": ["a"] * 3}]
)
def test_arrays_of_any_rank_are_members(
    x: ArrayLike | Mapping[str, ArrayLike], tmp_path: Path
) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(content(uploads.from_arrays(x, [0, 1, 0])))

    expected = x if isinstance(x, Mapping) else {"x": x}
    with np.load(file, allow_pickle=False) as archive:
        assert set(archive) == {*expected, "y"}
        for name, array in expected.items():
            assert np.array_equal(archive[name], array)


def test_same_arrays_make_the_same_bytes() -> None:
    first, second = (uploads.from_arrays(np.eye(3), ["a", "b", "c"]) for _ in range(2))

    assert first.header.sha256 == second.header.sha256


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0, 2.0], [1, 2], r"x is float64 \[2\]; expected numbers \[rows, columns\]"),
        ([["a"], ["b"]], [1, 2], "x is <U1"),
        ([[1.0], [2.0]], [1, 2, 3], "x has 2 rows, but y has 3"),
        ([[1.0], [2.0]], [[["a", "b"]], [["c", "d"]]], "y is <U1"),
        ([[1.0], [2.0]], [["a", "b"], ["c", "d"]], "y is <U1"),
        ([[1.0], [2.0]], np.array([1, "a"], dtype=np.object_), "y is object"),
        ([[1.0], [2.0]], [b"a", b"b"], "y is |S1"),
        ({"y": [[1.0]]}, [1], "'y' cannot be an array's name"),
        ({"file": [[1.0]]}, [1], "'file' cannot be"),
        ({"a b": [[1.0]]}, [1], "'a b' cannot be"),
        ({"image": np.zeros((2, 3, 3))}, [1], "image has 2 rows, but y has 1"),
        ({"image": [["a"]]}, [1], r"image is <U1 \[1, 1\]; expected numbers"),
        ({"image": 1.0}, [1], r"image is float64 \[\]; expected"),
    ],
)
def test_other_arrays_are_refused(
    x: ArrayLike | Mapping[str, ArrayLike], y: ArrayLike, message: str
) -> None:
    with pytest.raises(errors.InvalidData, match=message):
        uploads.from_arrays(x, y)


def members(upload: uploads.Upload) -> dict[str, np.ndarray]:
    with upload.open() as file, np.load(file) as archive:
        return dict(archive)


def test_several_targets_and_weights_go_up_beside_the_rows() -> None:
    x, y, weight = np.ones((3, 2)), np.arange(6).reshape(3, 2), [1, 0, 2.5]

    found = members(uploads.from_arrays(x, y, weight=weight))

    assert list(found) == ["x", uploads.WEIGHT, "y"]
    assert found["y"].tolist() == y.tolist()
    assert found["weight"].tolist() == weight
    assert uploads.target_names(y) == ["y0", "y1"]
    assert uploads.target_names([[1], [2]]) == uploads.target_names([1, 2]) == ["y"]


@pytest.mark.parametrize("weight", [[1, 2], [[1], [2], [3]], ["a", "b", "c"]])
def test_other_weights_are_refused(weight: ArrayLike) -> None:
    with pytest.raises(errors.InvalidData, match=r"sample_weight is .*; expected numbers \[3\]"):
        uploads.from_arrays(np.ones((3, 2)), [1, 2, 3], weight=weight)


def test_a_spec_names_the_targets_and_the_weight_that_came_with_the_rows() -> None:
    x, y, tree = np.ones((3, 2)), np.ones((3, 2)), {"model": "m"}

    spec = submission.of_call(x, y, tree, None, [1, 2, 3]).spec
    assert (list(spec.data.targets), spec.data.weight) == (["y0", "y1"], "weight")
    named = {"model": "m", "data": {"target": "y1", "weight": "x0"}}
    spec = submission.of_call(x, y, named, None, [1, 2, 3]).spec
    assert (spec.data.target, list(spec.data.targets), spec.data.weight) == ("y1", [], "x0")
    spec = submission.of_call(x, y[:, 0], tree, None).spec
    assert not spec.HasField("data")
    with pytest.raises(TypeError, match="train takes"):
        submission.of_call(tree, None, None, "xor", [1, 2, 3])


def test_arrays_go_up_with_several_targets_and_weights() -> None:
    images, y = np.ones((3, 1, 2, 2), np.float32), np.ones((3, 2))

    sent = submission.of_call({"image": images}, y, {"model": "m"}, None, [1, 2, 3])

    assert sent.upload is not None
    assert list(members(sent.upload)) == ["image", uploads.WEIGHT, "y"]
    assert (list(sent.spec.data.targets), sent.spec.data.weight) == (["y0", "y1"], "weight")


@pytest.mark.parametrize("name", ["y0", uploads.WEIGHT])
def test_an_array_has_no_name_of_a_target_or_the_weight(name: str) -> None:
    with pytest.raises(errors.InvalidData, match=f"'{name}' cannot be an array's name"):
        uploads.from_arrays({name: [1, 2, 3]}, np.ones((3, 2)), weight=[1, 2, 3])

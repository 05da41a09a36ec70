"""Rows from NPZ archives: columns and arrays by name, to predict and to evaluate."""
# pyright: reportUnknownMemberType=false

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.serving import Servers
from twofold.cli import archives, rows
from twofold.cli.cells import Wanted
from twofold.errors import InvalidData

# pyarrow ships no types.
pq: Any = import_module("pyarrow.parquet")

IMAGES = np.array([[[1, 2]], [[-3, 1]], [[0, 5]]], dtype=np.float32)
MEMBERS: dict[str, NDArray[Any]] = {
    "image": IMAGES,
    "x": np.array([[1, 2], [3, 4], [5, 6]]),
    "word": np.array(["a", "ä", "c"]),
    "y": np.array([b"yes", b"no", b"no"]),
}


def saved(folder: Path, **changes: NDArray[Any] | None) -> Path:
    path = folder / "rows.npz"
    members = {**MEMBERS, **changes}
    np.savez(path, **{name: array for name, array in members.items() if array is not None})  # pyright: ignore[reportArgumentType] - as numpy has it
    return path


WANTED = Wanted(numeric=("x1",), category=("word",), other=("y",), arrays=("image",))


def test_batches_have_the_columns_and_arrays_that_are_wanted(tmp_path: Path) -> None:
    path = saved(tmp_path)
    found = list(rows.batches(str(path), WANTED, 2))

    assert [{name: array.tolist() for name, array in batch.items()} for batch in found] == [  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType] - of columns
        {
            "x1": [2, 4], "word": ["a", "ä"], "image": IMAGES[:2].tolist(), "y": ["yes", "no"],
        },
        {"x1": [6], "word": ["c"], "image": IMAGES[2:].tolist(), "y": ["no"]},
    ]  # fmt: skip
    described = rows.describe(str(path))
    assert described == rows.Described(("image", "x0", "x1", "word", "y"), 3)


def test_only_x_and_y_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, xy=np.zeros((3, 4)), y=np.zeros((3, 1)))

    assert rows.describe(str(path)) == rows.Described(("xy", "y0"), 3)


def test_numbered_targets_are_columns(tmp_path: Path) -> None:
    path = saved(tmp_path, y=np.array([[1, 2], [3, 4], [5, 6]]))

    (batch,) = archives.batches(path, Wanted((), (), ("y1",)), 9)

    assert batch["y1"].tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    ("changes", "wanted", "message"),
    [
        ({}, Wanted(("age",), ()), "column age is missing; the model needs it once"),
        ({}, Wanted(("x2",), ()), "column x2 is missing"),
        ({}, Wanted((), (), (), ("ids",)), "column ids is missing"),
        ({}, Wanted(("word",), ()), "column word holds <U1; expected numbers"),
        ({}, Wanted(("image",), ()), r"column image has the shape \(3, 1, 2\)"),
        ({}, Wanted((), (), (), ("word",)), "array word is <U1"),
        (
            {"x": np.array([[1.0], [np.nan], [2]])}, Wanted(("x0",), ()),
            "row 2, column x0 is 'nan'; expected a number",
        ),
        (
            {"word": np.array(["a", "b", ""])}, Wanted((), ("word",)),
            "row 3, column word is missing",
        ),
        (
            {"word": np.array(["a", "b"])}, Wanted(("x0",), ("word",)),
            r"rows\.npz have different numbers of rows",
        ),
        (
            {"word": np.array([{}, 1, 2], dtype=np.object_)}, Wanted((), ("word",)),
            "cannot be read as an NPZ archive",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, changes: dict[str, NDArray[Any]], wanted: Wanted, message: str
) -> None:
    with pytest.raises(InvalidData, match=message):
        list(archives.batches(saved(tmp_path, **changes), wanted, 9))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    path.write_bytes(b"PK nonsense")

    with pytest.raises(InvalidData, match=r"rows\.npz cannot be read as an NPZ archive"):
        archives.describe(path)
    with pytest.raises(InvalidData, match=r"rows\.npz cannot be read as an NPZ archive"):
        list(archives.batches(path, WANTED, 1))


@pytest.fixture
def images(servers: Servers) -> Servers:
    """The model takes images alone."""
    servers.inferer.numeric_columns = []
    servers.inferer.arrays = {"image": ("FP32", [1, 2])}
    return servers


def test_images_are_predicted_and_raw_answers_are_nested(
    twofold: CommandLine, images: Servers, tmp_path: Path
) -> None:
    images.inferer.is_raw = True
    given = ["predict", "digits", "--rows", str(saved(tmp_path)), "--batch-size", "2"]

    lines = twofold(*given).stdout.splitlines()
    as_csv = twofold(*given, "--format", "csv").stdout.splitlines()

    assert [json.loads(line) for line in lines] == [
        {"row": 1, "maps": [[1, 2]], "total": 3, "version": 3},
        {"row": 2, "maps": [[-3, 1]], "total": -2, "version": 3},
        {"row": 3, "maps": [[0, 5]], "total": 5, "version": 3},
    ]
    assert as_csv[:2] == ["maps.0.0,maps.0.1,total,version", "1.0,2.0,3.0,3"]
    assert [len(sent["image"]) for sent in images.inferer.inputs] == [2, 1, 2, 1]
    assert list(images.inferer.inputs[0]) == ["image"]


def test_raw_answers_are_lists_of_fixed_sizes_in_parquet(
    twofold: CommandLine, images: Servers, tmp_path: Path
) -> None:
    images.inferer.is_raw = True
    out = tmp_path / "a.parquet"

    result = twofold("predict", "digits", "--rows", str(saved(tmp_path)), "--out", str(out))

    assert result.exit_code == 0
    assert "ignored, as the model does not ask for them: x0, x1, word, y" in result.stderr
    table = pq.read_table(out)
    assert table.to_pydict() == {
        "maps": [[[1, 2]], [[-3, 1]], [[0, 5]]],
        "total": [3, -2, 5],
        "version": [3, 3, 3],
    }
    assert str(table.schema.field("maps").type).startswith("fixed_size_list")


def test_a_classifier_of_images_is_measured(
    twofold: CommandLine, images: Servers, tmp_path: Path
) -> None:
    """It says yes, no, yes; the first two are right."""
    given = ["evaluate", "digits", "--data", str(saved(tmp_path)), "--target", "y", "--json"]

    report = json.loads(twofold(*given).stdout)

    assert report["classification"]["accuracy"] == pytest.approx(2 / 3)
    images.inferer.is_raw = True
    refused = twofold(*given)
    assert refused.exit_code == 1
    assert "digits, which answers maps, total; allowed: a model that answers probabilities" in (
        refused.stderr
    )


def test_only_archives_hold_arrays(twofold: CommandLine, images: Servers, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,2\n")

    result = twofold("predict", "digits", "--rows", str(file))

    assert result.exit_code == 2
    assert "the model takes the array image, which only a .npz file can hold" in result.stderr
    assert not images.inferer.requests


def test_an_npy_of_a_higher_rank_is_input_x(
    twofold: CommandLine, images: Servers, tmp_path: Path
) -> None:
    images.inferer.arrays = {"x": ("FP32", [1, 2])}
    file = tmp_path / "rows.npy"
    np.save(file, IMAGES)

    result = twofold("predict", "digits", "--rows", str(file))

    assert [json.loads(line)["label"] for line in result.stdout.splitlines()] == [
        "yes",
        "no",
        "yes",
    ]
    images.inferer.arrays = {"image": ("FP32", [1, 2])}
    refused = twofold("predict", "digits", "--rows", str(file))
    assert "rows.npy has no names, and so no column image" in refused.stderr

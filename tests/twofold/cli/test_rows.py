"""Rows from files: which columns, which cells, and what is refused."""

import errno
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from twofold.cli import rows
from twofold.errors import InvalidData

# pyarrow ships no types.
pa: Any = import_module("pyarrow")
pq: Any = import_module("pyarrow.parquet")
WANTED = rows.Wanted(numeric=("b", "a"), category=("colour",))


def read(path: Path, size: int = 100, wanted: rows.Wanted = WANTED) -> list[dict[str, list[Any]]]:
    found: Any = rows.batches(str(path), wanted, size)
    return [{name: column.tolist() for name, column in batch.items()} for batch in found]


def csv_file(folder: Path, text: str | bytes) -> Path:
    file = folder / "rows.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_csv_columns_by_name_in_batches(tmp_path: Path) -> None:
    text = '\ufeffcolour,y,a,b\n"red, dark",?,1,2.5\n\nblue,?, 3 ,-1e-3\ngrün,?,true,False\n'

    batches = read(csv_file(tmp_path, text), size=2)

    assert batches == [
        {"b": [2.5, -0.001], "a": [1.0, 3.0], "colour": ["red, dark", "blue"]},
        {"b": [0.0], "a": [1.0], "colour": ["grün"]},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column b is missing"),
        ("a,colour\n1,red\n", "column b is missing; the model needs it once"),
        ("a,b,b,colour\n1,2,3,red\n", "column b is there twice"),
        ("a,b,colour\n1,2,red\n1,2\n", "row 2 has 2 cells; the header has 3"),
        ("a,b,colour\n1,2,red,4\n", "row 1 has 4 cells; the header has 3"),
        ("a,b,colour\n1,nan,red\n", "row 1, column b is 'nan'; expected a number"),
        ("a,b,colour\n1,inf,red\n", "column b is 'inf'"),
        ("a,b,colour\n1,1e999,red\n", "column b is '1e999'"),
        ("a,b,colour\n1,1_000,red\n", "column b is '1_000'"),
        ("a,b,colour\n1,\u0661,red\n", "column b is"),
        ("a,b,colour\n1,,red\n", "row 1, column b is missing; expected a number"),
        ("a,b,colour\n1,2,\n", "row 1, column colour is missing; expected text"),
        ('a,b,colour\n1,2,"red\n', "not a CSV table"),
        (b"a,b,colour\n1,2,\xff\n", "not UTF-8"),
        ("a,b,colour\n1,2," + "r" * 600_000 + "\n", "not a CSV table"),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        read(csv_file(tmp_path, text))


def parquet_file(folder: Path, columns: dict[str, object]) -> Path:
    file = folder / "rows.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def test_parquet_columns_of_every_kind_in_batches(tmp_path: Path) -> None:
    columns = {
        "a": pa.array([1, 2, 3], pa.uint8()),
        "colour": pa.array(["red", "blue", "red"]).dictionary_encode(),
        "y": pa.array([0.0, 0.0, 0.0]),
        "b": pa.array([True, False, True]),
    }

    batches = read(parquet_file(tmp_path, columns), size=2)

    assert batches == [
        {"b": [1.0, 0.0], "a": [1.0, 2.0], "colour": ["red", "blue"]},
        {"b": [1.0], "a": [3.0], "colour": ["red"]},
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0], "colour": ["red"]}, "column b is missing"),
        ({"a": [1.0], "b": [None], "colour": ["red"]}, "row 1, column b is missing"),
        ({"a": [1.0], "b": ["x"], "colour": ["red"]}, "column b is 'x'; expected a number"),
        ({"a": [1.0], "b": [float("nan")], "colour": ["red"]}, "column b is 'nan'"),
        ({"a": [1, 2], "b": [1, 2], "colour": ["red", None]}, "row 2, column colour is missing"),
    ],
)
def test_bad_parquet_is_refused(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        read(parquet_file(tmp_path, columns))


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"PAR1 nonsense PAR1")

    with pytest.raises(InvalidData, match=r"rows\.parquet cannot be read as Parquet"):
        read(file)


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not as if the answers' file could not be written."""
    file = csv_file(tmp_path, "a,b,colour\n1,2,red\n")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(typer.BadParameter, match=r"rows\.csv cannot be read: Permission denied"):
        rows.describe(str(file))


def test_npy_in_batches(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    np.save(file, np.arange(6).reshape(3, 2))

    batches = rows.batches(str(file), WANTED, 2)

    assert [np.asarray(batch).tolist() for batch in batches] == [[[0, 1], [2, 3]], [[4, 5]]]
    assert rows.describe(str(file)) == rows.Described((), 3)


def test_pickled_npy_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    np.save(file, np.array([[{}]], dtype=np.object_), allow_pickle=True)

    with pytest.raises(InvalidData, match="cannot be read as a NumPy array of numbers"):
        read(file)


def test_npy_of_another_shape_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    np.save(file, np.arange(6))

    with pytest.raises(InvalidData, match=r"no array \[rows, columns\]"):
        read(file)

"""Columns as users are shown them, and the names they may have."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.reading import table
from trainer.reading.table import DISTINCT_LIMIT, Matrix, Table, Values, check_names, summarize
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2


def describe(values: Values) -> dataset_pb2.Column:
    return summarize(Table({"a": values}, len(values))).columns[0]


def texts(*cells: str) -> NDArray[np.object_]:
    return np.array(cells, dtype=np.object_)


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (
            np.array([3, -1, 3]),
            dataset_pb2.Column(kind="COLUMN_KIND_INTEGER", distinct_count=2, minimum=-1, maximum=3),
        ),
        (
            np.array([0.5, -1.5, 0.5]),
            dataset_pb2.Column(kind="COLUMN_KIND_REAL", minimum=-1.5, maximum=0.5),
        ),
        (
            np.array([0.5], dtype=np.float32),
            dataset_pb2.Column(kind="COLUMN_KIND_REAL", minimum=0.5, maximum=0.5),
        ),
        (
            np.array([True, True]),
            dataset_pb2.Column(kind="COLUMN_KIND_BOOLEAN", distinct_count=1),
        ),
        (
            texts("x", "y", "x"),
            dataset_pb2.Column(kind="COLUMN_KIND_CATEGORY", distinct_count=2),
        ),
    ],
)
def test_a_column_is_described_by_what_it_holds(values: Values, column: dataset_pb2.Column) -> None:
    column.name = "a"

    assert describe(values) == column


@pytest.mark.parametrize("count", [1, DISTINCT_LIMIT - 1, DISTINCT_LIMIT, 3 * DISTINCT_LIMIT])
def test_different_values_are_counted_up_to_the_limit(count: int) -> None:
    cells = [str(number) for number in range(count)]

    assert describe(texts(*cells, *cells)).distinct_count == min(count, DISTINCT_LIMIT)
    assert describe(np.arange(count)).distinct_count == min(count, DISTINCT_LIMIT)


@pytest.mark.parametrize("order", ["C", "F"])
def test_columns_of_a_matrix_are_described_like_any(order: Literal["C", "F"]) -> None:
    values = np.asarray([[0.1, 5], [-2, 7]], dtype=np.float32, order=order)
    columns: dict[str, Values] = {"b": values[:, 1], "n": np.array([1, 2]), "a": values[:, 0]}

    found = summarize(Table(columns, 2, Matrix(("a", "b"), values)))

    assert found == summarize(Table(columns, 2))
    assert [(c.name, c.minimum, c.maximum) for c in found.columns] == [
        ("b", 5, 7),
        ("n", 1, 2),
        ("a", -2, 0.1),
    ]


def test_columns_keep_their_order() -> None:
    found = summarize(Table({"b": np.array([1]), "a": np.array([2])}, 1))

    assert found.row_count == 1
    assert [column.name for column in found.columns] == ["b", "a"]


@pytest.mark.parametrize("name", ["a", "ä ö", "x" * 255, "with, comma", "../a", "0"])
def test_printable_names_are_taken(name: str) -> None:
    assert check_names([name, "other"]) == [name, "other"]


@pytest.mark.parametrize(
    "name",
    ["", " ", "a\n", "a ", " a", "\ta", "a\0b", "a\x1b[31m", "x" * 256, "a\u200b", "a\u00a0"],
)
def test_other_names_are_refused_with_their_place(name: str) -> None:
    with pytest.raises(InvalidData) as caught:
        check_names(["other", name])

    assert "column 2" in caught.value.message
    assert caught.value.message.isascii()
    assert caught.value.fields == {"column": "2"}


def test_names_are_refused_when_repeated_or_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidData, match="two columns have the name b"):
        check_names(["b", "a", "b"])

    monkeypatch.setattr(table, "MAX_COLUMNS", 2)
    assert check_names(["a", "b"]) == ["a", "b"]
    with pytest.raises(InvalidData, match="more than 2 columns"):
        check_names(["a", "b", "c"])


@pytest.mark.parametrize("row_count", [-1, 0, table.MAX_ROWS + 1])
def test_no_rows_and_too_many_are_refused(row_count: int) -> None:
    with pytest.raises(InvalidData, match=f"the table has {row_count} rows"):
        table.check_row_count(row_count)
    assert table.check_row_count(table.MAX_ROWS) == table.MAX_ROWS

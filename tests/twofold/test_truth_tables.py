"""The built-in data sets are the truth tables."""

import pytest

from twofold import names
from twofold.errors import InvalidField
from twofold.truth_tables import truth_table


@pytest.mark.parametrize(
    ("name", "labels"), [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])]
)
def test_rows(name: str, labels: list[int]) -> None:
    table = truth_table(name)

    assert table.arrays["a"].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert table.arrays["b"].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert table.arrays["label"].tolist() == labels
    assert table.row_count == 4


@pytest.mark.parametrize("name", names.TRUTH_TABLES)
def test_columns_describe_the_arrays(name: str) -> None:
    columns, arrays = truth_table(name)

    assert [column.name for column in columns] == list(arrays)
    assert columns[-1].distinct_count == len(set(arrays["label"].tolist()))


def test_another_name_is_refused() -> None:
    with pytest.raises(InvalidField, match="and, or, xor"):
        truth_table("nand")

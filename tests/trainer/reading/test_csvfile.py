"""CSV into columns: what a column holds is decided by all of its cells (D-CSV, U-BAD)."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.reading.files import columns_of, refusal_of
from trainer.reading import csvfast, csvfile
from trainer.reading.csvfile import read_csv

Write = Callable[[bytes], Path]
NEEDS_A_VALUE = "every cell needs a value"


@pytest.fixture(params=["careful", "fast"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test here holds for both readers."""
    if request.param == "fast":
        monkeypatch.setattr(csvfast, "LEAST_BYTES", 0)
    else:
        monkeypatch.setattr(csvfast, "LEAST_BYTES", 1 << 60)
    return request.param


def column(*cells: str) -> bytes:
    """A table whose second column holds these cells."""
    return "".join(["a,b\n", *(f"{row},{cell}\n" for row, cell in enumerate(cells))]).encode()


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        (["1", "-2", "007"], "int64", [1, -2, 7]),
        (["9223372036854775807", "-9223372036854775808"], "int64", [2**63 - 1, -(2**63)]),
        (["9223372036854775808", "1"], "float32", [2.0**63, 1]),
        (["16777217", "0.1"], "float32", [2.0**24, float(np.float32(0.1))]),
        (["1", "2.5", "1e3"], "float32", [1, 2.5, 1000]),
        (["5.", ".5", "+1", "-0.0"], "float32", [5, 0.5, 1, 0]),
        (["1e-400", "5e-324", "1e-45"], "float32", [0, 0, float(np.float32(1e-45))]),
        (["3.4028235e38", "0"], "float32", [float(np.finfo(np.float32).max), 0]),
        (["true", "False", "TRUE"], "bool", [True, False, True]),
        (["x", "1", "true"], "object", ["x", "1", "true"]),
        (["true", "1"], "object", ["true", "1"]),
        (["yes", "no"], "object", ["yes", "no"]),
        (["0x1F", "1"], "object", ["0x1F", "1"]),
        (["0x1p-1074", "1"], "object", ["0x1p-1074", "1"]),
        (["1_000", "1d5"], "object", ["1_000", "1d5"]),
        (["ä", "\U0001f600"], "object", ["ä", "\U0001f600"]),
        (["nan", "inf", "x"], "object", ["nan", "inf", "x"]),
        (["NA", "null", "-", "?", "x"], "object", ["NA", "null", "-", "?", "x"]),
        ([" 1", "2 ", "\t3"], "int64", [1, 2, 3]),
        ([" 1.5", "2 "], "float32", [1.5, 2]),
        ([" true", "false ", "\tTrue"], "bool", [True, False, True]),
        ([" x", "y "], "object", [" x", "y "]),
        (['"1"', '"2"'], "int64", [1, 2]),
        (['"a,b"', '"c""d"', '"e\nf"'], "object", ["a,b", 'c"d', "e\nf"]),
    ],
)
def test_a_column_is_the_narrowest_kind_that_takes_every_cell(
    write: Write, cells: list[str], dtype: str, values: list[object]
) -> None:
    table = read_csv(write(column(*cells)))

    assert str(table.columns["b"].dtype) == dtype
    assert table.columns["b"].tolist() == values
    assert columns_of(table)["a"] == list(range(len(cells)))


@pytest.mark.parametrize(
    "cell",
    ["", " ", "\t", '""', "nan", "NaN", "-nan", "NA", "n/a", "NULL", "None", "nil", "?", "-",
     "inf", "-Infinity", "3.4028236e38", "1e39", "1e308", "-1e400"],
)  # fmt: skip
@pytest.mark.parametrize("others", [["1", "2"], ["0.5", "2"]])
def test_a_hole_in_a_column_of_numbers_is_named_by_its_place(
    write: Write, cell: str, others: list[str]
) -> None:
    """D-CSV."""
    refusal = refusal_of(read_csv, write(column(*others, cell, others[0], cell)))

    assert refusal.message.startswith("row 3, column b: the value is ")
    assert NEEDS_A_VALUE in refusal.message
    assert refusal.fields == {"row": "3", "column": "b"}


@pytest.mark.parametrize("cells", [["true", "NA", "false"], ["NA", "None", "null"], ["x", ""]])
def test_a_hole_is_found_in_other_columns_too(write: Write, cells: list[str]) -> None:
    refusal = refusal_of(read_csv, write(column(*cells)))

    assert refusal.fields["column"] == "b"
    assert refusal.fields["row"] == str(1 if cells[0] == "NA" else 2)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows a block, so that a small file has many."""
    monkeypatch.setattr(csvfile, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(csvfast, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(csvfast, "SAMPLE_BYTES", 32)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("early", "late", "dtype"),
    [
        ("007", "x", "object"),
        ("007", "1.5", "float32"),
        ("1.5", "7", "float32"),
        ("true", "1", "object"),
        ("true", "x", "object"),
        ("1", "true", "object"),
        ("nan", "x", "object"),
        ("x", "1", "object"),
        ("1", "0x1F", "object"),
        ("1", "2020-01-01", "object"),
        ("true", "yes", "object"),
        ("true", " FALSE", "bool"),
        ("1", "16777217.0", "float32"),
        ("1", "9223372036854775808", "float32"),
        ('"1"', "2", "int64"),
        ("1", '"2"', "int64"),
        ("x", '"2"', "object"),
    ],
)
def test_what_a_late_block_holds_decides_for_the_early_ones(
    write: Write, early: str, late: str, dtype: str
) -> None:
    table = read_csv(write(column(*[early] * 100, late)))

    assert str(table.columns["b"].dtype) == dtype
    early, late = early.strip('"'), late.strip('"')
    if dtype == "object":
        assert table.columns["b"].tolist() == [early] * 100 + [late]
    elif dtype == "bool":
        assert table.columns["b"].tolist() == [True] * 100 + [False]
    else:
        cells = np.array([float(early)] * 100 + [float(late)], dtype=dtype)
        assert table.columns["b"].tolist() == cells.tolist()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("early", "late"), [("1", "NA"), ("NA", "1"), ("true", "?"), ("2", "")])
def test_rows_are_counted_across_blocks(write: Write, early: str, late: str) -> None:
    refusal = refusal_of(read_csv, write(column(*[early] * 100, late)))

    assert refusal.fields["row"] == ("1" if early == "NA" else "101")


@pytest.mark.usefixtures("small_blocks")
def test_a_row_of_other_length_is_named_across_blocks(write: Write) -> None:
    content = column(*["1"] * 100) + b"7\n"

    refusal = refusal_of(read_csv, write(content))

    assert refusal.message == "row 101 has 1 cells; the header has 2"
    assert refusal.fields == {"row": "101"}


def test_equal_texts_are_one_object(write: Write) -> None:
    """A million rows of three categories hold three texts."""
    cells = read_csv(write(column(*["long text", "other"] * 50))).columns["b"]

    assert len({id(cell) for cell in cells}) == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_ended", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_kind_of_line_end_is_taken(
    write: Write,
    newline: str,
    mark: str,
    is_ended: bool,  # noqa: FBT001 - pytest
) -> None:
    text = mark + newline.join(["a,b", "1,x", "2,y"]) + newline * is_ended

    assert columns_of(read_csv(write(text.encode()))) == {"a": [1, 2], "b": ["x", "y"]}


MALFORMED: list[tuple[bytes, str, dict[str, str]]] = [
    (b"", "the first row is empty", {}),
    (b"\n", "the first row is empty", {}),
    (b"\n\na,b\n1,2\n", "the first row is empty", {}),
    (b"a,b", "the table has 0 rows", {}),
    (b"a,b\n", "the table has 0 rows", {}),
    (b"a,b\r\n", "the table has 0 rows", {}),
    (b"a,b\n\n\n", "the table has 0 rows", {}),
    (b"a,a\n1,2\n", "two columns have the name a", {"column": "a"}),
    (b"a,\n1,2\n", "column 2 has no name", {"column": "2"}),
    (b"a, \n1,2\n", "column 2 has no name", {"column": "2"}),
    (b"a, b\n1,2\n", "the name of column 2,  b, is not of", {"column": "2"}),
    (b'"a\nb",c\n1,2\n', r"the name of column 1, a\nb, is not of", {"column": "1"}),
    (b"a," + b"b" * 256 + b"\n1,2\n", "at most 255 printable characters", {"column": "2"}),
    (b'"a,b\n1,2\n', "the header row cannot be read", {}),
    (b'"a"b,c\n1,2\n', "the header row cannot be read", {}),
    (b"a,\xff\n1,2\n", "the header row is not valid UTF-8", {}),
    (b"a,b\0\n1,2\n", "the file has NUL bytes", {}),
    ("a,b\n1,2\n".encode("utf-16"), "the file has NUL bytes", {}),
    ("a,b\n1,2\n".encode("utf-16-be"), "the file has NUL bytes", {}),
    ("a,b\n1,2\n".encode("utf-32"), "the file has NUL bytes", {}),
    (b",".join(b"c%d" % n for n in range(5000)) + b"\n", "more than 4096 columns", {}),
    (b"a,b\n1,2\n3\n", "row 2 has 1 cells; the header has 2", {"row": "2"}),
    (b"a,b\n1,2,3\n", "row 1 has 3 cells; the header has 2", {"row": "1"}),
    (b"a,b\n\n1,2\n\n\n3\n", "row 2 has 1 cells", {"row": "2"}),
    (b'a,b\n1,2\n3,"4\n5,6\n', "row 2 opens a quote that is never closed", {"row": "2"}),
    (b'a,b\n1,2\n"', "row 2 opens a quote that is never closed", {"row": "2"}),
    (b"a,b\n1,2\n3,\xe4\n", "row 2 is not valid UTF-8", {"row": "2"}),
    (b"a,b\n1,2\n3,\xc3", "row 2 is not valid UTF-8", {"row": "2"}),
    (b"a,b\n1,2\n\n\r\n3,\xff\n", "row 2 is not valid UTF-8", {"row": "2"}),
    (b"a,b\n1,2\n3,\0\n", "row 2 has a NUL byte", {"row": "2"}),
    (b'a,b\n"1\n\n2",2\n3,\0\n', "row 2 has a NUL byte", {"row": "2"}),
    (b"a,b\n1,2\n3," + b"x" * (1 << 20), "row 2 is longer than 1048576 bytes", {"row": "2"}),
    (b"PAR1" + bytes(100) + b"PAR1", "the file has NUL bytes", {}),
]


@pytest.mark.parametrize(("content", "text", "fields"), MALFORMED)
def test_a_malformed_table_is_refused_with_its_row(
    write: Write, content: bytes, text: str, fields: dict[str, str]
) -> None:
    """U-BAD, D-CSV."""
    refusal = refusal_of(read_csv, write(content))

    assert text in refusal.message
    assert refusal.fields == fields


def test_a_million_columns_are_refused(write: Write) -> None:
    """D-CSV."""
    content = b",".join(b"c%d" % number for number in range(1_000_000)) + b"\n1\n"

    assert "more than 4096 columns" in refusal_of(read_csv, write(content)).message


def test_the_widest_table_is_read(write: Write) -> None:
    names = [f"c{number}" for number in range(4096)]
    content = ",".join(names) + "\n" + "1," * 4095 + "x\n"

    table = read_csv(write(content.encode()))

    assert list(table.columns) == names
    assert table.columns["c4095"].tolist() == ["x"]


def test_many_rows_are_read_and_counted(write: Write) -> None:
    """Several blocks of real size."""
    row_count = 700_000
    path = write(b"a,b\n" + b"1,abcdefghij\n" * row_count)
    assert path.stat().st_size > csvfile._BLOCK_BYTES > csvfast._BLOCK_BYTES
    table = read_csv(path)

    assert table.row_count == row_count
    assert np.all(table.columns["a"] == 1)


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), include_characters="\n,\" '"),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXTS, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_a_csv_writer_writes_is_read_back(
    write: Write, rows: list[tuple[str, int]], newline: str
) -> None:
    rows = [(f"x{text}", number) for text, number in rows]
    file = io.StringIO()
    csv.writer(file, lineterminator=newline).writerows([("text", "number"), *rows])

    table = read_csv(write(file.getvalue().encode()))

    assert columns_of(table) == {
        "text": [text for text, _ in rows],
        "number": [number for _, number in rows],
    }

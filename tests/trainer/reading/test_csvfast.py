"""Usual files are read in one pass; what is odd is left to the careful reader, which decides."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.reading.files import columns_of
from trainer.reading import csvfast, csvfile
from trainer.reading.csvguard import read_header
from trainer.reading.table import Table
from twofold.errors import InvalidData

Write = Callable[[bytes], Path]


def read_fast(path: Path) -> Table | None:
    return csvfast.read(path, read_header(path), csvfile._guess_from_sample)


USUAL: list[tuple[bytes, dict[str, list[object]]]] = [
    (b"a,b\n1,0.5\n2,1.5\n", {"a": [1, 2], "b": [0.5, 1.5]}),
    (b"a,b\r\n1,0.5\r\n2,1.5\r\n", {"a": [1, 2], "b": [0.5, 1.5]}),
    (b'"a","b"\n1,2\n', {"a": [1], "b": [2]}),
    (b"\xef\xbb\xbfa,b\n1,2\n", {"a": [1], "b": [2]}),
    (b"a\n\n1\n\n2\n", {"a": [1, 2]}),
    (b"a\n 1\n2 \n", {"a": [1, 2]}),
    (b"a,b\ntrue,x\n False ,y\n", {"a": [True, False], "b": ["x", "y"]}),
    ('a,b\n"ä,1",1\nä,2\n'.encode(), {"a": ["ä,1", "ä"], "b": [1, 2]}),
    (b'a,b\n"x\ny",1\n"z ""q""",2\n', {"a": ["x\ny", 'z "q"'], "b": [1, 2]}),
]


@pytest.mark.parametrize(("content", "cells"), USUAL)
def test_usual_files_need_one_pass(
    write: Write, content: bytes, cells: dict[str, list[object]]
) -> None:
    found = read_fast(write(content))

    assert found is not None
    assert columns_of(found) == cells


ODD = [
    b"a,b\n1,0x1F\n",
    b"a\nNA\n",
    b"a\n1\n\n2\nnan\n",
    b"a,b\n1,2\n3\n",
    b"a,b\nx,\0\n",
    b'a,b\nx,1\n5" pipe,2\n',
    b'a,b\nx,1\n"y,2\n',
    b"a,b\nx,\xff\n",
    b"a,b\nx, \n",
    b"a\r1\r2\r",
    b'"a\nb"\n1\n',
    b"a\n",
    b"a",
]


@pytest.mark.parametrize("content", ODD)
def test_odd_files_are_left_alone(write: Write, content: bytes) -> None:
    path = write(content)

    assert csvfast.read(path, ["a", "b"][: content.count(b",", 0, 4) + 1], _guess) is None


_guess = csvfile._guess_from_sample


@pytest.mark.parametrize("scan_bytes", range(1, 8))
@pytest.mark.parametrize("mark", ["0x1F", "0X1F", "-0x1"])
def test_a_hexadecimal_number_is_found_across_blocks(
    write: Write, monkeypatch: pytest.MonkeyPatch, mark: str, scan_bytes: int
) -> None:
    """Arrow takes it for a whole number; here it is text, and so is its column."""
    monkeypatch.setattr(csvfast, "SAMPLE_BYTES", 16)
    monkeypatch.setattr(csvfast, "_SCAN_BYTES", scan_bytes)
    for quoted in (b"x", b'"x"'):  # block by block, and as a whole
        assert read_fast(write(b"a,b\n" + b"1,%s\n" % quoted * 20 + f"{mark},y\n".encode())) is None


def test_the_disks_errors_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        csvfast.read(tmp_path / "gone", ["a"], _guess)


def test_whole_numbers_that_end_in_fractions_are_rounded_once(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through 64 bits this number would be rounded down, to 2**24 + 2."""
    monkeypatch.setattr(csvfast, "SAMPLE_BYTES", 16)
    cell = "16777219.0000000001"

    found = read_fast(write(b"a\n" + b"1\n" * 50 + cell.encode() + b"\n"))

    assert found is not None
    assert found.columns["a"][-1] == 16777220


def test_columns_that_end_in_fractions_are_found_in_one_more_pass(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csvfast, "SAMPLE_BYTES", 16)
    monkeypatch.setattr(csvfast, "_BLOCK_BYTES", 64)

    found = read_fast(write(b"a,b,c\n" + b"1,2,3\n" * 50 + b"1.5,2,3\n" + b"1,2.5,3\n" * 50))

    assert found is not None
    assert [values.dtype.kind for values in found.columns.values()] == ["f", "f", "i"]
    assert found.columns["a"].tolist() == [1] * 50 + [1.5] + [1] * 50
    assert found.columns["b"].tolist() == [2] * 51 + [2.5] * 50


@pytest.mark.parametrize("rows", [b"1,0.5,x\n" * 1000, b"1000000,0.000005,xxxxxxx\n" * 30])
def test_rows_that_are_shorter_or_longer_later_on(
    write: Write, monkeypatch: pytest.MonkeyPatch, rows: bytes
) -> None:
    """The room that the first rows suggest is too small, or too large."""
    monkeypatch.setattr(csvfast, "SAMPLE_BYTES", 64)
    monkeypatch.setattr(csvfast, "_BLOCK_BYTES", 128)
    path = write(b"a,b,c\n" + b"12345678,0.12345,xyz\n" * 5 + rows)

    found = read_fast(path)

    assert found is not None
    assert columns_of(found) == columns_of(csvfile._read_carefully(path, ["a", "b", "c"]))
    assert found.row_count == 5 + rows.count(b"\n")


@pytest.mark.parametrize("length", [60, 70])
def test_a_row_longer_than_a_block_is_left_alone(
    write: Write, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(csvfast, "SAMPLE_BYTES", 16)
    monkeypatch.setattr(csvfast, "_BLOCK_BYTES", 64)

    found = read_fast(write(b"a\n" + b"x\n" * 50 + b"y" * length + b"\n" + b"x\n" * 50))

    assert (found is not None) == (length < 64)


def test_a_mark_of_the_byte_order_within_a_file_is_text(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow skips it at the beginning of whatever it reads."""
    monkeypatch.setattr(csvfast, "SAMPLE_BYTES", 16)
    monkeypatch.setattr(csvfast, "_BLOCK_BYTES", 64)

    assert read_fast(write(b"a\n" + b"x\n" * 32 + b"\xef\xbb\xbfx\n" * 40)) is None


def test_reals_stand_in_one_matrix(write: Write) -> None:
    table = csvfile.read_csv(write(b"a,n,b\n" + b"0.5,1,2.5\n" * 200_000))

    assert table.matrix is not None
    assert table.matrix.names == ("a", "b")
    assert np.shares_memory(table.matrix.values, table.columns["b"])
    assert table.matrix.values[-1].tolist() == [0.5, 2.5]


CELLS = st.sampled_from([
    "1", "2", "-7", "007", "0.5", "1e3", "3.4028235e38", "1e39", "1e-50", "nan", "NA", "inf", "",
    " ", " 1", "2 ", "\t3", "true", "FALSE", " true", "x", " x", "0x1F", '"1"', '"a,b"', '"a\nb"',
    '"a""b"', '5"', '""', "ä", "\0", "\ufeff", "2020-01-01", "12:30", "9223372036854775808", "+1",
    "1,2", "\r",
])  # fmt: skip
KINDS = st.lists(CELLS, min_size=1, max_size=3)


def outcome(read: Callable[[], Table]) -> object:
    try:
        table = read()
    except InvalidData as error:
        return error.message
    return {name: (str(values.dtype), values.tolist()) for name, values in table.columns.items()}


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A file of one to three columns, each of cells of a few kinds."""
    kinds = draw(st.lists(KINDS, min_size=1, max_size=3))
    chance = random.Random(draw(st.integers(0, 1000)))  # noqa: S311 - no secret
    row_count = draw(st.integers(1, 40))
    lines = [",".join(chance.choice(cells) for cells in kinds) for _ in range(row_count)]
    header = ",".join(f"c{index}" for index in range(len(kinds)))
    return draw(st.sampled_from(["\n", "\r\n"])).join([header, *lines, ""]).encode()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=tables(),
    sample_bytes=st.sampled_from([16, 64, 1 << 18]),
    block_bytes=st.sampled_from([24, 64, 1 << 20]),
)
def test_what_is_read_fast_is_what_the_careful_reader_gives(
    write: Write, content: bytes, sample_bytes: int, block_bytes: int
) -> None:
    path = write(content)
    names = read_header(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csvfast, "SAMPLE_BYTES", sample_bytes)
        patch.setattr(csvfast, "_BLOCK_BYTES", block_bytes)
        fast = csvfast.read(path, names, _guess)

    if fast is not None:
        careful = outcome(lambda: csvfile._read_carefully(path, names))
        assert outcome(lambda: fast) == careful

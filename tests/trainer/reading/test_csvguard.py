"""What reaches the CSV parser: whole text, short rows, and every refusal with its row (D-CSV)."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.reading import csvguard
from trainer.reading.csvguard import CsvGuard
from twofold.errors import InvalidData

Write = Callable[[bytes], Path]
BLOCKS = [1, 2, 3, 5, 64]


def read_all(path: Path, block_bytes: int) -> bytes:
    with closing(CsvGuard(path)) as guard:
        assert guard.readable()
        return b"".join(iter(lambda: guard.read(block_bytes), b""))


def refusal(path: Path, block_bytes: int) -> InvalidData:
    with pytest.raises(InvalidData) as caught:
        read_all(path, block_bytes)
    return caught.value


@pytest.mark.parametrize("block_bytes", BLOCKS)
def test_good_bytes_pass_unchanged(write: Write, block_bytes: int) -> None:
    content = 'a,b\n"1\n2",ä\r\n\n3,"x""y"\n\U0001f600,4'.encode()

    assert read_all(write(content), block_bytes) == content


CONTENTS = [
    (b"a,b\n1,2\n3,\0\n", "row 2 has a NUL byte; only UTF-8"),
    (b"a,\0b\n1,2\n", "the header row has a NUL byte; only UTF-8"),
    (b"a,b\n1,2\n3,\xff\n", "row 2 is not valid UTF-8"),
    (b"a,b\n1,2\n3,\xf0\x9f\x98\n4,5\n", "row 2 is not valid UTF-8"),
    (b"a,b\n1,2\n3,\xf0\x9f", "row 2 is not valid UTF-8"),
    (b'a,b\n1,2\n3,"4\n5,6\n', "row 2 opens a quote that is never closed"),
    (b'a,b\n"1\n2",3\n\xff', "row 2 is not valid UTF-8"),
    (b"a,b\n\n\r\n1,2\n\r\n\r\n\n3,\0\n", "row 2 has a NUL byte; only UTF-8"),
    (b"a,b\nx\n\r\ny\r\n\0", "row 3 has a NUL byte; only UTF-8"),
]


@pytest.mark.parametrize("block_bytes", BLOCKS)
@pytest.mark.parametrize(("content", "text"), CONTENTS)
def test_the_row_is_right_wherever_the_blocks_end(
    write: Write, content: bytes, text: str, block_bytes: int
) -> None:
    error = refusal(write(content), block_bytes)

    assert error.message.startswith(text)
    row = text.split()[1]
    assert error.fields == ({"row": row} if row.isdecimal() else {})


def test_a_character_across_blocks_counts_from_its_own_block(write: Write) -> None:
    """The decoder counts the bytes that it kept of the block before, too."""
    content = "a\nx€".encode() + b"\xff\n1\n"
    block_bytes = content.index(b"\xac")

    assert refusal(write(content), block_bytes).fields == {"row": "1"}


@pytest.mark.parametrize("block_bytes", BLOCKS)
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\n1\n1234567890\n", "row 2 is longer than 10 bytes"),
        (b'a\n1\n"\n45678901\n', "row 2 is longer than 10 bytes; is a quote left open?"),
        (b"a2345678901\n1\n", "the header row is longer than 10 bytes"),
    ],
)
def test_no_row_is_longer_than_the_limit(
    write: Write, monkeypatch: pytest.MonkeyPatch, content: bytes, text: str, block_bytes: int
) -> None:
    monkeypatch.setattr(csvguard, "MAX_ROW_BYTES", 10)

    assert refusal(write(content), block_bytes).message == text


def test_a_row_of_just_the_limit_passes(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvguard, "MAX_ROW_BYTES", 10)

    assert len(read_all(write(b"a\n123456789\n" + b"\n" * 30), 4)) == 42


LINES = st.lists(
    st.sampled_from([b"1,2", b"", b'"a\nb",c', "ä,ö".encode(), b'"x""y\r\n",2', b"\r"]),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, block_bytes=st.integers(1, 30))
def test_rows_are_counted_as_the_parser_counts(
    write: Write, lines: list[bytes], block_bytes: int
) -> None:
    """An empty line is no row, a newline within quotes ends none."""
    path = write(b"\n".join([b"a,b", *lines, b"\0"]))

    row = 1 + sum(line not in {b"", b"\r"} for line in lines)

    assert refusal(path, block_bytes).fields == {"row": str(row)}


def test_closing_closes_the_file(write: Write) -> None:
    guard = CsvGuard(write(b"a\n"))
    guard.close()

    assert guard.closed
    assert guard._file.closed

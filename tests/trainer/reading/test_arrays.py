"""NPY: plain arrays become columns, and no header is believed (D-HEADER, D-PICKLE, U-BAD)."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.reading.files import PLAIN_HEADER, columns_of, npy, npy_with, refusal_of
from trainer.reading import arrays
from trainer.reading.arrays import read_npy
from twofold.errors import InvalidData

Write = Callable[[bytes], Path]
PLAIN_DATA = np.arange(4.0).tobytes()


def test_the_last_column_is_the_target(write: Write) -> None:
    table = read_npy(write(npy([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])))

    assert columns_of(table) == {"x0": [1.0, 4.0], "x1": [2.0, 5.0], "y": [3.0, 6.0]}


def test_one_column_is_the_target_alone(write: Write) -> None:
    assert columns_of(read_npy(write(npy([[1], [2]])))) == {"y": [1, 2]}


@pytest.mark.parametrize(
    ("element", "kept"),
    [
        ("<f2", "<f4"), ("<f4", "<f4"), ("<f8", "<f8"), (">f4", "<f4"), (">f8", "<f8"),
        ("|i1", "<i8"), ("<u2", "<i8"), (">i4", "<i8"), ("<i8", "<i8"), ("<u8", "<i8"),
        ("|b1", "|b1"),
    ],
)  # fmt: skip
def test_every_plain_element_type_is_taken(write: Write, element: str, kept: str) -> None:
    table = read_npy(write(npy(np.array([[0, 1], [1, 0]], dtype=element))))

    assert [values.dtype.str for values in table.columns.values()] == [kept, kept]
    assert columns_of(table) == {"x0": [0, 1], "y": [1, 0]}
    assert all(values.flags.c_contiguous for values in table.columns.values())


def test_other_byte_orders_keep_double_precision(write: Write) -> None:
    exact = 25_000_000_001.0

    assert columns_of(read_npy(write(npy(np.array([[exact]], dtype=">f8"))))) == {"y": [exact]}


def test_arrays_in_column_order_read_the_same(write: Write) -> None:
    array = np.arange(6.0).reshape(2, 3)

    turned = columns_of(read_npy(write(npy(np.asfortranarray(array)))))

    assert turned == columns_of(read_npy(write(npy(array))))


def test_any_byte_of_a_boolean_is_true_or_false(write: Write) -> None:
    """A file can hold 255 where NumPy writes 1, and NumPy would add it up as 255."""
    odd = np.array([[0, 1], [2, 255]], dtype=np.uint8).view(np.bool_)

    table = read_npy(write(npy(odd)))

    assert columns_of(table) == {"x0": [False, True], "y": [True, True]}
    assert [values.astype(np.float32).tolist() for values in table.columns.values()] == [
        [0.0, 1.0],
        [1.0, 1.0],
    ]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_format_is_read(write: Write, version: int) -> None:
    content = npy_with(PLAIN_HEADER, PLAIN_DATA, version)

    assert columns_of(read_npy(write(content))) == {"x0": [0.0, 2.0], "y": [1.0, 3.0]}


def test_a_header_of_python_2_is_read_without_a_warning(write: Write) -> None:
    content = npy_with(PLAIN_HEADER.replace("2, 2", "2L, 2L"), PLAIN_DATA)

    assert read_npy(write(content)).row_count == 2


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.array([[1, 2], [3, np.nan]]), "missing (NaN)"),
        (np.array([[1, 2], [3, -np.inf]]), "-inf"),
        (np.array([[1, 2], [3, 1e39]]), "1e+39"),
        (np.array([[1, 2], [3, np.inf]], dtype=np.float16), "inf"),
        (np.array([[1, 2], [3, np.nan]], dtype=np.float16), "missing (NaN)"),
        (np.array([[1, 2], [3, np.inf]], dtype=np.float32), "inf"),
        (np.array([[1, 2], [3, 2**63]], dtype=np.uint64), str(2**63)),
    ],
)
def test_a_number_that_cannot_be_used_is_named_by_its_place(
    write: Write, array: NDArray[np.generic], found: str
) -> None:
    refusal = refusal_of(read_npy, write(npy(array)))

    assert refusal.message.startswith(f"row 2, column y: the value is {found};")
    assert refusal.fields == {"row": "2", "column": "y"}


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((0, 3)), "the table has 0 rows"),
        (np.zeros((3, 0)), "shape (3, 0)"),
        (np.zeros((1, 65_537), dtype=np.int8), "1 to 65536 columns"),
        (np.zeros(4), "shape (4,)"),
        (np.float64(4), "shape ()"),
        (np.zeros((2, 2, 2)), "shape (2, 2, 2)"),
        (np.array([["a", "b"]]), "holds text"),
        (np.array([[b"a", b"b"]]), "holds text"),
        (np.zeros((2, 2), dtype=complex), "type complex128"),
        (np.zeros((2, 2), dtype=np.longdouble), "type float128"),
    ],
)
def test_an_array_that_is_no_table_of_numbers_is_refused(
    write: Write, array: NDArray[np.generic], text: str
) -> None:
    assert text in refusal_of(read_npy, write(npy(array))).message


def header(**changes: str) -> str:
    parts = {"descr": "'<f8'", "fortran_order": "False", "shape": "(2, 2)"} | changes
    return "{" + ", ".join(f"'{name}': {value}" for name, value in parts.items()) + "}"


LYING_HEADERS = [
    (header(shape="(65536, 65536)"), "claims 34359738368 bytes of data, but 32 are there"),
    (header(shape="(1, 2)"), "claims 16 bytes of data, but 32 are there"),
    (header(shape=f"({10**9}, {10**9})"), "claims"),
    (header(shape="(-2, -2)"), "has the shape (-2, -2)"),
    (header(shape="(True, 4)"), "has the shape (True, 4)"),
    (header(shape=f"({10**10}, 0)"), "has the shape"),
    (header(shape=f"(1{'0' * 4000}, 1{'0' * 4000})"), "has the shape"),
    (header(shape=f"(1{'0' * 5000}, 1)"), "unreadable header"),
    (header(shape="[2, 2]"), "unreadable header"),
    (header(shape="(2.0, 2)"), "unreadable header"),
    (header(fortran_order="1"), "unreadable header"),
    (header(descr="'O'"), "type object"),
    (header(descr="'|V8'"), "type |V8"),
    (header(descr="'<M8[s]'"), "type datetime64[s]"),
    (header(descr="'<m8[D]'"), "type timedelta64[D]"),
    (header(descr="[('a', '<f8')]"), "type [('a', '<f8')]"),
    (header(descr="[('a', 'O')]"), "type [('a', 'O')]"),
    (header(descr="('<f8', (2,))"), "type ('<f8', (2,))"),
    (header(descr="'" + "i4," * 3000 + "'"), "the array has the type"),
    (header(descr="'<U0'"), "type <U0"),
    (header(descr="'<U1001'"), "type <U1001"),
    (header(descr="None"), "unreadable header"),
    (header(descr="{'names': 5}"), "unreadable header"),
    (header(descr="'no such type'"), "unreadable header"),
    (header(more="1"), "unreadable header"),
    ("{'descr': '<f8'}", "unreadable header"),
    ("{[]: 2}", "unreadable header"),
    ("__import__('os').system('exit 1')", "unreadable header"),
    ("", "unreadable header"),
    ("\0", "unreadable header"),
    ("  x\n y", "unreadable header"),
    ("'''", "unreadable header"),
    ("{'a': (", "unreadable header"),
    ("(" * 3000, "unreadable header"),
    ("-" * 9000 + "1", "unreadable header"),
]


@pytest.mark.parametrize(("text", "refused"), LYING_HEADERS)
def test_a_lying_header_is_refused(write: Write, text: str, refused: str) -> None:
    """D-HEADER."""
    assert refused in refusal_of(read_npy, write(npy_with(text, bytes(32)))).message


def test_a_header_that_is_not_utf8_is_refused(write: Write) -> None:
    """D-HEADER."""
    content = npy_with(header(descr="'\xed\xa0\x80'"), bytes(32), version=3)

    assert "unreadable header" in refusal_of(read_npy, write(content)).message


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x93NUMPY\2\0" + (2**32 - 1).to_bytes(4, "little"), "a header of 4294967295 bytes"),
        (b"\x93NUMPY\1\0\xff\xff{", "a header of 65535 bytes"),
        (b"\x93NUMPY\4\0" + bytes(100), "not in NumPy's format"),
        (b"\x93NUMPY", "not in NumPy's format"),
        (b"", "not in NumPy's format"),
        (b"a,b\n1,2\n", "not in NumPy's format"),
        (b"\x93NUMPY\1\0\x40\0{'descr'", "unreadable header"),
        (b"\x93NUMPY\1\0\x40", "unreadable header"),
    ],
)
def test_a_header_that_is_too_long_or_cut_is_refused(
    write: Write, content: bytes, text: str
) -> None:
    """D-HEADER."""
    assert text in refusal_of(read_npy, write(content)).message


def test_data_that_ends_while_it_is_read_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was longer when its size was asked for."""
    path = write(npy(np.arange(4.0).reshape(2, 2))[:-8])

    with path.open("rb") as file, pytest.raises(InvalidData, match="ends after 24 of 32 bytes"):
        arrays.read_array(file, path.stat().st_size + 8, "the array", 2)
    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 5)
    assert columns_of(read_npy(write(npy([[1.0, 2.0]])))) == {"x0": [1.0], "y": [2.0]}


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self._path,))


def test_a_pickle_is_never_run(write: Write, tmp_path: Path) -> None:
    """D-PICKLE: an object array, a bare pickle, a pickle behind a plain header."""
    canary = Canary(tmp_path / "canary")
    objects = np.empty((1, 1), dtype=np.object_)
    objects[0, 0] = canary
    payload = pickle.dumps(canary)

    for content in (npy(objects), payload, npy_with(header(descr="'O'"), payload)):
        refusal_of(read_npy, write(content))

    assert not (tmp_path / "canary").exists()
    pickle.loads(payload)  # noqa: S301 - the canary works
    assert (tmp_path / "canary").exists()

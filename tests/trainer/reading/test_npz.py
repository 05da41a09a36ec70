"""NPZ: columns and arrays, out of an archive that lies (D-BOMB, D-SLIP, D-PICKLE, U-BAD)."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from tests.trainer.reading.files import columns_of, npy, npz, refusal_of, wild_text
from trainer.reading.npz import read_npz

Write = Callable[[bytes], Path]
X = npy([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
Y = npy(["a", "b", "a"])
X3 = np.zeros((3, 2, 2))
NOT_OURS = "not an archive as numpy.savez writes it"


def savez(*, is_compressed: bool = False, **members: ArrayLike) -> bytes:
    file = io.BytesIO()
    save = np.savez_compressed if is_compressed else np.savez
    save(file, allow_pickle=True, **{name: np.asarray(value) for name, value in members.items()})
    return file.getvalue()


@pytest.mark.parametrize("is_compressed", [True, False])
def test_x_and_y_become_columns(write: Write, is_compressed: bool) -> None:  # noqa: FBT001 - pytest
    content = savez(x=[[1.0, 2.0], [3.0, 4.0]], y=["b", "a"], is_compressed=is_compressed)

    assert columns_of(read_npz(write(content))) == {
        "x0": [1.0, 3.0],
        "x1": [2.0, 4.0],
        "y": ["b", "a"],
    }


def test_y_may_be_missing(write: Write) -> None:
    assert columns_of(read_npz(write(savez(x=[[1], [2]])))) == {"x0": [1, 2]}


@pytest.mark.parametrize(
    ("target", "cells"),
    [
        (np.array([b"a", "ä".encode(), b"a"]), ["a", "ä", "a"]),
        (np.array(["ä", "\U0001f600", "b"]), ["ä", "\U0001f600", "b"]),
        (np.array(["ä", "b", "ä"]).astype(">U1"), ["ä", "b", "ä"]),
        (np.array([True, False, True]), [True, False, True]),
        (np.array([3, 1, 2], dtype=np.uint8), [3, 1, 2]),
        (np.array([0.5, 1.5, 2.5], dtype=np.float16), [0.5, 1.5, 2.5]),
    ],
)
def test_y_may_be_text_or_numbers(
    write: Write, target: NDArray[np.generic], cells: list[object]
) -> None:
    table = read_npz(write(savez(x=np.zeros((3, 1)), y=target)))

    assert columns_of(table)["y"] == cells


@pytest.mark.parametrize("code_point", [0xD800, 0x110000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("order", ["<", ">"])
def test_text_that_is_no_unicode_is_named_by_its_row(
    write: Write, code_point: int, order: str
) -> None:
    target = wild_text(code_point)
    target = target.byteswap().view(target.dtype.newbyteorder(order)) if order == ">" else target

    refusal = refusal_of(read_npz, write(savez(x=np.zeros((3, 1)), y=target)))

    assert refusal.message == "row 2, column y holds text that is not valid Unicode"
    assert refusal.fields == {"row": "2", "column": "y"}


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (np.array([b"a", b"\xff", b"a"]), "not valid Unicode"),
        (np.array(["a", "", "b"]), "the value is missing"),
        (np.array([b"a", b"", b"b"]), "the value is missing"),
        (np.array([1.0, np.nan, 2.0]), "missing (NaN)"),
        (np.array([1, 2**64 - 1, 2], dtype=np.uint64), "18446744073709551615"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named_by_its_place(
    write: Write, target: NDArray[np.generic], found: str
) -> None:
    refusal = refusal_of(read_npz, write(savez(x=np.zeros((3, 1)), y=target)))

    assert found in refusal.message
    assert refusal.fields == {"row": "2", "column": "y"}


@pytest.mark.parametrize("target", [np.zeros(2), np.zeros(4), np.zeros((2, 1)), np.float64(1)])
def test_y_must_have_a_value_for_each_row(write: Write, target: NDArray[np.generic]) -> None:
    refusal = refusal_of(read_npz, write(savez(x=np.zeros((3, 1)), y=target)))

    assert "one value for each of the 3 rows" in refusal.message
    assert refusal.fields == {"column": "y"}


def test_y_of_several_columns_is_columns_by_number(write: Write) -> None:
    found = columns_of(read_npz(write(savez(x=np.ones((2, 1)), y=[[1, 2], [3, 4]]))))

    assert found == {"x0": [1, 1], "y0": [1, 3], "y1": [2, 4]}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"y.npy": Y}, "at least one besides y"),
        ({"x": X}, "a member x; taken are names of letters"),
        ({"x.npy": X, "../y.npy": Y}, r"a member ../y.npy; taken are names of letters"),
        ({"../x.npy": X}, "names of letters"),
        ({"/x.npy": X}, "names of letters"),
        ({"x.npy/../../x.npy": X}, "names of letters"),
        ({"X.NPY": X}, "names of letters"),
        ({"a b.npy": X}, "names of letters"),
        ({"ä.npy": X}, "names of letters"),
        ({"1.npy": X}, "names of letters"),
        ({"n" * 64 + ".npy": X}, "names of letters"),
        ({"category.npy": X}, "the name is the wire's own: choose another one"),
        ({"x.npy": X, "x0.npy": npy([1, 2, 3])}, "two columns have the name x0"),
        ({"x.npy": X, "y0.npy": npy(X3), "y.npy": npy([[1]] * 3)}, "two columns have the name y0"),
        ({}, "has 0 members"),
        ({f"n{number}.npy": Y for number in range(65)}, "has 65 members; taken are 1 to 64"),
    ],
)
def test_other_members_are_refused_and_no_name_is_a_path(
    write: Write, tmp_path: Path, members: dict[str, bytes], text: str
) -> None:
    """D-SLIP."""
    path = write(npz(members))

    assert text in refusal_of(read_npz, path).message
    assert list(tmp_path.iterdir()) == [path]


def test_the_most_members_with_the_longest_names_are_taken(write: Write) -> None:
    names = [f"{number:n>63}" for number in range(64)]
    content = npz({f"{name}.npy": npy([1, 2]) for name in names})

    assert list(read_npz(write(content)).columns) == names


def test_a_repeated_member_is_refused(write: Write) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", X)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", X)

    assert "members of different names" in refusal_of(read_npz, write(file.getvalue())).message


def test_a_hundred_thousand_members_are_refused_unread(write: Write) -> None:
    """D-BOMB: also where the archive's end claims that there are two."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    directory = (entry + b"a") * 100_000

    def end(count: int, size_bytes: int = len(directory)) -> bytes:
        return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size_bytes, 0, 0)

    for count, text in ((0xFFFF, "has 65535 members"), (2, "directory takes 4700000 bytes")):
        assert text in refusal_of(read_npz, write(directory + end(count))).message
    big = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 100_000, 100_000, 4_700_000, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
    hidden = write(directory + big + locator + end(2, 94))
    assert "has 100000 members" in refusal_of(read_npz, hidden).message


def test_the_end_of_an_archive_above_2_gib_is_understood(write: Write) -> None:
    """Such an archive repeats its end in a longer form; here around a small one."""
    plain = npz({"x.npy": X, "y.npy": Y})
    start, end = plain[:-22], plain[-22:]
    size_bytes, offset = struct.unpack("<2L", end[12:20])
    big = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, size_bytes, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(start), 1)

    assert read_npz(write(start + big + locator + end)).row_count == 3


def test_a_member_that_grows_a_thousandfold_is_refused_unread(write: Write) -> None:
    """D-BOMB."""
    content = npz({"x.npy": npy(np.zeros((9 << 20, 1)))})

    refusal = refusal_of(read_npz, write(content))

    assert "x.npy claims 75497600 bytes" in refusal.message
    assert "at most 200 times" in refusal.message


def test_members_may_not_grow_that_much_together_either(write: Write) -> None:
    """D-BOMB: each of them alone would be small enough to do as it likes."""
    part = npy(np.zeros((5 << 20, 1)))

    refusal = refusal_of(read_npz, write(npz({"a.npy": part, "b.npy": part})))

    assert "the archive claims 83886336 bytes" in refusal.message


def patched(content: bytes, field_offset: int, value: bytes) -> bytes:
    """The archive with a field of its first directory entry replaced."""
    at = content.index(b"PK\1\2") + field_offset
    return content[:at] + value + content[at + len(value) :]


@pytest.mark.parametrize("size_bytes", [0, 100, len(X) - 8, len(X) + 8, 60 << 20, 2**32 - 1])
def test_a_lie_about_a_members_size_is_refused(write: Write, size_bytes: int) -> None:
    """D-BOMB."""
    lying = patched(npz({"x.npy": X}), 24, struct.pack("<L", size_bytes))

    refusal_of(read_npz, write(lying))


def test_overlapping_members_are_refused(write: Write) -> None:
    """D-BOMB: both entries point at the same bytes."""
    content = npz({"x.npy": X, "y.npy": Y})
    second = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    overlapping = content[: second + 42] + bytes(4) + content[second + 46 :]

    assert NOT_OURS in refusal_of(read_npz, write(overlapping)).message


def test_an_archive_within_an_archive_is_refused(write: Write) -> None:
    """D-BOMB."""
    nested = npz({"x.npy": npz({"x.npy": X})})

    assert "x is not in NumPy's format" in refusal_of(read_npz, write(nested)).message


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_numpys_compression_is_taken(write: Write, method: int) -> None:
    refusal = refusal_of(read_npz, write(npz({"x.npy": X}, method)))

    assert refusal.message == "x.npy is compressed in another way than NumPy does"


def corrupted(content: bytes) -> bytes:
    at = content.index(X[-40:])
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\5\6",
        b"\x93NUMPY not an archive, but longer than its end",
        npz({"x.npy": X})[:-1],
        npz({"x.npy": X}) + b" ",
        npz({"x.npy": X})[30:],
        corrupted(npz({"x.npy": X}, zipfile.ZIP_STORED)),
        patched(npz({"x.npy": X}), 8, b"\1\0"),  # encrypted
        patched(npz({"x.npy": X}), 0, b"PK\1\3"),
        patched(npz({"x.npy": X}), 42, b"\xff\xff\xff\x7f"),  # beyond the file
    ],
)
def test_a_damaged_archive_is_refused(write: Write, content: bytes) -> None:
    assert NOT_OURS in refusal_of(read_npz, write(content)).message


def test_an_archive_in_parts_is_refused(write: Write) -> None:
    content = npz({"x.npy": X})
    parts = content[:-22] + struct.pack("<4s4H", b"PK\5\6", 1, 0, 1, 1) + content[-10:]

    assert "one of several parts" in refusal_of(read_npz, write(parts)).message


def test_a_pickled_member_is_refused(write: Write) -> None:
    """D-PICKLE."""
    objects = np.array([[{}]], dtype=np.object_)

    refusal = refusal_of(read_npz, write(savez(x=objects)))

    assert refusal.message.startswith("x has the type object")

"""Parquet into columns; a footer or a page that lies is refused (D-PARQUET, U-BAD)."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.reading.files import columns_of, refusal_of
from trainer.reading import parquet
from trainer.reading.arrow import TableWriter, translate
from trainer.reading.parquet import read_parquet
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2

Write = Callable[[bytes], Path]
# pyarrow ships no types.
Array = Any


def encode(*arrays: Array, names: list[str] | None = None, **options: Any) -> bytes:  # noqa: ANN401 - Arrow's
    """The columns as a Parquet file."""
    sink = pa.BufferOutputStream()
    named = names or [f"c{number}" for number in range(len(arrays))]
    pq.write_table(
        pa.Table.from_arrays([pa.array(a) for a in arrays], names=named), sink, **options
    )
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("array", "dtype", "values"),
    [
        (pa.array([1, 2], pa.int8()), "int64", [1, 2]),
        (pa.array([1, 2**63 - 1], pa.uint64()), "int64", [1, 2**63 - 1]),
        (pa.array(np.array([1, 65504], dtype=np.float16)), "float32", [1, 65504]),
        (pa.array([0.5, 2], pa.float32()), "float32", [0.5, 2]),
        (pa.array([0.1, 2], pa.float64()), "float32", [float(np.float32(0.1)), 2]),
        (pa.array([3.4028235e38, 2]), "float32", [float(np.finfo(np.float32).max), 2]),
        (pa.array([True, False]), "bool", [True, False]),
        (pa.array(["a", "ä"]), "object", ["a", "ä"]),
        (pa.array(["a", "b"], pa.large_string()), "object", ["a", "b"]),
        (pa.array(["b", "a"]).dictionary_encode(), "object", ["b", "a"]),
        (pa.array([5, 6]).dictionary_encode(), "int64", [5, 6]),
    ],
)
def test_flat_columns_are_read(
    write: Write, array: Array, dtype: str, values: list[object]
) -> None:
    table = read_parquet(write(encode(array)))

    assert str(table.columns["c0"].dtype) == dtype
    assert columns_of(table) == {"c0": values}


def test_columns_keep_their_order_across_batches_and_row_groups(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 3)
    numbers = list(range(10))
    texts = [f"t{number % 4}" for number in numbers]

    table = read_parquet(write(encode(numbers, texts, names=["z", "a"], row_group_size=4)))

    assert list(table.columns) == ["z", "a"]
    assert columns_of(table) == {"z": numbers, "a": texts}
    assert len({id(text) for text in table.columns["a"]}) == 4


@pytest.mark.parametrize(
    ("cell", "array"),
    [
        ("missing", pa.array([1, 2, 3, 4, None])),
        ("missing", pa.array(["a", "b", "c", "d", None])),
        ("missing", pa.array(["a", "b", "c", "d", ""])),
        ("missing", pa.array([True, True, True, False, None])),
        ("missing", pa.array(["a", "b", "c", "d", None]).dictionary_encode()),
        ("missing (NaN)", pa.array([1, 2, 3, 4, float("nan")])),
        ("inf", pa.array([1, 2, 3, 4, float("inf")])),
        ("inf", pa.array(np.array([1, 2, 3, 4, np.inf], dtype=np.float16))),
        ("1e+39", pa.array([1, 2, 3, 4, 1e39])),
        ("-3.4028236e+38", pa.array([1, 2, 3, 4, -3.4028236e38])),
        (str(2**63), pa.array([1, 2, 3, 4, 2**63], pa.uint64())),
    ],
)
@pytest.mark.parametrize("batch_rows", [2, 100])
def test_a_cell_that_cannot_be_used_is_named_by_its_place(
    write: Write, monkeypatch: pytest.MonkeyPatch, cell: str, array: Array, batch_rows: int
) -> None:
    monkeypatch.setattr(parquet, "_BATCH_ROWS", batch_rows)

    refusal = refusal_of(read_parquet, write(encode([1] * 5, array)))

    assert refusal.message.startswith(f"row 5, column c1: the value is {cell};")
    assert refusal.fields == {"row": "5", "column": "c1"}


class OddType(pa.ExtensionType):  # pyright: ignore[reportUntypedBaseClass] - Arrow's
    """A type of somebody else, numbers underneath."""

    def __init__(self) -> None:
        super().__init__(pa.int64(), "twofold.tests.odd")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: object, serialized: object) -> "OddType":
        del storage_type, serialized
        return cls()


def nested(depth: int) -> Array:
    array = pa.array([1, 2])
    for _ in range(depth):
        array = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), array)
    return array


@pytest.mark.parametrize(
    "array",
    [
        pa.nulls(2),
        pa.array([1, 2], pa.date32()),
        pa.array([1, 2], pa.timestamp("us")),
        pa.array([1, 2], pa.decimal128(5)),
        pa.array([b"1", b"2"]),
        pa.array([b"1", b"2"], pa.binary(1)),
        pa.array(["a", "b"], pa.string_view()),
        pa.array([[1], [2]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([{"a": {"b": 1}}] * 2),
        pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        nested(5),
    ],
    ids=lambda array: str(array.type)[:30],
)
def test_other_types_are_refused_by_column(write: Write, array: Array) -> None:
    """D-PARQUET."""
    refusal = refusal_of(read_parquet, write(encode([1, 2], array, names=["a", "b"])))

    assert "taken are floats, integers, booleans and text" in refusal.message
    assert refusal.fields == {"column": "b"}


def test_a_type_a_thousand_deep_is_refused(write: Write) -> None:
    """D-PARQUET."""
    refusal_of(read_parquet, write(encode(nested(1_000))))


def test_an_extension_type_is_refused(write: Write) -> None:
    """D-PARQUET: known or not, its own code decides nothing."""
    array = pa.ExtensionArray.from_storage(OddType(), pa.array([1, 2]))
    content = encode(array)
    assert columns_of(read_parquet(write(content))) == {"c0": [1, 2]}, "unknown: its numbers"

    pa.register_extension_type(OddType())
    try:
        refusal = refusal_of(read_parquet, write(content))
    finally:
        pa.unregister_extension_type("twofold.tests.odd")

    assert refusal.fields == {"column": "c0"}


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self._path,))


def test_a_pickled_type_is_never_loaded(write: Write, tmp_path: Path) -> None:
    """D-PICKLE: Arrow once unpickled extension types of this name."""
    field = pa.field(
        "a",
        pa.int64(),
        metadata={
            "ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": pickle.dumps(Canary(tmp_path / "canary")),
        },
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([pa.array([1, 2])], schema=pa.schema([field])), sink)

    assert read_parquet(write(bytes(sink.getvalue()))).row_count == 2
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("names", "text"),
    [(["a", "a"], "two columns have the name a"), (["a", ""], "column 2 has no name")],
)
def test_names_are_checked(write: Write, names: list[str], text: str) -> None:
    assert text in refusal_of(read_parquet, write(encode([1], [2], names=names))).message


def test_an_empty_table_is_refused(write: Write) -> None:
    content = encode(pa.array([], pa.int64()))

    assert "the table has 0 rows" in refusal_of(read_parquet, write(content)).message


def test_a_table_without_columns_is_refused(write: Write) -> None:
    refusal_of(read_parquet, write(encode()))


def with_row_count(content: bytes, row_count: int, claimed: int) -> bytes:
    """The file with another row count in its footer: field 3, a zigzag varint below 8,192."""

    def varint(number: int) -> bytes:
        return bytes([number * 2 % 128 | 128, number * 2 // 128])

    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    at = content.index(b"\x16" + varint(row_count) + b"\x19", footer)
    return content[: at + 1] + varint(claimed) + content[at + 3 :]


@pytest.mark.parametrize(
    ("claimed", "text"),
    [(99, "has more rows than the 99 it claims"), (5_000, "claims 5000 rows but holds 100")],
)
def test_a_lying_row_count_is_refused(write: Write, claimed: int, text: str) -> None:
    """D-PARQUET."""
    content = encode(list(range(100)), use_dictionary=False, compression="none")

    refusal = refusal_of(read_parquet, write(with_row_count(content, 100, claimed)))

    assert refusal.message == f"the file {text}"


def test_repetition_beyond_reason_is_refused_unread(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-PARQUET: run lengths make millions of cells out of some hundred bytes."""
    row_count = 3_000_000
    content = encode(np.zeros(row_count, np.int8), compression="zstd")
    assert read_parquet(write(content)).row_count == row_count, "so many hurt nobody"

    monkeypatch.setattr(parquet, "_FREE_CELLS", 1_000_000)
    monkeypatch.setattr(parquet, "_MAX_CELLS_PER_BYTE", 100)
    refusal = refusal_of(read_parquet, write(content))

    assert f"{len(content)} bytes claim {row_count} cells" in refusal.message


GOOD = encode(list(range(100)), [f"t{number}" for number in range(100)], compression="none")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"PAR1PAR1",
        b"PAR1" + bytes(100) + b"PAR1",
        GOOD[:-1],
        GOOD[4:],
        GOOD[:200],
        GOOD[:-8] + b"\xff\xff\xff\x7f" + b"PAR1",
        GOOD[:-8] + b"\0\0\0\0" + b"PAR1",
        GOOD[:-4] + b"PARE",
        GOOD[:4] + bytes(40) + GOOD[44:],
        b"PAR1" + GOOD[-600:],
    ],
)
def test_a_damaged_file_is_refused(write: Write, content: bytes) -> None:
    """U-BAD."""
    refusal_of(read_parquet, write(content))


def test_memory_and_the_disk_are_not_the_files_fault() -> None:
    def fail(error: Exception) -> Callable[[], None]:
        def read() -> None:
            raise error

        return read

    with pytest.raises(MemoryError):
        translate("refused", fail(pa.ArrowMemoryError("malloc failed")))
    with pytest.raises(OSError, match="Input/output"):
        translate("refused", fail(OSError(5, "Input/output error")))
    for error in (OSError("bad magic"), pa.ArrowInvalid(), OverflowError(), UnicodeError()):
        with pytest.raises(InvalidData, match="refused"):
            translate("refused", fail(error))


def test_a_null_within_a_dictionary_is_named_by_its_row() -> None:
    writer = TableWriter({"c": dataset_pb2.COLUMN_KIND_CATEGORY}, 5)
    writer.append([pa.DictionaryArray.from_arrays([0, 0], pa.array(["a"]))])

    with pytest.raises(InvalidData) as caught:
        writer.append([pa.DictionaryArray.from_arrays([1, 0, 1], pa.array([None, "a"]))])

    assert caught.value.fields == {"row": "4", "column": "c"}

"""The real checking process against hostile files: it refuses, in bounded memory, and lives."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import pickle
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from tests.trainer.reading.files import PLAIN_HEADER, npy, npy_with, npz
from trainer import limits
from trainer.checker import FileChecker, start_checking_child
from trainer.childproc import Child
from twofold.errors import InvalidData
from twofold.internal.v1 import child_pb2
from twofold.v1 import dataset_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

CSV = dataset_pb2.DATASET_FORMAT_CSV
PARQUET = dataset_pb2.DATASET_FORMAT_PARQUET
NPZ = dataset_pb2.DATASET_FORMAT_NPZ
NPY = dataset_pb2.DATASET_FORMAT_NPY
FORMATS = (CSV, PARQUET, NPZ, NPY)
MIB = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def child() -> AsyncIterator[Child]:
    """One checking process for all files that must not end it."""
    started = await start_checking_child()
    yield started
    await started.close()


async def ask(
    child: Child, path: Path, content: bytes | None, file_format: dataset_pb2.DatasetFormat
) -> child_pb2.Checked:
    if content is not None:
        _ = path.write_bytes(content)  # noqa: ASYNC240 - some kilobytes, and nobody waits
    check = child_pb2.CheckRequest(path=str(path), format=file_format)
    await child.send(child_pb2.ChildRequest(check=check))
    event = await child.receive()
    assert event is not None, "the process ended"
    return event.checked


def peak_bytes(child: Child) -> int:
    """The most memory that the process ever held."""
    status = Path(f"/proc/{child.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def reset_peak(child: Child) -> int:
    """Forgets the peak; returns what is held now."""
    Path(f"/proc/{child.pid}/clear_refs").write_text("5", encoding="utf-8")
    return peak_bytes(child)


def parquet(**columns: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue())


def objects(path: Path) -> bytes:
    """An object array that makes a file when it is unpickled."""

    class Canary:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (path,))

    array = np.empty((1, 1), dtype=np.object_)
    array[0, 0] = Canary()
    return npy(array)


BIG_SHAPE = PLAIN_HEADER.replace("(2, 2)", "(65536, 65536)")

#: Slug, format, content, and what the refusal says.
HOSTILE: list[tuple[str, dataset_pb2.DatasetFormat, Callable[[], bytes], str]] = [
    ("D-HEADER", NPY, lambda: npy_with(BIG_SHAPE), "claims 34359738368 bytes of data, but 0"),
    ("D-HEADER", NPY, lambda: b"\x93NUMPY\2\0\xff\xff\xff\xff", "header of 4294967295 bytes"),
    ("D-HEADER", NPY, lambda: npy_with("(" * 9_000), "unreadable header"),
    ("D-BOMB", NPZ, lambda: npz({"x.npy": npy(np.zeros((9 * MIB, 1)))}), "at most 200 times"),
    ("D-SLIP", NPZ, lambda: npz({"../x.npy": b""}), "taken are names of letters"),
    ("D-CSV", CSV, lambda: b"a,b\n1," + b"7" * (24 * MIB), "row 1 is longer than 1048576 bytes"),
    ("D-CSV", CSV, lambda: b'a,b\n1,2\n3,"' + b"4,5\n" * MIB, "row 2 is longer than 1048576"),
    ("D-CSV", CSV, lambda: b"a" + b",a" * 10**6 + b"\n", "more than 4096 columns"),
    ("D-CSV", CSV, lambda: "a,b\n1,2\n".encode("utf-16"), "not UTF-16"),
    ("D-CSV", CSV, lambda: b"a,b\n1,2\n3,1e308\n", "row 2, column b: the value is 1e308"),
    ("D-PARQUET", PARQUET, lambda: b"PAR1" + b"\xff" * 64 + b"PAR1", "not a Parquet table"),
    ("D-PARQUET", PARQUET, lambda: parquet(a=[[1]]), "column a is of type list"),
    ("U-BAD", CSV, lambda: b"", "the first row is empty"),
    ("U-BAD", dataset_pb2.DATASET_FORMAT_UNSPECIFIED, lambda: b"a\n1\n", "format 0 is unknown"),
]


@pytest.mark.parametrize(
    ("slug", "file_format", "make", "text"), HOSTILE, ids=[f"{row[0]}: {row[3]}" for row in HOSTILE]
)
async def test_a_hostile_file_is_refused_in_little_memory(
    child: Child,
    tmp_path: Path,
    slug: str,
    file_format: dataset_pb2.DatasetFormat,
    make: Callable[[], bytes],
    text: str,
) -> None:
    before = reset_peak(child)

    checked = await ask(child, tmp_path / "upload", make(), file_format)

    assert text in checked.refusal, slug
    assert str(tmp_path) not in checked.refusal
    assert peak_bytes(child) - before < 128 * MIB
    assert (await ask(child, tmp_path / "good", b"a,b\n1,x\n", CSV)).dataset.row_count == 1


async def test_a_pickle_is_never_run(child: Child, tmp_path: Path) -> None:
    """D-PICKLE."""
    canary = tmp_path / "canary"
    bare = pickle.dumps(np.zeros(3))

    for content, file_format in (
        (objects(canary), NPY),
        (npz({"x.npy": objects(canary)}), NPZ),
        (npz({"archive/data.pkl": bare, "archive/version": b"3"}), NPZ),  # as torch.save writes
        (bare, NPY),
        (bare, CSV),
    ):
        assert (await ask(child, tmp_path / "upload", content, file_format)).refusal

    assert not canary.exists()


async def test_a_refusal_carries_row_and_column(child: Child, tmp_path: Path) -> None:
    checked = await ask(child, tmp_path / "upload", b"a,b\n1,2\n3,\n", CSV)

    assert (checked.row, checked.column) == (2, "b")
    assert checked.refusal.startswith("row 2, column b: the value is missing")


async def test_what_needs_more_memory_than_the_limit_is_refused(
    child: Child, tmp_path: Path
) -> None:
    """D-PARQUET: pages of long equal texts, 2.6 GiB out of some kilobytes."""
    text = "x" * 40_000
    content = parquet(a=pa.DictionaryArray.from_arrays(np.zeros(80_000, np.int8), [text]))
    stripped = pa.BufferOutputStream()
    table = pq.read_table(pa.BufferReader(content), read_dictionary=["a"])
    pq.write_table(table, stripped, store_schema=False, compression="zstd")
    before = reset_peak(child)

    checked = await ask(child, tmp_path / "upload", bytes(stripped.getvalue()), PARQUET)

    assert "more memory to read than its size permits" in checked.refusal
    assert peak_bytes(child) - before < limits.BASE_BYTES
    assert (await ask(child, tmp_path / "good", b"a,b\n1,x\n", CSV)).dataset.row_count == 1


async def test_a_file_that_is_gone_is_a_refusal_without_its_path(
    child: Child, tmp_path: Path
) -> None:
    checked = await ask(child, tmp_path / "missing", None, CSV)

    assert checked.refusal == "the file cannot be read in this format; is it damaged?"


def mutants(good: bytes, count: int, seed: int) -> list[bytes]:
    """The file with some bytes changed, cut or repeated; the same for the same seed."""
    generator = np.random.default_rng(seed)
    found: list[bytes] = []
    for number in range(count):
        content = bytearray(good)
        start, stop = sorted(generator.integers(0, len(good) + 1, 2).tolist())
        if number % 4 == 0:
            del content[start:stop]
        elif number % 4 == 1:
            content[start:start] = good[start:stop]
        else:
            for place in generator.integers(0, len(good), 1 + number % 5).tolist():
                content[place] = int(generator.integers(0, 256))
        found.append(bytes(content))
    return found


GOOD = {
    CSV: b'a,b,c\n1,0.5,x\n2,1.5,"y\ny"\n3,2.5,z\n',
    PARQUET: parquet(a=[1, 2, 3], b=[0.5, 1.5, 2.5], c=["x", "y", "z"]),
    NPZ: npz({"x.npy": npy([[1.0], [2.0], [3.0]]), "y.npy": npy(["x", "y", "z"])}),
    NPY: npy([[1.0, 2.0], [3.0, 4.0]]),
}


@pytest.mark.parametrize("file_format", FORMATS)
async def test_no_mutant_of_a_good_file_breaks_the_process(
    child: Child, tmp_path: Path, file_format: dataset_pb2.DatasetFormat
) -> None:
    """U-BAD: each is read, or refused by its reader."""
    for number, content in enumerate(mutants(GOOD[file_format], 150, seed=file_format)):
        checked = await ask(child, tmp_path / "upload", content, file_format)

        assert checked.refusal or checked.dataset.row_count > 0
        assert "is it damaged" not in checked.refusal, f"no reader's own refusal: {number}"


async def test_the_checker_gives_each_file_a_process_of_its_own(tmp_path: Path) -> None:
    check = FileChecker()
    (tmp_path / "good").write_bytes(GOOD[PARQUET])
    (tmp_path / "bad").write_bytes(b"a,b\n1,\xff\n")

    good, bad = await asyncio.gather(
        check(tmp_path / "good", PARQUET), check(tmp_path / "bad", CSV), return_exceptions=True
    )

    assert isinstance(good, dataset_pb2.Dataset)
    assert (good.row_count, good.size_bytes) == (3, len(GOOD[PARQUET]))
    assert isinstance(bad, InvalidData)
    assert bad.fields == {"row": "1"}

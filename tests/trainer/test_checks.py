"""`python -m trainer.child FD --check`, as the supervisor sees it and within this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trainer import child as child_process
from trainer import childproc, data, limits
from trainer.childproc import Child
from twofold.internal.v1 import child_pb2
from twofold.v1 import dataset_pb2

CSV = dataset_pb2.DATASET_FORMAT_CSV
#: Allocations beyond it fail, whatever pytest and torch hold already.
ROOMY = 1 << 46


@pytest.fixture
async def checker() -> AsyncIterator[Child]:
    started = await childproc.start(("--check",))
    yield started
    await started.close()


async def ask(checker: Child, path: Path) -> child_pb2.Checked:
    check = child_pb2.CheckRequest(path=str(path), format=CSV)
    await checker.send(child_pb2.ChildRequest(check=check))
    event = await checker.receive()
    assert event is not None
    return event.checked


async def test_one_process_checks_one_file_after_the_other(checker: Child, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("a,b\n1,x\n2,y\n")
    bad.write_text("a,b\n1,x\n2\n")
    first, second, third = [await ask(checker, path) for path in (good, bad, good)]

    assert [column.name for column in first.dataset.columns] == ["a", "b"]
    assert (first.dataset.row_count, first.dataset.size_bytes) == (2, good.stat().st_size)
    assert (second.row, second.HasField("dataset")) == (2, False)
    assert "2 has 1 cells" in second.refusal
    assert third == first


async def test_the_process_that_checks_has_no_torch(checker: Child) -> None:
    maps = Path(f"/proc/{checker.pid}/maps").read_text()  # noqa: ASYNC240 - the kernel's, no disk

    assert "libtorch" not in maps
    assert "libarrow" in maps


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def memory_limit(size_bytes: int) -> int:
        return ROOMY + size_bytes

    monkeypatch.setattr(limits, "memory_limit", memory_limit)
    return monkeypatch


def check(path: Path) -> child_pb2.Checked:
    return child_process.check(child_pb2.CheckRequest(path=str(path), format=CSV))


@pytest.mark.usefixtures("in_process")
def test_a_refusal_has_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a,b\n1,2\n3,\n")
    checked = check(path)

    assert (checked.row, checked.column) == (2, "b")
    assert str(tmp_path) not in checked.refusal


@pytest.mark.usefixtures("in_process")
def test_a_refusal_of_the_whole_file_has_neither(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a,b\n")
    checked = check(path)

    assert (checked.row, checked.column) == (0, "")
    assert "0 rows" in checked.refusal


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "more memory"),
        (limits.OutOfTime("the file takes more time"), "more time"),
        (ZeroDivisionError("/secret/path"), "cannot be read"),
        (OSError(5, "Input/output error", "/secret/path"), "cannot be read"),
    ],
)
def test_whatever_goes_wrong_is_a_refusal_without_details(
    in_process: pytest.MonkeyPatch, tmp_path: Path, error: Exception, text: str
) -> None:
    def fail(path: Path, file_format: dataset_pb2.DatasetFormat) -> dataset_pb2.Dataset:
        del path, file_format
        raise error

    in_process.setattr(data, "describe", fail)
    path = tmp_path / "f.csv"
    path.write_text("a\n1\n")
    checked = check(path)

    assert text in checked.refusal
    assert "secret" not in checked.refusal
    assert not checked.HasField("dataset")


@pytest.mark.usefixtures("in_process")
def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a\n1\n")
    request = child_pb2.CheckRequest(path=str(path))

    assert "format 0 is unknown" in child_process.check(request).refusal

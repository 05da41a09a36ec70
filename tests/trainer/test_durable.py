"""A file appears whole and durable, or not at all."""

import os
from pathlib import Path

import pytest

from trainer import durable


class FakeDisk:
    """Notes what is made durable, linked and removed, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.steps: list[str] = []
        self._folder = folder
        sync, link = durable.sync, os.link

        def note_sync(path: Path) -> None:
            self.steps.append(f"sync {self._kind(path)}")
            sync(path)

        def note_link(source: Path, target: Path) -> None:
            self.steps.append(f"link {self._kind(source)} {self._kind(target)}")
            link(source, target)

        monkeypatch.setattr(durable, "sync", note_sync)
        monkeypatch.setattr(os, "link", note_link)

    def _kind(self, path: Path) -> str:
        if path == self._folder:
            return "folder"
        return "temporary" if path.suffix == ".tmp" else path.name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_holds_what_was_written(tmp_path: Path) -> None:
    durable.write_bytes(tmp_path / "file", b"content")

    assert (tmp_path / "file").read_bytes() == b"content"
    assert names(tmp_path) == ["file"]


def test_content_is_durable_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FakeDisk(monkeypatch, tmp_path)

    durable.write_bytes(tmp_path / "file", b"content")

    assert disk.steps == ["sync temporary", "link temporary file", "sync folder"]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    durable.write_bytes(tmp_path / "file", b"first")

    with pytest.raises(FileExistsError):
        durable.write_bytes(tmp_path / "file", b"second")

    assert (tmp_path / "file").read_bytes() == b"first"
    assert names(tmp_path) == ["file"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def fill(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        durable.write(tmp_path / "file", fill)

    assert names(tmp_path) == []


def test_a_failed_sync_is_reported_and_nothing_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        del descriptor
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts descriptors

    with pytest.raises(OSError, match="Input/output"):
        durable.write_bytes(tmp_path / "file", b"content")

    assert names(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def test_the_temporary_file_stands_beside_and_is_hidden(tmp_path: Path) -> None:
    """A link reaches no other file system, and a listing must not show half a file."""
    seen: list[Path] = []

    def fill(path: Path) -> None:
        seen.append(path)
        path.touch()

    durable.write(tmp_path / "file", fill)

    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(".file.")

"""Adopting a file when the disk fails: what has come stays, unless it may not be on the disk."""

import errno
import os

import pytest

from twofold import faults
from twofold.store import LocalStore, StoreError


def failing_once(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Lets the next call of a function of `os` fail."""
    real = getattr(os, name)

    def fail(*_: object, **__: object) -> None:
        monkeypatch.setattr(os, name, real)
        raise OSError(number, "disk")

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", ["mkdir", "link"])
def test_adopt_keeps_the_file_for_a_repeat_if_it_cannot_be_named(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    temporary = store.temporary()
    temporary.write_bytes(b"data")
    failing_once(monkeypatch, name, number)

    with pytest.raises(StoreError):
        store.adopt(temporary, "t/deep/a")
    assert temporary.read_bytes() == b"data"

    assert store.adopt(temporary, "t/deep/a")
    assert not temporary.exists()
    assert store.read("t/deep/a") == b"data"


def test_adopt_of_a_file_that_has_its_name_already_completes_it(store: LocalStore) -> None:
    """The first try failed between the name and its sync."""
    temporary = store.temporary()
    temporary.write_bytes(b"data")

    def fail() -> None:
        raise OSError(errno.EIO, "disk")

    faults.arm("store.create.linked", fail)
    with pytest.raises(StoreError):
        store.adopt(temporary, "t/a")
    faults.disarm()
    assert temporary.stat().st_nlink == 2

    assert not store.adopt(temporary, "t/a")
    assert not temporary.exists()
    assert store.read("t/a") == b"data"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_adopt_discards_a_file_of_which_writes_were_lost(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A second fsync would say that it is durable."""
    temporary = store.temporary()
    temporary.write_bytes(b"data")
    failing_once(monkeypatch, "fsync", number)

    with pytest.raises(StoreError):
        store.adopt(temporary, "t/a")
    assert not temporary.exists()
    assert not store.exists("t/a")


def test_adopt_keeps_a_file_that_it_had_no_means_to_sync(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = store.temporary()
    temporary.write_bytes(b"data")
    failing_once(monkeypatch, "open", errno.EMFILE)

    with pytest.raises(StoreError):
        store.adopt(temporary, "t/a")
    assert store.adopt(temporary, "t/a")

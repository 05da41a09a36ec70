"""Locks between processes."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from twofold import locks
from twofold.errors import Conflict
from twofold.store import StoreError


def test_a_lock_file_that_a_crash_left_behind_locks_as_well(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()

    with locks.held(path, "busy"), pytest.raises(Conflict, match="busy"), locks.held(path, "busy"):
        pass
    assert not path.exists()


def test_a_lock_that_its_holder_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    is_at, looks = locks._is_at, list[bool]()

    def removed_first(path: Path, lock: int) -> bool:
        if not looks:
            path.unlink()
        looks.append(is_at(path, lock))
        return looks[-1]

    monkeypatch.setattr(locks, "_is_at", removed_first)
    with locks.held(path, "busy"):
        assert path.exists()
    assert looks == [False, True]


def test_a_lock_on_a_broken_disk_is_a_store_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreError), locks.held(tmp_path / "lock", "busy"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("step", ["flock", "_is_at"])
def test_a_lock_that_fails_while_it_is_taken_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Else this process could not take it before its end."""
    path = tmp_path / "lock"

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "disk")

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number counts
    with monkeypatch.context() as patch:
        patch.setattr(fcntl if step == "flock" else locks, step, fail)
        with pytest.raises(StoreError), locks.held(path, "busy"):
            pass

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with locks.held(path, "busy"):
        assert path.exists()

"""The folder of an embedded cluster: one `up` at a time, and where its data stands."""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from twofold.config import UnusableSettings

#: How long a new `up` waits for the parts of one that was killed: they drain first.
_ORPHANS_S = 15.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Folder:
    """A locked folder. `lock` is inherited by the parts, so that the last of them frees it."""

    path: Path
    lock: int

    @property
    def store(self) -> Path:
        """The store of models, data sets and jobs."""
        return self.path / "store"

    @property
    def valkey(self) -> Path:
        """Valkey's append-only file."""
        return self.path / "valkey"

    @property
    def temporary(self) -> Path:
        """The services' temporary files."""
        # torch makes a cache of predictable name there: not in a folder that all may write to.
        return self.path / "tmp"

    def make(self) -> None:
        """Makes the folders that the parts expect, for this user alone."""
        for folder in (self.valkey, self.temporary):
            folder.mkdir(mode=0o700, exist_ok=True)


@asynccontextmanager
async def locked(path: Path, patience_s: float = _ORPHANS_S) -> AsyncGenerator[Folder]:
    """The folder, made if need be, for this process and its parts alone.

    Raises:
        UnusableSettings: it cannot be made, or another `up` holds it.
    """
    folder, lock = _make(path)
    try:
        await _take(lock, folder, patience_s)
        yield Folder(folder, lock)
    finally:
        os.close(lock)


def _make(path: Path) -> tuple[Path, int]:
    folder = path.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder, os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UnusableSettings(f"--dir is {str(path)!r}: {error.strerror}") from error


async def _take(lock: int, folder: Path, patience_s: float) -> None:
    """Locks and writes the own pid; waits only while the holder is a killed cluster's rest."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while not _try_lock(lock):
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        if _is_running(holder) or asyncio.get_running_loop().time() > deadline:
            raise UnusableSettings(
                f"--dir is {str(folder)!r}: a cluster with pid {holder or '?'} uses it; stop that "
                "one, or choose another --dir"
            )
        await asyncio.sleep(_POLL_S)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

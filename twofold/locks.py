"""Locks between processes: a file that is locked while its holder lives, and gone afterwards.

flock(2): the kernel frees it when its holder ends, however it ends. Holds among processes on one
machine, and over NFS v4 among machines.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from twofold.errors import Conflict
from twofold.store import StoreError

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def held(path: Path, busy: str) -> Generator[None]:
    """Holds the lock of `path` during the block; blocks on the disk only.

    Raises:
        Conflict: another holds it; `busy` is the message.
        StoreError: the disk failed.
    """
    try:
        lock = _taken(path, busy)
    except OSError as error:
        raise StoreError("the store cannot be locked now; try again later") from error
    try:
        yield
    finally:
        with suppress(OSError):  # a lock file that stays is swept, and locks as well
            path.unlink(missing_ok=True)
        os.close(lock)


def _taken(path: Path, busy: str) -> int:
    """A descriptor that holds the lock."""
    while True:
        with ExitStack() as undo:
            lock = os.open(path, _FLAGS, 0o640)
            # Whatever goes wrong: a lock that stays open stays held, by nobody.
            undo.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(busy) from error
            if _is_at(path, lock):
                undo.pop_all()
                return lock
        # Its last holder removed it between our two calls: what we held was nobody's any more.


def _is_at(path: Path, lock: int) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (os.fstat(lock).st_dev, os.fstat(lock).st_ino)

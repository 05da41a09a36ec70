"""The store: durable files under one root, written once, never followed through a symbolic link.

A file appears whole or not at all and is durable before `create`, `link` or `adopt` return: written
under a temporary name, fsynced, linked to its key, and the folder fsynced. kill -9 does not test
that order (the page cache survives it); the tests assert the calls themselves.

Every call blocks; asyncio code goes through `asyncio.to_thread`.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from twofold.errors import Corrupt, Unavailable
from twofold.faults import fault

#: One part of a key: a checked name, a ULID, a digest or one of the layout's own words.
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Non-blocking, or opening a planted FIFO would wait for a writer for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Not there: absent, or something that we never make and so never follow.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Folders known to be durable are remembered up to this many, then all are forgotten.
_SETTLED_LIMIT = 10_000
_CHUNK = 1 << 20
#: Owner and group: an inferer may read as another user of the group.
_MODE = 0o750


class StoreError(Unavailable):
    """The store cannot be used now. Its text names no path; the cause, for the log, does."""


class Store(Protocol):
    """What Twofold asks of a store. Keys are as `twofold.keys` makes them."""

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        """The file's bytes; None where it is not there; raises Corrupt above the limit."""
        ...

    def digest(self, key: str) -> tuple[int, str] | None:
        """The file's size in bytes and SHA-256, read in pieces; None where it is not there."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Makes a durable file; False, and nothing written, where the key was taken."""
        ...

    def link(self, source: str, target: str) -> bool:
        """Gives a durable file a second name; False where the target was taken."""
        ...

    def adopt(self, temporary: Path, key: str) -> bool:
        """Makes a durable file of one written at `temporary()`, which it consumes."""
        ...

    def temporary(self) -> Path:
        """A new path on the store's file system; nothing is there yet."""
        ...

    def path(self, key: str) -> Path:
        """The local path of a key, for child processes and memory maps."""
        ...

    def make_folder(self, key: str) -> Path:
        """Makes a durable folder and those above it; its path."""
        ...

    def names(self, key: str) -> list[str]:
        """Sorted names in a folder; empty where there is none."""
        ...

    def exists(self, key: str) -> bool:
        """Whether a file or folder is there."""
        ...

    def sync_folder(self, key: str) -> None:
        """Makes a folder's names durable, after others wrote fsynced files there."""
        ...

    def remove(self, key: str) -> None:
        """Removes a file or a whole folder; nothing there is fine."""
        ...


def split_key(key: str) -> list[str]:
    """The parts of a key; raises ValueError for what `twofold.keys` cannot have made."""
    parts = key.split("/")
    for part in parts:
        if _PART.fullmatch(part) is None or ".." in part:
            raise ValueError(f"not a key of the store: {key[:200]!r}")
    return parts


@contextlib.contextmanager
def _translated() -> Generator[None, None, None]:
    """Operating system errors as StoreError."""
    try:
        yield
    except OSError as error:
        text = "the store is full" if error.errno in _FULL else "the store cannot be used now"
        raise StoreError(f"{text}; try again later") from error


class LocalStore:
    """A Store in a folder of a local file system that has hard links."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self._root = root.absolute()
        self._read_only = read_only
        # Folders whose names are durable up to the root. Shared by threads: only add, discard and
        # clear, each atomic; forgetting one costs an fsync, nothing else.
        self._settled: set[str] = set()

    def __repr__(self) -> str:
        return f"LocalStore({str(self._root)!r}{', read_only=True' if self._read_only else ''})"

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        """See Store."""
        with _translated(), self._reading(key) as descriptor:
            if descriptor is None:
                return None
            if os.fstat(descriptor).st_size > limit_bytes:
                raise Corrupt(f"a stored file is larger than {limit_bytes} bytes")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(limit_bytes + 1)[:limit_bytes]

    def digest(self, key: str) -> tuple[int, str] | None:
        """See Store."""
        with _translated(), self._reading(key) as descriptor:
            if descriptor is None:
                return None
            sha256, size = hashlib.sha256(), 0
            while chunk := os.read(descriptor, _CHUNK):
                sha256.update(chunk)
                size += len(chunk)
            return size, sha256.hexdigest()

    def create(self, key: str, data: bytes) -> bool:
        """See Store."""
        temporary = self.temporary()
        with _translated(), _removed(temporary):
            with open(temporary, "xb") as file:  # noqa: PTH123 - "xb" of pathlib is the same
                file.write(data)
                file.flush()
                fault("store.create.written")
                os.fsync(file.fileno())
            fault("store.create.synced")
            return self._name(str(temporary), key)

    def link(self, source: str, target: str) -> bool:
        """See Store."""
        with _translated():
            folder, name = self._folder_of(source)
            try:
                return self._name(name, target, folder)
            finally:
                os.close(folder)

    def adopt(self, temporary: Path, key: str) -> bool:
        """See Store; raises StoreError for what is not a regular file in the temporary folder."""
        with _translated(), _removed(temporary):
            descriptor = os.open(temporary, _FILE)
            try:
                _check_regular(descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fault("store.adopt.synced")
            return self._name(str(temporary), key)

    def temporary(self) -> Path:
        """See Store."""
        self._check_writable()
        folder = self._root / "tmp"
        with _translated():
            self._make_root()
            folder.mkdir(_MODE, exist_ok=True)
        return folder / secrets.token_hex(16)

    def path(self, key: str) -> Path:
        """See Store."""
        return self._root.joinpath(*split_key(key))

    def make_folder(self, key: str) -> Path:
        """See Store."""
        with _translated():
            os.close(self._made(split_key(key)))
        return self.path(key)

    def names(self, key: str) -> list[str]:
        """See Store."""
        with _translated():
            try:
                descriptor = self._open_folder(split_key(key))
            except OSError as error:
                if error.errno in _ABSENT:
                    return []
                raise
            try:
                return sorted(os.listdir(descriptor))  # noqa: PTH208 - pathlib takes no descriptor
            finally:
                os.close(descriptor)

    def exists(self, key: str) -> bool:
        """See Store."""
        with _translated():
            try:
                folder, name = self._folder_of(key)
            except OSError as error:
                if error.errno in _ABSENT:
                    return False
                raise
            try:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return False
            finally:
                os.close(folder)
            return not stat.S_ISLNK(found.st_mode)

    def sync_folder(self, key: str) -> None:
        """See Store."""
        with _translated():
            descriptor = self._open_folder(split_key(key))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, key: str) -> None:
        """See Store."""
        self._check_writable()
        self._settled.clear()  # a folder below may be made again, and must be made durable again
        with _translated():
            try:
                folder, name = self._folder_of(key)
            except OSError as error:
                if error.errno in _ABSENT:
                    return
                raise
            try:
                _remove_at(name, folder)
                os.fsync(folder)
            finally:
                os.close(folder)

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreError("the store is read-only here")

    @contextlib.contextmanager
    def _reading(self, key: str) -> Generator[int | None, None, None]:
        """A descriptor of a regular file; None where there is none."""
        try:
            folder, name = self._folder_of(key)
            try:
                descriptor = os.open(name, _FILE, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            yield None
            return
        try:
            yield descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        finally:
            os.close(descriptor)

    def _folder_of(self, key: str) -> tuple[int, str]:
        """A descriptor of the folder of a key, to be closed, and the last part."""
        parts = split_key(key)
        return self._open_folder(parts[:-1]), parts[-1]

    def _open_folder(self, parts: list[str]) -> int:
        """A descriptor of a folder, reached without following any link below the root."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts:
            try:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def _name(self, source: str, key: str, folder: int | None = None) -> bool:
        """Links a durable file to a key and makes the name durable; False where it was taken."""
        *parents, name = split_key(key)
        target = self._made(parents)
        try:
            try:
                os.link(source, name, src_dir_fd=folder, dst_dir_fd=target, follow_symlinks=False)
            except FileExistsError:
                # Whoever acts on the other's file must find it after a crash too.
                os.fsync(target)
                return False
            fault("store.create.linked")
            os.fsync(target)
            fault("store.create.named")
            return True
        finally:
            os.close(target)

    def _make_root(self) -> None:
        """Makes the root and what is missing above it, durably."""
        missing = [self._root, *self._root.parents]
        while missing and missing[-1].is_dir():
            missing.pop()
        for folder in reversed(missing):
            folder.mkdir(_MODE, exist_ok=True)
            descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _made(self, parts: list[str]) -> int:
        """A descriptor of a folder that exists and is durable."""
        self._check_writable()
        descriptor, known = self._settled_folder(parts)
        for number, part in enumerate(parts[known:], known + 1):
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, _MODE, dir_fd=descriptor)
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                # Also where it existed: whoever made it may not have come to this line yet.
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
            self._settled.add("/".join(parts[:number]))
        return descriptor

    def _settled_folder(self, parts: list[str]) -> tuple[int, int]:
        """A descriptor of the deepest folder known to be durable, and its depth."""
        if len(self._settled) >= _SETTLED_LIMIT:
            self._settled.clear()
        for depth in range(len(parts), 0, -1):
            if "/".join(parts[:depth]) in self._settled:
                with contextlib.suppress(FileNotFoundError):
                    return self._open_folder(parts[:depth]), depth
                self._settled.clear()  # another removed it; who knows what else
        self._make_root()
        return self._open_folder([]), 0


def _check_regular(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


@contextlib.contextmanager
def _removed(temporary: Path) -> Generator[None, None, None]:
    """Removes a temporary name afterwards; what it was linked to stays."""
    try:
        yield
    finally:
        temporary.unlink(missing_ok=True)


def _remove_at(name: str, folder: int) -> None:
    """Removes a file or a folder with all in it, following no link."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # Linux says the first, POSIX the second
        shutil.rmtree(name, dir_fd=folder)

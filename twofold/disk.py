"""Disks: the few file operations that the store is made of, on paths below one root.

What is durable when, and in which order, is the store's matter: here each operation does one thing
and raises OSError. Simulations hand in a disk in memory that forgets what was not synced.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

#: The parts of a path below the root; () is the root. Whoever calls has checked them.
Parts = tuple[str, ...]
Kind = Literal["file", "folder", "other"]

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = _ROOT | os.O_NOFOLLOW
#: Non-blocking, or opening a planted FIFO would wait for a writer for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_PIECE_BYTES = 1 << 20
#: Owner and group: an inferer may read as another user of the group.
_MODE = 0o750


class NewFile(Protocol):
    """A file that is being written; closed as its `with` block ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def write(self, data: bytes) -> None:
        """Appends all of `data`; a failure may leave part of it."""
        ...

    def sync(self) -> None:
        """Makes what was written durable; its name is another matter."""
        ...


class Disk(Protocol):
    """What the store asks of a file system with hard links. No operation follows a link."""

    def path(self, parts: Parts) -> Path:
        """Where it stands, for child processes and memory maps."""
        ...

    def unused_name(self) -> str:
        """A name that no other process comes up with."""
        ...

    def make_root(self) -> None:
        """Makes the root and what is missing above it, durably; from then on it must stay."""
        ...

    def new_file(self, parts: Parts) -> NewFile:
        """Makes an empty file; raises FileExistsError where anything is."""
        ...

    def sync_file(self, parts: Parts) -> None:
        """Makes the content of a regular file durable."""
        ...

    def link(self, source: Parts, target: Parts) -> None:
        """Gives a file a second name; raises FileExistsError where anything is."""
        ...

    def make_folder(self, parts: Parts) -> None:
        """Makes a folder; one that is there is fine, anything else an error."""
        ...

    def sync_folder(self, parts: Parts) -> None:
        """Makes a folder's names durable, not what they stand for."""
        ...

    def read(self, parts: Parts, limit_bytes: int) -> bytes:
        """A regular file's bytes; of a longer one the first `limit_bytes` + 1."""
        ...

    def read_range(self, parts: Parts, offset: int, size_bytes: int) -> bytes:
        """A regular file's bytes from `offset` on, `size_bytes` of them or up to its end."""
        ...

    def pieces(self, parts: Parts) -> Iterator[bytes]:
        """A regular file's bytes, piece by piece."""
        ...

    def names(self, parts: Parts) -> list[str]:
        """The names in a folder, in any order."""
        ...

    def kind(self, parts: Parts) -> Kind | None:
        """What is there; None for nothing and for links, which we never make."""
        ...

    def remove(self, parts: Parts) -> None:
        """Removes a file, or a folder with all in it; raises FileNotFoundError."""
        ...


class OsDisk:
    """A folder of the machine's file system."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        # Once made, the root is this folder and no other: where its file system is taken away, or
        # another is mounted over it, what is beneath must not be taken for a store without jobs.
        self._held: int | None = None

    def path(self, parts: Parts) -> Path:
        """See Disk."""
        return self._root.joinpath(*parts)

    def unused_name(self) -> str:
        """See Disk."""
        return secrets.token_hex(16)

    def make_root(self) -> None:
        """See Disk."""
        if self._held is not None:
            return
        missing = [self._root, *self._root.parents]
        while missing and missing[-1].is_dir():
            missing.pop()
        for folder in reversed(missing):
            folder.mkdir(_MODE, exist_ok=True)
            descriptor = os.open(folder.parent, _ROOT)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        held = os.open(self._root, _ROOT)
        weakref.finalize(self, os.close, held)
        self._held = held

    def new_file(self, parts: Parts) -> NewFile:
        """See Disk."""
        with self._folder(parts[:-1]) as folder:
            return _OsFile(os.open(parts[-1], _NEW, 0o666, dir_fd=folder))

    def sync_file(self, parts: Parts) -> None:
        """See Disk."""
        with self._file(parts) as descriptor:
            os.fsync(descriptor)

    def link(self, source: Parts, target: Parts) -> None:
        """See Disk."""
        with self._folder(source[:-1]) as before, self._folder(target[:-1]) as after:
            os.link(
                source[-1], target[-1], src_dir_fd=before, dst_dir_fd=after, follow_symlinks=False
            )

    def make_folder(self, parts: Parts) -> None:
        """See Disk."""
        with self._folder(parts[:-1]) as folder:
            with contextlib.suppress(FileExistsError):
                os.mkdir(parts[-1], _MODE, dir_fd=folder)
            os.close(os.open(parts[-1], _FOLDER, dir_fd=folder))

    def sync_folder(self, parts: Parts) -> None:
        """See Disk."""
        with self._folder(parts) as folder:
            os.fsync(folder)

    def read(self, parts: Parts, limit_bytes: int) -> bytes:
        """See Disk."""
        with self._file(parts) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(min(os.fstat(descriptor).st_size, limit_bytes) + 1)

    def read_range(self, parts: Parts, offset: int, size_bytes: int) -> bytes:
        """See Disk."""
        with self._file(parts) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            file.seek(offset)
            return file.read(size_bytes)

    def pieces(self, parts: Parts) -> Generator[bytes, None, None]:
        """See Disk."""
        with self._file(parts) as descriptor:
            while piece := os.read(descriptor, _PIECE_BYTES):
                yield piece

    def names(self, parts: Parts) -> list[str]:
        """See Disk."""
        with self._folder(parts) as folder:
            return os.listdir(folder)  # noqa: PTH208 - pathlib takes no descriptor

    def kind(self, parts: Parts) -> Kind | None:
        """See Disk."""
        try:
            with self._folder(parts[:-1]) as folder:
                if not parts:
                    return "folder"
                mode = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode
        except OSError as error:
            if is_absence(error):
                return None
            raise
        if stat.S_ISLNK(mode):
            return None
        return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"

    def remove(self, parts: Parts) -> None:
        """See Disk."""
        with self._folder(parts[:-1]) as folder:
            try:
                os.unlink(parts[-1], dir_fd=folder)
            except (IsADirectoryError, PermissionError):  # Linux says the first, POSIX the second
                mode = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode
                if not stat.S_ISDIR(mode):
                    raise
                _remove_folder(parts[-1], folder)

    @contextlib.contextmanager
    def _folder(self, parts: Parts) -> Generator[int, None, None]:
        """A descriptor of a folder, reached without following any link below the root."""
        held = self._held
        descriptor = os.open(self._root if held is None else ".", _ROOT, dir_fd=held)
        try:
            for part in parts:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _file(self, parts: Parts) -> Generator[int, None, None]:
        """A descriptor of a regular file; anything else counts as nothing."""
        with self._folder(parts[:-1]) as folder:
            descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file")
            yield descriptor
        finally:
            os.close(descriptor)


class _OsFile:
    """See NewFile. One descriptor for all: only it is sure to hear of a failed write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """See NewFile."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """See NewFile."""
        os.fsync(self._descriptor)


def is_absence(error: BaseException | None) -> bool:
    """Whether nothing is there: absent, or something that we never make and so never follow."""
    return isinstance(error, OSError) and error.errno in _ABSENT


def _remove_folder(name: str, folder: int) -> None:
    """Removes a folder with all in it, also while another does the same."""
    while True:
        try:
            return shutil.rmtree(name, dir_fd=folder)
        except FileNotFoundError:
            os.stat(name, dir_fd=folder, follow_symlinks=False)  # all gone: this raises it again

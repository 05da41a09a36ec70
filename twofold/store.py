"""The store: durable files under one root, written once, never followed through a symbolic link.

A file appears whole or not at all and is durable before `create`, `link` or `adopt` return: written
under a temporary name, fsynced, linked to its key, and the folder fsynced. kill -9 does not test
that order (the page cache survives it); the tests assert the calls themselves, and simulations
run it over a disk that forgets.

Every call blocks; asyncio code goes through `asyncio.to_thread`.
"""

import contextlib
import errno
import functools
import hashlib
import logging
import re
from pathlib import Path
from typing import Protocol

from twofold.disk import Disk, OsDisk, Parts, is_absence
from twofold.errors import Corrupt, Unavailable
from twofold.faults import fault

#: One part of a key: a checked name, a ULID, a digest or one of the layout's own words.
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: What fsync says of writes that did not reach the disk, and will not.
_LOST = _FULL | {errno.EIO}
#: Folders known to be durable are remembered up to this many, then all are forgotten.
_SETTLED_LIMIT = 10_000
#: Files on their way in; outside of every tenant.
_TEMPORARY = "tmp"
_log = logging.getLogger(__name__)


class StoreError(Unavailable):
    """The store cannot be used now. Its text names no path; the cause, for the log, does."""


class Store(Protocol):
    """What Twofold asks of a store. Keys are as `twofold.keys` makes them."""

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        """The file's bytes; None where it is not there; raises Corrupt above the limit."""
        ...

    def read_durable(self, key: str) -> bytes | None:
        """Like `read`, and the name is durable: for whoever acts on what another has made.

        The other may have died between the name and its sync.
        """
        ...

    def read_range(self, key: str, offset: int, size_bytes: int) -> bytes | None:
        """`size_bytes` of the file from `offset` on, fewer at its end; None where it is not there.

        Nothing stays open between two calls, so that who asks slowly holds nothing.
        """
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


@functools.lru_cache(maxsize=1024)
def split_key(key: str) -> Parts:
    """The parts of a key; raises ValueError for what `twofold.keys` cannot have made."""
    parts = tuple(key.split("/"))
    for part in parts:
        if _PART.fullmatch(part) is None or ".." in part:
            raise ValueError(f"not a key of the store: {key[:200]!r}")
    return parts


class _Translated:
    """Operating system errors as StoreError. Around every call, so no generator."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            text = "the store is full" if error.errno in _FULL else "the store cannot be used now"
            raise StoreError(f"{text}; try again later") from error


class _AbsenceIsFine:
    """Goes on after the block where nothing is there; a failing disk is not that."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, OSError) and is_absence(error)


_translated = _Translated()
_absence_is_fine = _AbsenceIsFine()


class LocalStore:
    """A Store on a disk that has hard links, by default a folder of a local file system."""

    def __init__(self, root: Path, *, read_only: bool = False, disk: Disk | None = None) -> None:
        self._root = root.absolute()
        self._read_only = read_only
        self._disk = disk or OsDisk(root)
        # Folders whose names are durable up to the root. Shared by threads: only add, discard and
        # clear, each atomic; forgetting one costs an fsync, nothing else.
        self._settled: set[Parts] = set()

    def __repr__(self) -> str:
        return f"LocalStore({str(self._root)!r}{', read_only=True' if self._read_only else ''})"

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        """See Store."""
        parts = split_key(key)
        with _translated, _absence_is_fine:
            fault("store.read")
            data = self._disk.read(parts, limit_bytes)
            if len(data) > limit_bytes:
                raise Corrupt(f"a stored file is larger than {limit_bytes} bytes")
            return data
        return None

    def read_durable(self, key: str) -> bytes | None:
        """See Store."""
        data = self.read(key)
        if data is not None:
            with _translated:
                self._disk.sync_folder(split_key(key)[:-1])
        return data

    def read_range(self, key: str, offset: int, size_bytes: int) -> bytes | None:
        """See Store."""
        parts = split_key(key)
        with _translated, _absence_is_fine:
            fault("store.read")
            return self._disk.read_range(parts, offset, size_bytes)
        return None

    def digest(self, key: str) -> tuple[int, str] | None:
        """See Store."""
        parts = split_key(key)
        with _translated, _absence_is_fine:
            fault("store.read")
            sha256, size = hashlib.sha256(), 0
            for piece in self._disk.pieces(parts):
                sha256.update(piece)
                size += len(piece)
            return size, sha256.hexdigest()
        return None

    def create(self, key: str, data: bytes) -> bool:
        """See Store."""
        parts = split_key(key)
        temporary = self._temporary()
        with _translated:
            try:
                with self._disk.new_file(temporary) as file:
                    file.write(data)
                    fault("store.create.written")
                    file.sync()
                fault("store.create.synced")
                return self._name(temporary, parts)
            finally:
                self._discard(temporary)

    def link(self, source: str, target: str) -> bool:
        """See Store."""
        with _translated:
            return self._name(split_key(source), split_key(target))

    def adopt(self, temporary: Path, key: str) -> bool:
        """See Store; raises StoreError for what is not a regular file in the temporary folder."""
        parts = split_key(key)
        ours = (_TEMPORARY, temporary.name)
        if temporary != self._disk.path(ours):
            raise StoreError("not a file of the temporary folder")
        with _translated:
            try:
                self._disk.sync_file(ours)
            except OSError as error:
                # Writes that were lost are told once: a second fsync would promise what is not on
                # the disk, so nobody is to go on with these bytes.
                if error.errno in _LOST:
                    self._discard(ours)
                raise
            fault("store.adopt.synced")
            is_new = self._name(ours, parts)
            # Not before: a repeat goes on with the file, also where it has its name already.
            self._discard(ours)
            return is_new

    def temporary(self) -> Path:
        """See Store."""
        return self._disk.path(self._temporary())

    def path(self, key: str) -> Path:
        """See Store."""
        return self._disk.path(split_key(key))

    def make_folder(self, key: str) -> Path:
        """See Store."""
        parts = split_key(key)
        with _translated:
            self._make_durable(parts)
        return self._disk.path(parts)

    def names(self, key: str) -> list[str]:
        """See Store."""
        parts = split_key(key)
        with _translated, _absence_is_fine:
            return sorted(self._disk.names(parts))
        return []

    def exists(self, key: str) -> bool:
        """See Store."""
        with _translated:
            return self._disk.kind(split_key(key)) is not None

    def sync_folder(self, key: str) -> None:
        """See Store."""
        with _translated:
            self._disk.sync_folder(split_key(key))

    def remove(self, key: str) -> None:
        """See Store."""
        self._check_writable()
        parts = split_key(key)
        self._unsettle(parts)
        with _translated, _absence_is_fine:
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(parts)
            self._disk.sync_folder(parts[:-1])

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreError("the store is read-only here")

    def _temporary(self) -> Parts:
        """A new path in the temporary folder, which need not be durable."""
        self._check_writable()
        with _translated:
            self._disk.make_root()
            self._disk.make_folder((_TEMPORARY,))
        return _TEMPORARY, self._disk.unused_name()

    def _discard(self, temporary: Parts) -> None:
        """Removes a temporary name; what it was linked to stays."""
        try:
            self._disk.remove(temporary)
        except FileNotFoundError:
            pass
        except OSError:
            # What was asked for is done, or has failed for a reason of its own.
            _log.warning("a temporary file could not be removed", exc_info=True)

    def _name(self, source: Parts, target: Parts) -> bool:
        """Links a durable file to a key and makes the name durable; False where it was taken."""
        folder = target[:-1]
        self._make_durable(folder)
        try:
            self._disk.link(source, target)
        except FileExistsError:
            # Whoever acts on the other's file must find it after a crash too.
            self._disk.sync_folder(folder)
            return False
        fault("store.create.linked")
        self._disk.sync_folder(folder)
        fault("store.create.named")
        return True

    def _make_durable(self, folder: Parts) -> None:
        """Lets a folder exist and be durable, with those above it."""
        self._check_writable()
        for depth in range(self._settled_depth(folder), len(folder)):
            below = folder[: depth + 1]
            self._disk.make_folder(below)
            # Also where it existed: whoever made it may not have come to this line yet.
            self._disk.sync_folder(folder[:depth])
            self._settled.add(below)

    def _unsettle(self, parts: Parts) -> None:
        """What is removed may be made again, and must be made durable again."""
        for folder in list(self._settled):
            if folder[: len(parts)] == parts:
                self._settled.discard(folder)

    def _settled_depth(self, folder: Parts) -> int:
        """The depth of the deepest folder on the way that is known to be durable."""
        if len(self._settled) >= _SETTLED_LIMIT:
            self._settled.clear()
        for depth in range(len(folder), 0, -1):
            if folder[:depth] in self._settled:
                if self._disk.kind(folder[:depth]) == "folder":
                    return depth
                self._settled.clear()  # another removed it; who knows what else
        self._disk.make_root()
        return 0

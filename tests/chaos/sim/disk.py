"""A machine's disk in memory that forgets, at a crash, what was not synced.

One `SimDisk` per simulated machine, one `handle` per process. Before each operation the handle
calls the process's `on_step(name)`, where a scheduler may switch, kill, or raise an OSError in the
disk's place; the operation itself is then one step that nobody interrupts. A handle that was killed
raises at every use, so that clean-up of a killed process has no effect.

What `crash` may lose is what POSIX lets a file system lose: bytes that were not fsynced (all, a
tail, or their content), and each name made or removed in a folder since that folder's last fsync.
A folder's fsync says nothing about the folder's own name.
"""

import contextlib
import errno
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from twofold.disk import Kind, Parts

#: How likely one crash loses each thing that was not synced: what a machine forgets differs.
_CHANCES = (1.0, 0.5, 0.5, 0.1)
_ROOT = Path("/simulated")
Hook = Callable[[str], None]


class Dead(BaseException):
    """The process was killed; nothing of it goes on. Not for `except Exception`."""


class _File:
    """An inode; its names may be many."""

    __slots__ = ("data", "synced")

    def __init__(self) -> None:
        self.data = b""
        #: This many bytes of it are durable.
        self.synced = 0

    def copy(self) -> "_File":
        """The same bytes, all of them durable."""
        copied = _File()
        copied.data, copied.synced = self.data, len(self.data)
        return copied

    def lose(self, rng: random.Random, chance: float) -> None:
        """Loses bytes that were not synced."""
        if self.synced < len(self.data) and rng.random() < chance:
            kept = rng.randrange(self.synced, len(self.data))
            lost = len(self.data) - kept
            # The file's length may be durable while its bytes are not.
            tail = b"" if rng.random() < 0.7 else bytes(lost)
            self.data = self.data[:kept] + tail
        self.synced = len(self.data)


class _Folder:
    """An inode."""

    __slots__ = ("entries", "undo")

    def __init__(self) -> None:
        self.entries: dict[str, _File | _Folder] = {}
        #: What each name changed since the last sync stood for then; None: nothing.
        self.undo: dict[str, _File | _Folder | None] = {}

    def put(self, name: str, inode: "_File | _Folder | None") -> None:
        """Lets a name stand for `inode`, not durably."""
        self.undo.setdefault(name, self.entries.get(name))
        if inode is None:
            del self.entries[name]
        else:
            self.entries[name] = inode

    def copy(self) -> "_Folder":
        """The same files and folders, all of them durable."""
        copied = _Folder()
        copied.entries = {name: inode.copy() for name, inode in self.entries.items()}
        return copied

    def lose(self, rng: random.Random, chance: float) -> None:
        """Loses changes that were not synced, here and below."""
        for name, before in self.undo.items():
            if rng.random() >= chance:
                continue
            if before is None:
                self.entries.pop(name, None)
            else:
                self.entries[name] = before
        self.undo.clear()
        for inode in self.entries.values():
            inode.lose(rng, chance)


class SimDisk:
    """The disk; its contents outlive every handle."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._handles: list[SimHandle] = []
        #: Numbers temporary names: no randomness that a seed does not decide.
        self.serial = count(1)
        self.root = _Folder()

    def handle(self, on_step: Hook) -> "SimHandle":
        """A process's way to the disk."""
        made = SimHandle(self, on_step)
        self._handles.append(made)
        return made

    def crash(self, chance: float | None = None) -> None:
        """Kills every process of the machine, and loses what was not synced.

        `chance`: how likely each thing is lost; None: the seed decides.
        """
        for handle in self._handles:
            handle.kill()
        self._handles.clear()
        drawn = self._rng.choice(_CHANCES)
        self.root.lose(self._rng, drawn if chance is None else chance)

    def files(self) -> dict[str, bytes]:
        """Every file as processes see it, by its path."""
        return dict(_walk(self.root, ""))


class SimHandle:
    """A Disk of one process."""

    def __init__(self, disk: SimDisk, on_step: Hook) -> None:
        self._disk = disk
        self._on_step = on_step
        self._is_dead = False

    def kill(self) -> None:
        """Ends the process: every use of the handle from now on raises Dead."""
        self._is_dead = True

    def step(self, name: str) -> None:
        """Lets others act; raises Dead, or what the hook raises."""
        if self._is_dead:
            raise Dead(name)
        self._on_step(name)
        if self._is_dead:
            raise Dead(name)

    def path(self, parts: Parts) -> Path:
        """See Disk. Nothing is really there."""
        return _ROOT.joinpath(*parts)

    def unused_name(self) -> str:
        """See Disk."""
        return f"{next(self._disk.serial):032x}"

    def make_root(self) -> None:
        """See Disk: it has always been there."""

    def new_file(self, parts: Parts) -> "SimNewFile":
        """See Disk."""
        self.step("disk.new_file")
        folder, file = self._folder(parts[:-1]), _File()
        if parts[-1] in folder.entries:
            raise _error(errno.EEXIST)
        folder.put(parts[-1], file)
        return SimNewFile(self, file)

    def sync_file(self, parts: Parts) -> None:
        """See Disk."""
        self.step("disk.sync_file")
        file = self._file(parts)
        file.synced = len(file.data)

    def link(self, source: Parts, target: Parts) -> None:
        """See Disk."""
        self.step("disk.link")
        before, folder = self._folder(source[:-1]), self._folder(target[:-1])
        inode = before.entries.get(source[-1])
        if inode is None:
            raise _error(errno.ENOENT)
        if target[-1] in folder.entries:
            raise _error(errno.EEXIST)
        if isinstance(inode, _Folder):
            raise _error(errno.EPERM)
        folder.put(target[-1], inode)

    def make_folder(self, parts: Parts) -> None:
        """See Disk."""
        self.step("disk.make_folder")
        folder = self._folder(parts[:-1])
        found = folder.entries.get(parts[-1])
        if found is None:
            folder.put(parts[-1], _Folder())
        elif not isinstance(found, _Folder):
            raise _error(errno.ENOTDIR)

    def sync_folder(self, parts: Parts) -> None:
        """See Disk."""
        self.step("disk.sync_folder")
        self._folder(parts).undo.clear()

    def read(self, parts: Parts, limit_bytes: int) -> bytes:
        """See Disk."""
        self.step("disk.read")
        return self._file(parts).data[: limit_bytes + 1]

    def read_range(self, parts: Parts, offset: int, size_bytes: int) -> bytes:
        """See Disk."""
        self.step("disk.read")
        return self._file(parts).data[offset : offset + size_bytes]

    def pieces(self, parts: Parts) -> Iterator[bytes]:
        """See Disk."""
        self.step("disk.read")
        return iter((self._file(parts).data,))

    def names(self, parts: Parts) -> list[str]:
        """See Disk."""
        self.step("disk.names")
        return list(self._folder(parts).entries)

    def kind(self, parts: Parts) -> Kind | None:
        """See Disk."""
        self.step("disk.kind")
        inode: _File | _Folder | None = self._disk.root
        for part in parts:
            if not isinstance(inode, _Folder):
                return None
            inode = inode.entries.get(part)
        if inode is None:
            return None
        return "folder" if isinstance(inode, _Folder) else "file"

    def remove(self, parts: Parts) -> None:
        """See Disk. Of a folder, each name's removal is a step of its own."""
        self.step("disk.unlink")
        folder = self._folder(parts[:-1])
        found = folder.entries.get(parts[-1])
        if found is None:
            raise _error(errno.ENOENT)
        if isinstance(found, _Folder) and found.entries:
            for name in list(found.entries):
                with contextlib.suppress(FileNotFoundError):  # another may have removed it
                    self.remove((*parts, name))
            return self.remove(parts)
        return folder.put(parts[-1], None)

    def _folder(self, parts: Parts) -> _Folder:
        folder = self._disk.root
        for part in parts:
            found = folder.entries.get(part)
            if not isinstance(found, _Folder):
                raise _error(errno.ENOENT if found is None else errno.ENOTDIR)
            folder = found
        return folder

    def _file(self, parts: Parts) -> _File:
        found = self._folder(parts[:-1]).entries.get(parts[-1])
        if not isinstance(found, _File):
            raise _error(errno.ENOENT)
        return found


class SimNewFile:
    """See twofold.disk.NewFile."""

    def __init__(self, handle: SimHandle, file: _File) -> None:
        self._handle = handle
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def write(self, data: bytes) -> None:
        """See NewFile; a failing write leaves a part."""
        try:
            self._handle.step("disk.write")
        except OSError:
            self._file.data += data[: len(data) // 2]
            raise
        self._file.data += data

    def sync(self) -> None:
        """See NewFile."""
        self._handle.step("disk.sync_file")
        self._file.synced = len(self._file.data)


def _error(number: int) -> OSError:
    return OSError(number, errno.errorcode[number])


def _walk(folder: _Folder, prefix: str) -> Iterator[tuple[str, bytes]]:
    for name in sorted(folder.entries):
        inode = folder.entries[name]
        if isinstance(inode, _Folder):
            yield from _walk(inode, f"{prefix}{name}/")
        else:
            yield prefix + name, inode.data

"""Choices that were measured before, in this user's cache: one small file each, or none.

A choice depends on the graph and on the machine, not on the weights. A file that is broken, or of
another format, is as good as none: then is measured anew.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import tempfile
from pathlib import Path
from typing import cast

from inferer.forms.choice import Choice
from twofold import private_folder
from twofold.errors import InvalidField

#: Counts up where forms change, so that what older ones took is forgotten.
_FORMAT = 1
#: Files that are kept; the oldest ones leave.
_MOST = 4096
_LONGEST_BYTES = 1 << 16
_CPU_INFO = Path("/proc/cpuinfo")

_log = logging.getLogger(__name__)


class Choices:
    """A folder of choices; without one nothing is remembered."""

    def __init__(self, folder: Path | None, machine: str) -> None:
        self._folder = folder
        self._machine = machine

    @classmethod
    def below(cls, root: Path | None, machine: str) -> "Choices":
        """Those of a cache; nothing is remembered where others may write there."""
        if root is None:
            return cls(None, machine)
        try:
            private_folder.make(root, "cache")
            return cls(private_folder.make(root / "forms", "cache"), machine)
        except InvalidField as error:
            _log.warning("choices of forms are not kept", extra={"why": error.message})
            return cls(None, machine)

    def find(self, digest: str) -> Choice | None:
        """What was measured for a graph."""
        if self._folder is None:
            return None
        try:
            data = self._path(self._folder, digest).read_bytes()[:_LONGEST_BYTES]
            return _parse(json.loads(data), digest)
        except (OSError, ValueError, RecursionError):
            return None

    def keep(self, digest: str, choice: Choice) -> None:
        """Keeps it for the next process; where that fails it is measured again."""
        if self._folder is None:
            return
        written = {
            "format": _FORMAT,
            "graph": digest,
            "ranges": [list(each) for each in choice.ranges],
            "reason": choice.reason,
        }
        try:
            _write(self._path(self._folder, digest), json.dumps(written).encode())
            _prune(self._folder)
        except OSError as error:
            _log.warning("a choice of forms is not kept", extra={"why": error.strerror})

    def _path(self, folder: Path, digest: str) -> Path:
        key = hashlib.sha256(f"{_FORMAT} {digest} {self._machine}".encode()).hexdigest()
        return folder / f"{key}.json"


def machine_of(*libraries: str) -> str:
    """What durations depend on beside the graph: the CPU and the libraries."""
    return " ".join([platform.machine(), _cpu(), *libraries])


def _cpu() -> str:
    """The CPU's name and what it can do, as the kernel has it."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return " ".join(line for line in lines[:40] if line.startswith(("model name", "flags")))


def _parse(found: object, digest: str) -> Choice | None:
    if not isinstance(found, dict):
        return None
    fields = cast("dict[str, object]", found)
    ranges, reason = fields.get("ranges"), fields.get("reason")
    if (fields.get("format"), fields.get("graph")) != (_FORMAT, digest):
        return None
    if not isinstance(reason, str) or not isinstance(ranges, list) or not ranges:
        return None
    pairs = [_pair(each) for each in cast("list[object]", ranges)]
    return Choice(tuple(pairs), reason)


def _pair(entry: object) -> tuple[str, int]:
    """Raises ValueError for anything but a name and a number of rows."""
    if isinstance(entry, list):
        name, rows = cast("list[object]", entry)  # ValueError where it is not two
        if isinstance(name, str) and isinstance(rows, int) and rows > 0:
            return name, rows
    raise ValueError("no range")


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, whoever else writes it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _prune(folder: Path) -> None:
    found = list(folder.glob("*.json"))
    if len(found) <= _MOST:
        return
    found.sort(key=lambda path: path.stat().st_mtime)
    for path in found[: len(found) - _MOST]:
        path.unlink(missing_ok=True)

"""The process tree of a cluster, read from /proc."""

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.proc import is_running, status
from tests.waiting import until


def descendants(root: int) -> list[int]:
    """Every process below `root`, parents first."""
    parents = {pid: status(pid)[1] for pid in _all()}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def command(pid: int) -> str:
    """The command line, words separated by spaces; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def part(root: int, pattern: str) -> int:
    """The one process below `root` whose command line matches."""
    (found,) = [pid for pid in descendants(root) if re.search(pattern, command(pid))]
    return found


def training_child(root: int) -> int:
    """The process that trains."""
    words = {pid: command(pid) for pid in descendants(root)}
    (found,) = [
        pid for pid, text in words.items() if "trainer.child" in text and "--check" not in text
    ]
    return found


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)


def assert_all_end(pids: Sequence[int]) -> None:
    """Every one of `pids` ends soon."""

    async def are_gone() -> bool:
        return not any(is_running(pid) for pid in pids)

    asyncio.run(until(are_gone))
    assert [command(pid) for pid in pids if is_running(pid)] == []


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]

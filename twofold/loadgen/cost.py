"""Processor time: of this process, and of a server on the same machine."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from twofold.errors import NotFound

_PROC = Path("/proc")
#: Places behind the name in /proc/<pid>/stat: the parent, and four times in clock ticks (utime,
#: stime, and cutime, cstime of children that ended and were waited for). Source: proc(5).
_PARENT, _TIMES = 1, slice(11, 15)
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds so far, or between two times."""

    wall_s: float
    own_s: float
    """Processor time of this process."""
    waited_s: float
    """Time that this process could have run and had no core; 0 where the kernel does not count."""
    server_s: float | None
    """Processor time of the server and its children; None where nobody asked."""

    def since(self, before: "Used") -> "Used":
        """The difference."""
        is_known = self.server_s is not None and before.server_s is not None
        return Used(
            self.wall_s - before.wall_s,
            self.own_s - before.own_s,
            self.waited_s - before.waited_s,
            (self.server_s or 0) - (before.server_s or 0) if is_known else None,
        )


Meter = Callable[[], Used]


def meter(server: int | None) -> Meter:
    """What reads the times of this process, and of the process `server` where one is given.

    The server's children are those that it has now: looking for others would take milliseconds
    while requests are due. Raises NotFound where there is no such process.
    """
    processes = [] if server is None else family(server)

    def read() -> Used:
        server_s = cpu_s(processes) if processes else None
        return Used(time.monotonic(), time.process_time(), _waited_s(), server_s)

    return read


def _waited_s() -> float:
    """Source: run_delay of /proc/<pid>/schedstat, Documentation/scheduler/sched-stats.rst."""
    try:
        return int((_PROC / "thread-self" / "schedstat").read_text().split()[1]) * _NS
    except (OSError, ValueError, IndexError):
        return 0.0


def family(root: int, proc: Path = _PROC) -> list[int]:
    """A process, its children and theirs; raises NotFound where there is no such process."""
    parents = {process: int(fields[_PARENT]) for process, fields in _stats(proc)}
    if root not in parents:
        raise NotFound(
            f"there is no process {root} on this machine; name the server's, or leave it out",
            resource=f"processes/{root}",
        )
    found = [root]
    for process in found:  # it grows meanwhile
        found += [child for child, parent in parents.items() if parent == process]
    return found


def cpu_s(processes: Sequence[int], proc: Path = _PROC) -> float | None:
    """Processor time of a process, the first, and its children, those that ended included.

    None where the first has ended: nobody knows its time any more.
    """
    ticks = 0
    for place, process in enumerate(processes):
        try:
            fields = _fields(proc / str(process))
        except OSError:
            if place == 0:
                return None
            continue  # its time is its parent's now
        ticks += sum(map(int, fields[_TIMES]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stats(proc: Path) -> Iterator[tuple[int, list[str]]]:
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it ended meanwhile
                yield int(entry.name), _fields(entry)


def _fields(entry: Path) -> list[str]:
    # The name stands in brackets, and may hold brackets and spaces itself.
    text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()

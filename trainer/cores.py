"""The processor's cores: how many this process may use, and how long its threads waited for one."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Of control groups, version 2 and 1; a container sees its own.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_TASKS = Path("/proc/self/task")
_NS = 1e-9


def usable_count() -> int:
    """Cores of this process's affinity, within its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(allowed, _quota())))


def waited_s() -> float | None:
    """Seconds that the threads of this process, all together, could have run and had no core.

    Counted from their beginning; None where the kernel does not count. Source: run_delay of
    /proc/<pid>/task/<tid>/schedstat, Documentation/scheduler/sched-stats.rst of Linux.
    """
    try:
        return sum(_run_delays()) * _NS
    except (OSError, ValueError, IndexError):
        return None


def _run_delays() -> Iterator[int]:
    for task in _TASKS.iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            yield int((task / "schedstat").read_text().split()[1])


def _quota() -> float:
    """Cores that the control group may use at once; infinite without a limit."""
    try:
        quota, period = _QUOTA.read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        quota, period = int(_QUOTA_1.read_text()), int(_PERIOD_1.read_text())
        return quota / period if quota > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf

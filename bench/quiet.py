"""Whether a machine is quiet enough to measure on."""

import os
import time
from pathlib import Path

#: How long others are looked at, and how much of a core they may have on a quiet machine.
_LOOK_S, _QUIET = 2.0, 0.2


def others_at_work() -> str:
    """What to say of the cores that others have now."""
    busy = busy_cores(_LOOK_S)
    remark = " (BUSY: repeat this on a quiet machine)" if busy > _QUIET else ""
    return f"others had {busy:.1f} cores at the beginning{remark}"


def busy_cores(seconds: float) -> float:
    """Cores at work while this process sleeps (proc(5), /proc/stat: jiffies of all cores)."""
    before = _busy_jiffies()
    time.sleep(seconds)
    return (_busy_jiffies() - before) / os.sysconf("SC_CLK_TCK") / seconds


def _busy_jiffies() -> int:
    user, nice, system, _, _, *rest = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, *rest)))

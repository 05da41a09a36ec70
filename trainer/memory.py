"""How much memory this process may use, and how it says that there is none. No torch."""

import resource
from pathlib import Path

_KIB = 1024
#: How torch says that the CPU's memory is at its end: by a plain RuntimeError of this allocator.
_CPU_ALLOCATOR = "DefaultCPUAllocator"


def is_exhausted(error: Exception) -> bool:
    """Whether the error says that the CPU's memory is at its end; torch has a class for a GPU's."""
    return isinstance(error, MemoryError) or _CPU_ALLOCATOR in str(error)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def available_bytes(root: Path = Path("/")) -> int:
    """Free memory in bytes, of the machine or of the container, whichever is less.

    Where neither can be read (not Linux) 4 GiB are taken to be there.
    """
    found = [_machine(root / "proc/meminfo"), _container(root / "sys/fs/cgroup")]
    return min((amount for amount in found if amount is not None), default=4 << 30)


def _machine(path: Path) -> int | None:
    for line in _read(path).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * _KIB
    return None


def _container(folder: Path) -> int | None:
    limit, used = _read(folder / "memory.max").strip(), _read(folder / "memory.current").strip()
    if not limit.isdecimal() or not used.isdecimal():
        return None  # "max", or no cgroup of version 2
    return max(0, int(limit) - int(used))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""

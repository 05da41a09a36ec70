"""How much memory this process may use: the machine's free memory, or its cgroup's. No torch."""

from pathlib import Path

_KIB = 1024


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

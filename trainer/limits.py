"""Limits of the process that checks uploads: a hostile file costs it memory and time, no more.

Set by the process itself. Not for training: CUDA reserves far more addresses than it uses.
"""

import resource
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from twofold.errors import InvalidData

#: Address space beside the table: the interpreter, numpy's and Arrow's libraries and their arenas.
BASE_BYTES = 2 << 30
#: Addresses per byte of the file: a digit and its comma become an eight-byte number, and a column
#: is held once as read and once as converted.
BYTES_PER_BYTE = 24
#: Seconds of processor time: a base, and a slow reader's megabytes per second.
BASE_CPU_S = 20
BYTES_PER_CPU_S = 2 << 20
#: Threads that read one file. Each takes addresses, for its stack and for what it allocates, so
#: that one for each of many cores would use up the base.
THREADS = 2
#: Addresses and seconds of processor time to measure one graph: it allocates no tensors.
GRAPH_BYTES = 1 << 30
GRAPH_CPU_S = 20
#: However many files one process checks, it ends here.
HARD_CPU_S = 3_600


class OutOfTime(InvalidData):
    """Reading the file takes more processor time than its size permits."""


def memory_limit(size_bytes: int) -> int:
    """Address space, in bytes, for checking a file of this size."""
    return BASE_BYTES + BYTES_PER_BYTE * size_bytes


def cpu_limit_s(size_bytes: int) -> int:
    """Seconds of processor time for checking a file of this size."""
    return BASE_CPU_S + size_bytes // BYTES_PER_CPU_S


def harden() -> None:
    """For the whole process: no core file, no file written, an end to its processor time."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _lower(resource.RLIMIT_CPU, HARD_CPU_S)


@contextmanager
def checking(size_bytes: int) -> Generator[None]:
    """Memory and time for one file. Must run on the main thread, which gets the signal.

    Within, an allocation beyond the limit raises MemoryError, and time beyond it OutOfTime. Code
    that never returns to the interpreter is ended by the supervisor's clock, or by HARD_CPU_S.
    """
    with _limited(memory_limit(size_bytes), cpu_limit_s(size_bytes)):
        yield


@contextmanager
def measuring() -> Generator[None]:
    """The same for one graph, beside the libraries that are loaded already."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    with _limited(pages * resource.getpagesize() + GRAPH_BYTES, GRAPH_CPU_S):
        yield


@contextmanager
def _limited(memory_bytes: int, cpu_s: int) -> Generator[None]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used_s = int(usage.ru_utime + usage.ru_stime) + 1
    before = signal.signal(signal.SIGXCPU, _refuse)
    memory = _soften(resource.RLIMIT_AS, memory_bytes)
    cpu = _soften(resource.RLIMIT_CPU, used_s + cpu_s)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, cpu)
        resource.setrlimit(resource.RLIMIT_AS, memory)
        signal.signal(signal.SIGXCPU, before)


def _refuse(number: int, frame: object) -> None:
    del number, frame
    raise OutOfTime("the file takes more time to read than its size permits; is it damaged?")


def _soften(kind: int, limit: int) -> tuple[int, int]:
    """Sets the soft limit, within the hard one; returns both as they were."""
    before = resource.getrlimit(kind)
    hard = before[1]
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (soft, hard))
    return before


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))

"""The workers: started, killed with all they started, and started again as a supervisor does."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

#: A supervisor's pause before it starts a worker again.
RESTART_S = 1.0
_END_LIMIT_S = 10.0
_POLL_S = 0.05
#: In the environment of everything that a run starts, to find what has lost its parent.
RUN_VARIABLE = "TOY_RUN"


class Fleet:
    """Workers 0 to count - 1. Belongs to one thread, which calls `tend` again and again."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        environment: Callable[[int], Mapping[str, str]],
        folder: Path,
        count: int,
    ) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes] | None] = [None] * count
        self._gone_s: list[float | None] = [None] * count
        self._killed: set[int] = set()
        #: Workers that ended by themselves, not by a kill.
        self.exits = 0

    def __enter__(self) -> Self:
        self._folder.mkdir()
        for slot in range(len(self._workers)):
            self._start(slot)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for slot, worker in enumerate(self._workers):
            # Only of those that run: the number of one that has ended may be another process' now.
            _kill(self.members(slot))
            if worker is not None:
                worker.wait(_END_LIMIT_S)

    def tend(self) -> None:
        """Starts what has ended a while ago."""
        for slot, worker in enumerate(self._workers):
            if worker is None or worker.poll() is None:
                continue
            now_s = time.monotonic()
            gone_s = self._gone_s[slot]
            if gone_s is None:
                self._gone_s[slot] = now_s
                self.exits += worker.pid not in self._killed
            elif now_s - gone_s >= RESTART_S:
                self._start(slot)

    def kill(self, slot: int) -> frozenset[int]:
        """SIGKILL to a worker and to all its descendants; who they were."""
        pids = self.members(slot)
        self._killed.update(pids)
        _kill(pids)
        return pids

    def members(self, slot: int) -> frozenset[int]:
        """A worker and all its descendants; empty while it does not run."""
        worker = self._workers[slot]
        if worker is None or worker.poll() is not None:
            return frozenset()
        return family(worker.pid)

    def _start(self, slot: int) -> None:
        self._gone_s[slot] = None
        with (self._folder / f"worker-{slot}.log").open("ab") as log:
            self._workers[slot] = subprocess.Popen(  # noqa: S603 - our own arguments
                list(self._command(slot)),
                cwd=self._folder,
                env=dict(self._environment(slot)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def family(pid: int) -> frozenset[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            _, parent = _status(int(entry.name))
            children.setdefault(parent, []).append(int(entry.name))
    found, unseen = {pid}, [pid]
    while unseen:
        fresh = children.get(unseen.pop(), [])
        found.update(fresh)
        unseen.extend(fresh)
    return frozenset(found)


def strays(token: str) -> frozenset[int]:
    """Processes with the run's token in their environment."""
    needle = f"{RUN_VARIABLE}={token}\0".encode()
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if needle in (entry / "environ").read_bytes() + b"\0":
                    found.add(int(entry.name))
    return frozenset(found)


def end_strays(token: str) -> int:
    """Kills what a run left behind and waits for its end; how many they were."""
    left = strays(token)
    _kill(left)
    deadline_s = time.monotonic() + _END_LIMIT_S
    while strays(token) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return len(left)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped does not."""
    return _status(pid)[0] not in {"", "Z"}


def kill_one(pid: int) -> frozenset[int]:
    """SIGKILL to one process."""
    _kill((pid,))
    return frozenset((pid,))


def _kill(pids: Sequence[int] | frozenset[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _status(pid: int) -> tuple[str, int]:
    """A process' state and its parent, as in proc(5); ("", 0) of one that has ended."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, parent = status.rpartition(")")[2].split()[:2]
        return state, int(parent)
    return "", 0

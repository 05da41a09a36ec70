"""The site of tier P: a Valkey server, an API, two workers with torch, an inferer, one store.

One thread owns it: it starts and ends processes, and `mend` is what looks after them.
"""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import cast

from redis.exceptions import ResponseError

from tests import proc
from tests.chaos.full.parts import Part
from tests.chaos.full.plan import WORKERS, Fault
from tests.e2e import processes
from tests.valkey import Valkey
from twofold.client import Client, Connection, RetryPolicy
from twofold.cluster import up
from twofold.cluster.ports import Reserved
from twofold.errors import TwofoldError
from twofold.principal import LOCAL
from twofold.queue import schema

#: One attempt may be lost to a machine that is busy otherwise; nothing depends on it.
LEASE_S = 1.0
_READY_LIMIT_S = 90.0
_POLL_S = 0.05
#: Between two looks after stopped processes.
_LOOK_S = 0.2
_ENVIRONMENT = {
    "TWOFOLD_LEASE_S": str(LEASE_S),
    "TWOFOLD_BEAT_S": "0.25",
    "TWOFOLD_RETRY_BACKOFF_S": "0.3",
    "TWOFOLD_DRAIN_S": "3",
    "TWOFOLD_THREADS": "1",
    "TWOFOLD_NICE": "0",
    "TWOFOLD_POLL_INTERVAL_S": "0.5",
    "TWOFOLD_METRICS_ADDRESS": "127.0.0.1:0",
    "TWOFOLD_LOG_STYLE": "json",
    "TWOFOLD_INSECURE": "",
    "OMP_NUM_THREADS": "1",
}


class Site:
    """Started by `start`; `close` ends every process and removes every file."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="twofold-chaos-"))
        self.store = self.folder / "store"
        self.valkey = Valkey(self.folder)
        self._ports = Reserved()
        self.train, self.infer = self._ports.free(), self._ports.free()
        environment = os.environ | _ENVIRONMENT | self._addresses()
        environment |= up.checkout_path(environment)
        self.parts: dict[str, Part] = {
            name: Part(name, command, environment, self.folder / f"{name}.log")
            for name, command in self._commands().items()
        }
        #: Since when a process has been seen stopped.
        self._stopped_s: dict[int, float] = {}
        self._looked_s = 0.0

    def _addresses(self) -> dict[str, str]:
        return {
            "TMPDIR": str(self.folder),
            "TWOFOLD_STORE": str(self.store),
            "TWOFOLD_REDIS_URL": self.valkey.url,
            "TWOFOLD_TRAIN_ADDRESS": self.train,
            "TWOFOLD_INFER_ADDRESS": self.infer,
        }

    @staticmethod
    def _commands() -> dict[str, list[str]]:
        workers = {name: ["trainer", "--role", "worker"] for name in WORKERS}
        return {"api": ["trainer", "--role", "api"], **workers, "inferer": ["inferer"]}

    def connect(self, attempts: int = 4) -> Client:
        """A client; with few attempts it meets the faults itself."""
        retry = RetryPolicy(attempts=attempts)
        return Client(connection=Connection(train=self.train, infer=self.infer, retry=retry))

    def start(self) -> None:
        """Starts all; returns once API and inferer answer. Raises TimeoutError."""
        self.valkey.start()
        for part in self.parts.values():
            part.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Returns once API and inferer answer and both workers wait for jobs; TimeoutError."""
        deadline_s = time.monotonic() + _READY_LIMIT_S
        with self.connect(attempts=1) as client:
            while not (self._answers(client) and self._workers_wait()):
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"the site is not ready:\n{self.tail()}")
                self.mend(0.0)
                time.sleep(_POLL_S)

    @staticmethod
    def _answers(client: Client) -> bool:
        try:
            client.jobs.list(limit=1, timeout_s=1)
            return client.inference.is_live(timeout_s=1)
        except TwofoldError:
            return False

    def _workers_wait(self) -> bool:
        """Whether each worker has asked for jobs: its child has torch by then."""
        try:
            reply = self.ask("XINFO", "CONSUMERS", schema.queue(LOCAL.tenant), schema.GROUP)
        except ResponseError:
            return False  # nobody has asked yet
        # A consumer's name is the worker's: host, process id and a random end, "-" between them.
        words = {word for one in cast("list[list[bytes]]", reply) for word in one[1].split(b"-")}
        return all(str(self.parts[name].pid).encode() in words for name in WORKERS)

    def mend(self, stop_s: float) -> None:
        """Starts again what died; lets go on what has been stopped for `stop_s`."""
        if not self.valkey.is_running():
            self.valkey.start()
        for part in self.parts.values():
            part.start()
        if time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            self._wake(stop_s)

    def _wake(self, stop_s: float) -> None:
        own = [part.pid for part in self.parts.values() if part.is_running()]
        stopped = stopped_below([*own, self.valkey.pid])
        self._stopped_s = {pid: self._stopped_s.get(pid, self._looked_s) for pid in stopped}
        for pid, since_s in self._stopped_s.items():
            if self._looked_s - since_s >= stop_s:
                _signal(pid, signal.SIGCONT)

    def ask(self, *command: str) -> object:
        """The server's reply; a stopped server goes on, for nobody else would let it."""
        _signal(self.valkey.pid, signal.SIGCONT)
        return self.valkey.command(*command)

    def break_by(self, fault: Fault) -> None:
        """Does what a fault of a plan says."""
        match fault.kind:
            case "kill":
                self._kill(fault.which)
            case "stop":
                pid = self.valkey.pid if fault.which == "redis" else self.parts[fault.which].pid
                _signal(pid, signal.SIGSTOP)
            case "term":
                self.parts[fault.which].send(signal.SIGTERM)
            case "kill child" | "stop child":
                number = signal.SIGKILL if fault.kind == "kill child" else signal.SIGSTOP
                for pid in processes.descendants(self.parts[fault.which].pid):
                    _signal(pid, number)
            case "wipe":
                self.ask("FLUSHALL")
            case "arm":
                self.parts[fault.which].end()
                self.parts[fault.which].start(fault.armed)

    def _kill(self, which: str) -> None:
        if which == "redis":
            self.valkey.kill()
        else:
            self.parts[which].end()

    def disarm(self) -> list[str]:
        """Kills what was started with an armed point, fired or not; their names."""
        armed = [part for part in self.parts.values() if part.is_armed]
        for part in armed:
            part.end()
            part.start()
        return [part.name for part in armed]

    def close(self) -> None:
        """Ends every process and removes every file."""
        for part in self.parts.values():
            part.end()
        self.valkey.kill()
        for pid in _started_in(self.folder):
            _signal(pid, signal.SIGKILL)
        self._ports.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self, lines: int = 15) -> str:
        """The end of every log, for a person."""
        logs = sorted(self.folder.glob("*.log"))
        ends = [(log, log.read_text("utf-8", "backslashreplace").splitlines()) for log in logs]
        return "\n".join(f"== {log.name}\n" + "\n".join(text[-lines:]) for log, text in ends)


def stopped_below(roots: list[int]) -> list[int]:
    """Stopped processes among these and all that they started; one look at each process."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    seen = {pid: proc.status(pid) for pid in pids}
    found = list(roots)
    for root in found:
        found += [pid for pid, (_, parent) in seen.items() if parent == root]
    return [pid for pid in found if seen.get(pid, ("", 0))[0] == "T"]


def _started_in(folder: Path) -> list[int]:
    """Processes that were told to use this folder: orphans that were stopped as they started."""
    marked = f"TMPDIR={folder}".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ProcessLookupError):
            continue  # it has ended, or is another user's
        if marked in words:
            found.append(int(entry.name))
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended meanwhile

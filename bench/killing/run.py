"""One queue under one plan: warm up, submit, kill, wait until it is quiet, look."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from bench.killing import fleet
from bench.killing.figures import Figures, Kill, Note, figures, open_runs
from bench.killing.fleet import Fleet
from bench.killing.schedule import Fault, Plan
from bench.killing.server import Server
from bench.killing.systems import ROOT, System
from bench.peers import toy

_POLL_S = 0.05
#: Between two looks at the queue's keys while it is to become quiet, and how many must agree.
_LOOK_S = 0.5
_LOOKS = 6
_WARM_LIMIT_S = 120.0
_CLIENT_LIMIT_S = 120.0
#: Longest wait after the last fault and the last submission: twice the slowest recovery.
SETTLE_LIMIT_S = 150.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run showed."""

    figures: Figures
    #: Kills of workers or job processes, and of Redis, that were done.
    kill_count: int
    outage_count: int
    #: Workers that ended by themselves.
    exit_count: int
    #: Seconds from the first submission to the last effect; None: the queue never became quiet.
    all_done_s: float | None
    #: Processes that had lost their parents.
    stray_count: int


@dataclass(slots=True)
class Run:
    """The state of one run. Belongs to one thread."""

    system: System
    plan: Plan
    folder: Path
    server: Server
    job_s: float = 2.0
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    kills: list[Kill] = field(default_factory=list[Kill])
    outage_count: int = 0
    #: When the server is to be started again; None: it runs.
    back_s: float | None = None

    @property
    def log(self) -> Path:
        """The effect log."""
        return self.folder / "effects.jsonl"

    def environment(self, slot: int = -1) -> dict[str, str]:
        """What everything in this run is told."""
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **self.system.environment,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TWOFOLD_STORE": str(self.folder / "store"),
            "TWOFOLD_REDIS_URL": self.server.url,
            toy.URL_VARIABLE: self.server.url,
            toy.LOG_VARIABLE: str(self.log),
            toy.SLOT_VARIABLE: str(slot),
            toy.SECONDS_VARIABLE: str(self.job_s),
            fleet.RUN_VARIABLE: self.token,
        }

    def worker_command(self, slot: int) -> list[str]:
        """The argument list of a worker."""
        filled = {
            "{slot}": str(slot),
            "{log}": str(self.log),
            "{seconds}": str(self.job_s),
            "{url}": self.server.url,
        }
        words = list(self.system.worker)
        for name, value in filled.items():
            words = [word.replace(name, value) for word in words]
        return words

    def start_client(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts the queue's client."""
        with (self.folder / "client.log").open("ab") as errors:
            return subprocess.Popen(  # noqa: S603 - our own arguments
                [str(self.system.python), "-m", self.system.client, *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def ask_client(self, *arguments: str) -> object:
        """What the queue's client answers, decoded."""
        with self.start_client(*arguments) as client:
            answer, _ = client.communicate(timeout=_CLIENT_LIMIT_S)
        return cast("object", json.loads(answer))

    def notes(self, prefix: str) -> list[Note]:
        """The effect log as far as it is about such jobs."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="ascii").splitlines()
        found = (Note(**cast("dict[str, object]", json.loads(line))) for line in lines)  # pyright: ignore[reportArgumentType] - fields as toy.note writes them
        return [note for note in found if note.job.startswith(f"{prefix}-")]


def run(system: System, plan: Plan, folder: Path, job_s: float = 2.0) -> Outcome:
    """Runs the plan in `folder`, which is made, and ends all it started."""
    folder.mkdir(parents=True)
    with Server(folder / "redis") as server:
        state = Run(system, plan, folder, server, job_s)
        try:
            with _fleet(state) as workers:
                _warm_up(state, workers)
                begun_s = _break(state, workers)
                is_quiet = _settle(state, workers)
            found = _look(state)
        finally:
            stray_count = fleet.end_strays(state.token)
        all_done_s = _last_end_s(state.notes("job")) - begun_s if is_quiet else None
    return Outcome(
        found, len(state.kills), state.outage_count, workers.exits, all_done_s, stray_count
    )


def _fleet(state: Run) -> Fleet:
    return Fleet(
        state.worker_command,
        state.environment,
        state.folder / "workers",
        state.plan.slot_count,
    )


def _warm_up(state: Run, workers: Fleet) -> None:
    """Returns once every worker has run a job and nothing is left."""
    deadline_s = time.monotonic() + _WARM_LIMIT_S
    count = 2 * state.plan.slot_count
    while len({n.slot for n in state.notes("warm") if n.what == "begin"}) < state.plan.slot_count:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the workers of {state.system.name} did not become warm")
        with state.start_client("submit", "warm", str(count), "0"):
            pass
        _wait_until_empty(state, workers, deadline_s)
        count *= 2
    workers.exits = 0


def _wait_until_empty(state: Run, workers: Fleet, deadline_s: float) -> None:
    while state.system.count_left(state.server) != 0 and time.monotonic() < deadline_s:
        workers.tend()
        time.sleep(_LOOK_S)


def _break(state: Run, workers: Fleet) -> float:
    """Submits, and kills what the plan says when it says it; when the first job was submitted."""
    plan = state.plan
    faults = list(plan.faults)
    arguments = ("submit", "job", str(plan.job_count), str(plan.submit_s))
    with _ended(state.start_client(*arguments)) as client:
        begun_s = _first_note_s(state)
        while faults or client.poll() is None or state.back_s is not None:
            now_s = time.monotonic()
            if now_s > begun_s + plan.submit_s + _CLIENT_LIMIT_S:
                client.kill()
            while faults and now_s >= begun_s + faults[0].at_s:
                _inject(state, workers, faults.pop(0))
            if state.back_s is not None and now_s >= state.back_s:
                state.server.start()
                state.back_s = None
            workers.tend()
            time.sleep(_POLL_S)
    return begun_s


def _first_note_s(state: Run) -> float:
    """When the client, which takes a while to start, submitted its first job."""
    deadline_s = time.monotonic() + _CLIENT_LIMIT_S
    while not (notes := state.notes("job")):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the client of {state.system.name} submits nothing")
        time.sleep(_POLL_S)
    return notes[0].at_s


@contextmanager
def _ended(client: subprocess.Popen[bytes]) -> Generator[subprocess.Popen[bytes]]:
    """Leaves no client behind, whatever goes wrong."""
    with client:
        try:
            yield client
        finally:
            client.kill()


def _inject(state: Run, workers: Fleet, fault: Fault) -> None:
    if fault.kind == "redis":
        state.server.kill()
        state.outage_count += 1
        state.back_s = time.monotonic() + fault.away_s
        return
    pids = (
        workers.kill(fault.slot)
        if fault.kind == "worker"
        else _kill_job(state, workers, fault.slot)
    )
    if pids:
        state.kills.append(Kill(time.monotonic(), pids))


def _kill_job(state: Run, workers: Fleet, slot: int) -> frozenset[int]:
    """Kills the process that runs this worker's job, if there is one."""
    # Only its own processes: a number in the log may be another process's by now.
    at_work = {note.pid for note in _open(state)} & workers.members(slot)
    return fleet.kill_one(min(at_work)) if at_work else frozenset()


def _settle(state: Run, workers: Fleet) -> bool:
    """Waits until the queue has nothing left and nothing runs; whether that came in time."""
    deadline_s = time.monotonic() + SETTLE_LIMIT_S
    looks = 0
    while looks < _LOOKS and time.monotonic() < deadline_s:
        workers.tend()
        left = state.system.count_left(state.server)
        running = any(fleet.is_alive(n.pid) for n in _open(state) if _may_end(n, state.job_s))
        looks = looks + 1 if left == 0 and not running else 0
        time.sleep(_LOOK_S)
    return looks >= _LOOKS


def _open(state: Run) -> Iterable[Note]:
    return open_runs(state.notes("job")).values()


def _may_end(note: Note, job_s: float) -> bool:
    """Whether a run can still be on: a process that outlives a run was told to stop it."""
    return time.monotonic() - note.at_s < job_s * 2 + 1


def _last_end_s(notes: Sequence[Note]) -> float:
    return max((note.at_s for note in notes if note.what == "end"), default=0.0)


def _look(state: Run) -> Figures:
    notes = state.notes("job")
    jobs = sorted({note.job for note in notes})
    failed = cast("list[str]", state.ask_client("failed", *jobs))
    results: dict[str, int] | None = None
    if state.system.has_results:
        results = cast("dict[str, int]", state.ask_client("versions"))
        results = {job: count for job, count in results.items() if job.startswith("job-")}
    return figures(notes, state.kills, failed, results)

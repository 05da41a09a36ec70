"""Reloads of bench.serving: versions that replace each other under a load that reads every answer.

All versions are published before; each then becomes visible in turn, and the next one follows once
it answers. The inferer finds them by looking at the store.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import serving_model as model
from bench.serving_calls import first_answer
from bench.serving_report import Goal, goals_table
from bench.serving_servers import Running, Site, free_port, inferer_start, running
from bench.warm_process import ROOT
from twofold import keys
from twofold.principal import LOCAL
from twofold.store import LocalStore
from twofold.tensors import Array

_CONNECTIONS, _IN_FLIGHT = 3, 16
_STEADY_S, _SETTLE_S, _GIVE_UP_S = 8.0, 2.0, 30.0
#: So many versions stay visible behind the newest, as where a collector is at work.
_KEPT = 10
#: Resident memory is compared with what it was then.
_FIRST = 100
_POLL_S = "0.05"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run came to."""

    reload_count: int
    pause_s: float
    #: Answers, and of which: (began, took, version), in nanoseconds.
    answers: Array
    #: Monotonic nanoseconds: steady from the first to the second, reloads until the third.
    marks: tuple[int, int, int]
    failed_count: int
    mixed_count: int
    #: Failures and mixed answers in words.
    problems: list[str]
    #: From a version's becoming visible to its first answer.
    reload_s: list[float]
    #: By reloads so far.
    resident: Mapping[int, int]


class Versions:
    """Published versions, of which only some are in sight."""

    def __init__(self, root: Path, count: int) -> None:
        self.store = LocalStore(root / "store")
        self._aside = root / "aside"
        self._aside.mkdir()
        spec, template = model.spec_and_net()
        for number in range(1, count + 1):
            if model.put(self.store, (spec, model.constant(number, template))) != number:
                raise SystemExit(f"version {number} has another number")
        for number in range(2, count + 1):
            self._folder(number).rename(self._aside / str(number))

    def _folder(self, number: int) -> Path:
        return self.store.path(keys.version(LOCAL.tenant, model.MODEL, number))

    def show(self, number: int) -> None:
        """Makes a version visible, and takes an old one away."""
        (self._aside / str(number)).rename(self._folder(number))
        if number > _KEPT and (old := self._folder(number - _KEPT)).exists():
            old.rename(self._aside / f"old-{number - _KEPT}")


class Client:
    """The process that loads and reads."""

    def __init__(self, process: "subprocess.Popen[str]", file: Path) -> None:
        self._process = process
        self._file = file
        self._lines: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(int(line))

    def wait_for(self, number: int) -> None:
        """Returns once a version has answered; raises SystemExit where it does not."""
        try:
            while self._lines.get(timeout=_GIVE_UP_S) < number:
                pass
        except queue.Empty:
            raise SystemExit(f"version {number} does not answer; see above") from None

    def result(self) -> tuple[Array, Mapping[str, list[str] | int]]:
        """Ends it; answers, and what went wrong."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.wait():
            raise SystemExit("the load has failed; its message is above")
        with np.load(self._file) as stored:
            answers: Array = stored["answers"]
        return answers, json.loads(self._file.with_suffix(".json").read_text())


@contextmanager
def _client(address: str, folder: Path) -> Generator[Client]:
    file = folder / "answers.npz"
    command = [sys.executable, "-m", "bench.serving_client", address]
    command += [str(_CONNECTIONS), str(_IN_FLIGHT), str(file)]
    with subprocess.Popen(  # noqa: S603 - our own
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Client(process, file)
        finally:
            process.kill()


def measure(folder: Path, reload_count: int, pause_s: float) -> Measured:
    """One run, `pause_s` between a version's first answer and the next version.

    Raises SystemExit where a version never answers.
    """
    print(f"publishing {reload_count + 1} versions", flush=True)
    versions = Versions(folder, reload_count + 1)
    site = Site(folder / "inferer", folder / "store", folder, folder)
    start = inferer_start(site, free_port(), "native", TWOFOLD_POLL_INTERVAL_S=_POLL_S)
    with ExitStack() as stack:
        server = stack.enter_context(running("native", site, start))
        first_answer(server, np.full((1, model.OUTPUTS), 1, np.float32))
        client = stack.enter_context(_client(server.address, folder))
        client.wait_for(1)
        time.sleep(_SETTLE_S)
        begin_ns = time.monotonic_ns()
        time.sleep(_STEADY_S)
        steady_ns = time.monotonic_ns()
        reload_s, resident = _reload(versions, (server, client), reload_count, pause_s)
        end_ns = time.monotonic_ns()
        answers, told = client.result()
    words = [*_texts(told["failed"]), *_texts(told["mixed"])]
    counts = (int(str(told["failed_count"])), int(str(told["mixed_count"])))
    marks = (begin_ns, steady_ns, end_ns)
    return Measured(reload_count, pause_s, answers, marks, *counts, words, reload_s, resident)


def _texts(found: list[str] | int) -> list[str]:
    return found if isinstance(found, list) else []


def _reload(
    versions: Versions, pair: tuple[Running, Client], reload_count: int, pause_s: float
) -> tuple[list[float], Mapping[int, int]]:
    server, client = pair
    took_s: list[float] = []
    resident: dict[int, int] = {}
    for done in range(1, reload_count + 1):
        start_s = time.monotonic()
        versions.show(done + 1)
        client.wait_for(done + 1)
        took_s.append(time.monotonic() - start_s)
        if done in (_FIRST, reload_count):
            resident[done] = server.resident_bytes()
        server.check_alive()
        time.sleep(pause_s)
    return took_s, resident


def report(measured: Measured) -> str:
    """The table of the part reloads."""
    steady, during = _latencies_ms(measured)
    p99 = float(np.percentile(during, 99)) / float(np.percentile(steady, 99))
    goals = [
        Goal("failed", [measured.failed_count], 0, is_most=True),
        Goal("mixed", [measured.mixed_count], 0, is_most=True),
        Goal("p99 during reloads, of steady p99", [p99], 2.0, is_most=True),
    ]
    return _text(
        measured,
        f"## {measured.reload_count} reloads under load",
        _latency_lines(measured),
        goals_table(goals),
    )


def memory_report(measured: Measured) -> str:
    """The table of the part memory."""
    first, last = measured.resident.get(_FIRST), measured.resident[measured.reload_count]
    if first is None:
        raise SystemExit(f"--memory-reloads: more than {_FIRST} are needed")
    mib = 1 << 20
    lines = f"Resident: {first / mib:.1f} MiB after {_FIRST}, {last / mib:.1f} MiB after all."
    goals = [
        Goal("failed", [measured.failed_count], 0, is_most=True),
        Goal("mixed", [measured.mixed_count], 0, is_most=True),
        Goal(f"resident memory, of that after {_FIRST}", [last / first], 1.02, is_most=True),
    ]
    title = f"## Memory after {measured.reload_count} reloads under load"
    return _text(measured, title, lines, goals_table(goals))


def _text(measured: Measured, title: str, lines: str, table: str) -> str:
    about = (
        f"{_IN_FLIGHT} requests under way on {_CONNECTIONS} connections, in Python, which reads "
        f"every answer; the inferer looks for versions every {_POLL_S} s; a version follows "
        f"{measured.pause_s:g} s after the one before has answered."
    )
    problems = "".join(f"\n- {problem}" for problem in measured.problems[:10])
    return f"{title}\n\n{about}\n\n{lines}\n\n{table}\n{problems}\n"


def _latencies_ms(measured: Measured) -> tuple[Array, Array]:
    began, took = measured.answers[:, 0], measured.answers[:, 1] / 1e6
    begin_ns, steady_ns, end_ns = measured.marks
    return took[(began >= begin_ns) & (began < steady_ns)], took[
        (began >= steady_ns) & (began < end_ns)
    ]


def _latency_lines(measured: Measured) -> str:
    steady, during = _latencies_ms(measured)
    begin_ns, steady_ns, end_ns = measured.marks
    seconds = ((steady_ns - begin_ns) / 1e9, (end_ns - steady_ns) / 1e9)
    seen = [float(each) * 1e3 for each in np.percentile(measured.reload_s, (50, 99))]
    last = (
        f"{len(measured.answers):,} answers in all; from a version's becoming visible to its "
        f"first answer {seen[0]:.0f} ms, p99 {seen[1]:.0f} ms."
    )
    return "\n".join(
        [
            "| | requests a second | p50 ms | p99 ms | p99.9 ms | longest ms |",
            "| --- | --- | --- | --- | --- | --- |",
            _latency_row("steady", steady, seconds[0]),
            _latency_row("during reloads", during, seconds[1]),
            "",
            last,
        ]
    )


def _latency_row(name: str, latencies_ms: Array, seconds: float) -> str:
    marks = np.percentile(latencies_ms, (50, 99, 99.9, 100))
    cells = " | ".join(f"{float(mark):.2f}" for mark in marks)
    return f"| {name} | {len(latencies_ms) / seconds:,.0f} | {cells} |"

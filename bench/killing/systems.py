"""The queues that are compared: how each is started, asked and set up."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.killing.server import Server
from bench.peers.toy import SILENCE_S
from twofold import __version__
from twofold.queue import schema

ROOT = Path(__file__).parents[2]
_TENANT = "local"


@dataclass(frozen=True, slots=True)
class System:
    """A queue. Commands are argument lists; {slot} and {log} in them are filled in."""

    name: str
    #: Packages whose versions are shown; none: this checkout, which need not be installed.
    packages: tuple[str, ...]
    python: Path
    #: The module with `submit` and `failed`.
    client: str
    worker: tuple[str, ...]
    #: Counting commands whose sum is 0 when the queue has nothing left to do.
    left: tuple[tuple[str, str], ...]
    settings: str
    environment: Mapping[str, str]
    #: Whether the client's `versions` counts results; else each effect is a result.
    has_results: bool = False

    def versions(self) -> str:
        """The versions of its packages."""
        if not self.packages:
            return f"{self.name} {__version__}"
        code = (
            "import sys; from importlib.metadata import version as v; print(*map(v, sys.argv[1:]))"
        )
        done = subprocess.run(  # noqa: S603 - our own arguments
            [str(self.python), "-c", code, *self.packages],
            check=True,
            capture_output=True,
            text=True,
        )
        pairs = zip(self.packages, done.stdout.split(), strict=True)
        return ", ".join(f"{package} {version}" for package, version in pairs)

    def count_left(self, server: Server) -> int | None:
        """How many jobs it has not finished; None while the server is away."""
        return server.count(*self.left)


def _peer(
    name: str,
    packages: Sequence[str],
    worker: Sequence[str],
    left: Sequence[tuple[str, str]],
    settings: str,
) -> System:
    programs = ROOT / f".venv-bench-{name}" / "bin"
    return System(
        name=name,
        packages=tuple(packages),
        python=programs / "python",
        client=f"bench.peers.{name}_app",
        worker=(str(programs / worker[0]), *worker[1:]),
        left=tuple(left),
        settings=settings,
        environment={"dramatiq_queue_prefetch": "1"},
    )


TWOFOLD = System(
    name="twofold",
    packages=(),
    python=Path(sys.executable),
    client="bench.killing.own",
    worker=(sys.executable, "-m", "bench.killing.own", "work", "{log}", "{slot}", "{seconds}"),
    left=(("XLEN", schema.queue(_TENANT)), ("ZCARD", schema.delayed(_TENANT))),
    settings=f"defaults but lease {SILENCE_S} s (30), heartbeat 3 s (5); a job that is killed for "
    "the third time is FAILED",
    environment={
        "TWOFOLD_LEASE_S": str(SILENCE_S),
        "TWOFOLD_BEAT_S": "3",
        "TWOFOLD_METRICS_ADDRESS": "127.0.0.1:0",
        "TWOFOLD_LOG_STYLE": "json",
    },
    has_results=True,
)
RQ = _peer(
    "rq",
    ("rq", "redis"),
    (
        *("rq", "worker", "--url", "{url}", "--maintenance-interval", "2"),
        *("--job-monitoring-interval", "2", "--worker-ttl", "20"),
    ),
    (
        *(("LLEN", "rq:queue:default"), ("LLEN", "rq:queue:default:intermediate")),
        *(("ZCARD", "rq:wip:default"), ("ZCARD", "rq:scheduled:default")),
    ),
    "Retry(max=10), unique job ids, job_timeout 10 s, --maintenance-interval 2 (600), "
    "--job-monitoring-interval 2 (30), --worker-ttl 20 (420); an abandoned job is noticed 60 s "
    "later at the earliest, which cannot be set",
)
CELERY = _peer(
    "celery",
    ("celery", "kombu", "redis"),
    (
        *("celery", "-A", "bench.peers.celery_app", "worker", "--concurrency", "1"),
        *("--hostname", "worker-{slot}@%h", "--loglevel", "INFO"),
    ),
    (("LLEN", "celery"), ("HLEN", "unacked")),
    "acks_late, reject_on_worker_lost, prefetch_multiplier 1, "
    "deduplicate_successful_tasks with results in "
    f"Redis, visibility_timeout {SILENCE_S} s (3600), unacked_restore_interval 1 s (10) and "
    "_throttle 1 (10)",
)
DRAMATIQ = _peer(
    "dramatiq",
    ("dramatiq", "redis"),
    ("dramatiq", "bench.peers.dramatiq_app", "--processes", "1", "--threads", "1"),
    (("HLEN", "dramatiq:default.msgs"), ("HLEN", "dramatiq:default.DQ.msgs")),
    f"heartbeat_timeout {SILENCE_S} s (60), maintenance_chance 10 % of commands (0.1 %), "
    "max_retries 10 (20), queue prefetch 1 (2 per thread)",
)
ARQ = _peer(
    "arq",
    ("arq", "redis"),
    ("arq", "bench.peers.arq_app.WorkerSettings"),
    (("ZCARD", "arq:queue"),),
    f"job ids, retry_jobs, max_tries 10 (5), max_jobs 1 (10), job_timeout {SILENCE_S} s (300), "
    "connection retries; a lost worker's job is free 10 s after its job_timeout",
)
SYSTEMS = {system.name: system for system in (TWOFOLD, RQ, CELERY, DRAMATIQ, ARQ)}

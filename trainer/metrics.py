"""What the trainer counts, and the page that shows it to Prometheus."""

import platform
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    start_http_server,
)

from twofold import __version__
from twofold.config import split_address

#: Seconds; a job lasts from under a second (XOR) to a day.
_JOB_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 86_400)
#: Seconds; an RPC is one durable write (about a millisecond) or an upload (minutes).
_RPC_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
#: How jobs end, and why training processes are replaced.
_STATES = ("succeeded", "failed", "cancelled")
_WHYS = ("died", "tenant", "failure", "spent")


class Metrics:
    """The trainer's figures, in a registry of their own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self.jobs = Counter(
            "twofold_trainer_jobs", "Jobs that this worker ended", ["state"], registry=registry
        )
        self.attempts = Counter(
            "twofold_trainer_attempts", "Attempts that this worker began", registry=registry
        )
        self.evictions = Counter(
            "twofold_trainer_evictions", "Attempts whose process a signal ended", registry=registry
        )
        self.running = Gauge("twofold_trainer_running", "Attempts now running", registry=registry)
        self.training_rows = Counter(
            "twofold_trainer_training_rows",
            "Rows trained on, counted when an attempt has finished training",
            registry=registry,
        )
        self.job_duration = Histogram(
            "twofold_trainer_job_duration_seconds",
            "From claim to the end of an attempt",
            buckets=_JOB_BUCKETS,
            registry=registry,
        )
        self.queue_depth = Gauge(
            "twofold_trainer_queue_depth", "Jobs in the queue", ["kind"], registry=registry
        )
        self._register_machinery()

    def _register_machinery(self) -> None:
        self.rpcs = Counter(
            "twofold_trainer_rpcs", "Answered calls", ["method", "code"], registry=self.registry
        )
        self.rpc_duration = Histogram(
            "twofold_trainer_rpc_duration_seconds",
            "From a call's start to its end",
            ["method", "code"],
            buckets=_RPC_BUCKETS,
            registry=self.registry,
        )
        self.child_restarts = Counter(
            "twofold_trainer_child_restarts",
            "Training processes that were replaced",
            ["why"],
            registry=self.registry,
        )
        self.heartbeat_failures = Counter(
            "twofold_trainer_heartbeat_failures",
            "Heartbeats that the queue did not take",
            registry=self.registry,
        )
        for state in _STATES:  # a rate needs a 0 to begin from
            self.jobs.labels(state)
        for why in _WHYS:
            self.child_restarts.labels(why)
        # Of this process, not of the one that trains; under a name of its own, since the pages of
        # a cluster's parts are shown as one.
        ProcessCollector(namespace="twofold_trainer", registry=self.registry)
        info = Info("twofold_trainer", "The release", registry=self.registry)
        info.info({"version": __version__, "python": platform.python_version()})


@dataclass(frozen=True, slots=True)
class Page:
    """Where the figures are served."""

    address: str


@contextmanager
def serve(metrics: Metrics, address: str) -> Generator[Page]:
    """Serves the figures over HTTP from a thread of its own; raises OSError if it cannot bind."""
    host, port = split_address(address)
    server, thread = start_http_server(port, host, metrics.registry)
    try:
        yield Page(f"{host}:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The Prometheus page: Triton's names where the meaning is the same, ours for the rest.

Nothing is counted here: a scrape reads what the lanes have counted. Labels are names of loaded
versions, so their number is bounded by what is loaded: a version that is unloaded leaves the page.
"""

import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Self

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from inferer.models import Models, Served
from inferer.statistics import Duration, Failure, Histogram, VersionStatistics
from twofold import __version__
from twofold.config import split_address

#: How soon the page's thread notices that it should end.
_POLL_S = 0.1
_LABELS = ("model", "version")

_Value = Callable[[VersionStatistics], float]
_Pick = Callable[[VersionStatistics], Histogram]


def _us(pick: Callable[[VersionStatistics], Duration]) -> _Value:
    return lambda counted: pick(counted).ns / 1000


#: Triton's counters: name, meaning, value.
_TRITON: tuple[tuple[str, str, _Value], ...] = (
    ("nv_inference_request_success", "Answered requests", lambda of: of.success.count),
    ("nv_inference_count", "Rows that ran", lambda of: of.row_count),
    ("nv_inference_exec_count", "Batches that ran", lambda of: of.batch_count),
    (
        "nv_inference_request_duration_us",
        "Time of answered requests",
        _us(lambda of: of.success),
    ),
    ("nv_inference_queue_duration_us", "Time in the queue", _us(lambda of: of.queue)),
    (
        "nv_inference_compute_input_duration_us",
        "Time of preparing inputs",
        _us(lambda of: of.parts.input),
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Time of running the network",
        _us(lambda of: of.parts.infer),
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Time of preparing outputs",
        _us(lambda of: of.parts.output),
    ),
)

#: Triton's words for reasons. Its REJECTED is whatever its scheduler did not run in time or had no
#: room for.
_TRITON_REASONS = {
    "REJECTED": (Failure.QUEUE_FULL, Failure.DEADLINE),
    "CANCELED": (Failure.CANCELLED,),
    "BACKEND": (Failure.INTERNAL,),
}
#: Histograms per version: name, meaning, value.
_HISTOGRAMS: tuple[tuple[str, str, _Pick], ...] = (
    (
        "twofold_inferer_request_seconds",
        "From admission to answer, of answered requests",
        lambda of: of.latency,
    ),
    (
        "twofold_inferer_queue_seconds",
        "From admission to the batch, or to giving up",
        lambda of: of.queued,
    ),
    ("twofold_inferer_compute_seconds", "A batch's run", lambda of: of.computed),
    ("twofold_inferer_batch_rows", "Rows per batch", lambda of: of.batch_rows),
)


class InfererCollector(Collector):
    """Reads the statistics of everything loaded, on the thread that serves the page."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        loaded = list(self._models)
        for name, meaning, value in _TRITON:
            yield _triton(name, meaning, loaded, value)
        yield from _failures(loaded)
        yield from _histograms(loaded)
        yield from _queues(loaded)
        yield from self._versions(loaded)
        yield from self._loads()
        info = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("twofold_inferer", "The release", value=info)

    def _versions(self, loaded: Iterable[Served]) -> Iterator[Metric]:
        info = InfoMetricFamily("twofold_inferer_version", "What is loaded", labels=_LABELS)
        for served in loaded:
            job = served.manifest.lineage.job  # not "job": that one is Prometheus's own
            origin = {"manifest_sha256": served.manifest_sha256, "training_job": job}
            info.add_metric(_labels(served), origin)
        current = GaugeMetricFamily(
            "twofold_inferer_current_version", "The version served by default", labels=("model",)
        )
        for name, number in self._models.defaults().items():
            current.add_metric((name,), number)
        yield from (info, current)

    def _loads(self) -> Iterator[Metric]:
        counted = self._models.load_statistics
        yield CounterMetricFamily(
            "twofold_inferer_loads", "Versions loaded, verified and warm", value=counted.loads
        )
        yield CounterMetricFamily(
            "twofold_inferer_load_failures", "Loads that failed", value=counted.failures
        )
        for name, meaning, value in (
            ("refused_versions", "Versions refused: damaged, wrong or too large", counted.refusals),
            ("evictions", "Versions unloaded to make room for others", counted.evictions),
            ("thrashes", "Versions loaded again soon after an eviction", counted.thrashes),
            ("no_room", "Times that a version found no room", counted.full),
        ):
            yield CounterMetricFamily(f"twofold_inferer_{name}", meaning, value=value)
        for name, meaning, size_bytes in (
            ("memory_bytes", "What the loaded versions take", self._models.used_bytes),
            ("memory_budget_bytes", "What they may take; 0: no limit", self._models.budget_bytes),
        ):
            yield GaugeMetricFamily(f"twofold_inferer_{name}", meaning, value=size_bytes)
        duration = HistogramMetricFamily(
            "twofold_inferer_load_seconds", "From reading the manifest to ready or refused"
        )
        duration.add_metric((), counted.duration.cumulative(), counted.duration.sum)
        yield duration


def _triton(name: str, meaning: str, loaded: Iterable[Served], value: _Value) -> Metric:
    """A counter under exactly this name: the client library would append "_total" to others."""
    metric = Metric(name, meaning, "unknown")
    for served in loaded:
        labels = {"model": served.model, "version": str(served.number)}
        metric.add_sample(name, labels, value(served.lane.statistics))
    return metric


def _failures(loaded: Iterable[Served]) -> Iterator[Metric]:
    """By reason, in Triton's words and in ours, which are finer."""
    triton = Metric("nv_inference_request_failure", "Failed requests", "unknown")
    ours = CounterMetricFamily(
        "twofold_inferer_failures", "Requests without an answer", labels=(*_LABELS, "reason")
    )
    for served in loaded:
        labels, counted = _labels(served), served.lane.statistics.failures
        for word, reasons in _TRITON_REASONS.items():
            told = dict(zip(_LABELS, labels, strict=True)) | {"reason": word}
            triton.add_sample(triton.name, told, sum(counted[reason] for reason in reasons))
        for reason, count in counted.items():
            ours.add_metric((*labels, reason), count)
    yield from (triton, ours)


def _histograms(loaded: Iterable[Served]) -> Iterator[Metric]:
    for name, meaning, pick in _HISTOGRAMS:
        family = HistogramMetricFamily(name, meaning, labels=_LABELS)
        for served in loaded:
            found = pick(served.lane.statistics)
            family.add_metric(_labels(served), found.cumulative(), found.sum)
        yield family


def _queues(loaded: Iterable[Served]) -> Iterator[Metric]:
    rows = GaugeMetricFamily("twofold_inferer_queue_rows", "Rows that wait now", labels=_LABELS)
    pending = GaugeMetricFamily(
        "nv_inference_pending_request_count", "Requests that wait now", labels=_LABELS
    )
    for served in loaded:
        rows.add_metric(_labels(served), served.lane.queue_rows)
        pending.add_metric(_labels(served), served.lane.queue_requests)
    yield from (rows, pending)


def _labels(served: Served) -> tuple[str, str]:
    return served.model, str(served.number)


class _Server(ThreadingHTTPServer):
    """Holds what its handlers show."""

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry) -> None:
        super().__init__(address, _Handler)
        self.registry = registry

    def server_bind(self) -> None:
        """Binds without asking the name service who we are: that could take seconds."""
        TCPServer.server_bind(self)
        self.server_name = ""
        self.server_port = int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    #: Seconds that a silent caller may hold a thread.
    timeout = 5
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] - _Server makes these

    def do_GET(self) -> None:
        """The page, at /metrics and nowhere else."""
        is_page = self.path.partition("?")[0] == "/metrics"
        page = generate_latest(self.server.registry) if is_page else b"see /metrics"
        self.send_response(HTTPStatus.OK if is_page else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST if is_page else "text/plain")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Nothing: a scrape is no event worth a line."""


class MetricsPage:
    """The page's HTTP server, on threads of its own while the context is open."""

    def __init__(self, address: str, models: Models) -> None:
        self._address = address
        self._registry = CollectorRegistry()
        self._registry.register(InfererCollector(models))
        # Under a name of its own: the pages of a cluster's parts are shown as one.
        ProcessCollector(namespace="twofold_inferer", registry=self._registry)

    def __enter__(self) -> Self:
        host, port = split_address(self._address)
        try:
            self._server = _Server((host, port), self._registry)
        except OSError as error:
            raise OSError(f"cannot listen on {self._address}: is it in use?") from error
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

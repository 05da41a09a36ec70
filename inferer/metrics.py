"""The Prometheus page: Triton's names where the meaning is the same, ours for the rest.

Nothing is counted here: a scrape reads what the lanes have counted. Labels are names of loaded
versions, so their number is bounded by what is loaded.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from inferer.models import Models, Served
from inferer.statistics import Duration, VersionStatistics
from twofold.config import split_address

#: How soon the page's thread notices that it should end.
_POLL_S = 0.1
_LABELS = ("model", "version")

_Value = Callable[[VersionStatistics], float]


def _us(pick: Callable[[VersionStatistics], Duration]) -> _Value:
    return lambda counted: pick(counted).ns / 1000


#: Triton's counters: name, meaning, value.
_TRITON: tuple[tuple[str, str, _Value], ...] = (
    ("nv_inference_request_success", "Answered requests", lambda of: of.success.count),
    ("nv_inference_request_failure", "Failed requests", lambda of: of.failure.count),
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


class InfererCollector(Collector):
    """Reads the statistics of everything loaded, on the thread that serves the page."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        loaded = list(self._models)
        for name, meaning, value in _TRITON:
            yield _triton(name, meaning, loaded, value)
        yield from self._versions(loaded)
        yield from self._loads()

    def _versions(self, loaded: Iterable[Served]) -> Iterator[Metric]:
        latency = HistogramMetricFamily(
            "twofold_inferer_request_seconds",
            "From admission to answer, of answered requests",
            labels=_LABELS,
        )
        rows = HistogramMetricFamily("twofold_inferer_batch_rows", "Rows per batch", labels=_LABELS)
        queue = GaugeMetricFamily(
            "twofold_inferer_queue_rows", "Rows that wait now", labels=_LABELS
        )
        for served in loaded:
            labels, counted = _labels(served), served.lane.statistics
            latency.add_metric(labels, counted.latency.cumulative(), counted.latency.sum)
            rows.add_metric(labels, counted.batch_rows.cumulative(), counted.batch_rows.sum)
            queue.add_metric(labels, served.lane.queue_rows)
        yield from (latency, rows, queue)

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

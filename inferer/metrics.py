"""The Prometheus page: Triton's names where the meaning is the same, ours for the rest.

Nothing is counted here: a scrape reads what the lanes have counted. Labels are names of loaded
versions, so their number is bounded by what is loaded.
"""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from inferer.models import Models, Served
from inferer.statistics import Duration, VersionStatistics
from twofold.config import split_address

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


class MetricsPage:
    """The page's HTTP server, on a thread of its own while the context is open."""

    def __init__(self, address: str, models: Models) -> None:
        self._address = address
        self._registry = CollectorRegistry()
        self._registry.register(InfererCollector(models))

    def __enter__(self) -> Self:
        host, port = split_address(self._address)
        try:
            self._server, self._thread = start_http_server(port, host, self._registry)
        except OSError as error:
            raise OSError(f"cannot listen on {self._address}: is it in use?") from error
        self.address = f"{host}:{self._server.server_port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

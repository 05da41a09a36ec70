"""Counts and durations per version, as ModelStatistics and the metrics page report them.

Counted on the event loop only, read from any thread: a reader may see one request half counted.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

#: Upper bounds of latency buckets in seconds: from a small batch (25 us) to a stuck one (10 s).
LATENCY_BUCKETS_S = (
    *(0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
#: Batch sizes in rows.
ROWS_BUCKETS = tuple(float(1 << power) for power in range(11))
#: Loads take from milliseconds to a minute.
LOAD_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
#: Batch sizes up to this are told apart in ModelStatistics; larger ones by powers of two.
_EXACT_BATCH_SIZES = 32


class Failure(StrEnum):
    """Why a request was not answered, as the metrics page says it."""

    #: It found no room in the queue.
    QUEUE_FULL = "queue_full"
    #: Its time was up, or could not be kept, before it ran.
    DEADLINE = "deadline_exceeded"
    #: Its caller left while it waited.
    CANCELLED = "cancelled"
    #: The network failed on it.
    INTERNAL = "internal"


@dataclass(slots=True)
class Duration:
    """How often something happened, and nanoseconds in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Counts `count` events of `ns` each."""
        self.count += count
        self.ns += ns * count


class Histogram:
    """Counts by bucket; the last bucket has no upper bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts a value in the first bucket whose bound is not below it."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_all(self, values: Sequence[float], added: float = 0.0) -> None:
        """Counts many values, each with the same `added` to it."""
        bounds, counts, find = self.bounds, self.counts, bisect.bisect_left
        for value in values:
            counts[find(bounds, value + added)] += 1
        self.sum += sum(values) + added * len(values)

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, values up to it), as Prometheus wants them."""
        names = [*(repr(bound) for bound in self.bounds), "+Inf"]
        total = 0
        pairs: list[tuple[str, float]] = []
        for name, count in zip(names, self.counts, strict=True):
            total += count
            pairs.append((name, float(total)))
        return pairs


class Timing(NamedTuple):
    """Nanoseconds of the parts of one batch."""

    input_ns: int
    infer_ns: int
    output_ns: int

    @property
    def compute_ns(self) -> int:
        """All parts."""
        return self.input_ns + self.infer_ns + self.output_ns


@dataclass(slots=True)
class Parts:
    """Durations of the parts of batches."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)

    def add(self, timing: Timing, count: int = 1) -> None:
        """Counts the timing `count` times: for each request of a batch, or once for it."""
        self.input.add(timing.input_ns, count)
        self.infer.add(timing.infer_ns, count)
        self.output.add(timing.output_ns, count)


class VersionStatistics:
    """What one version has done since it was loaded."""

    def __init__(self) -> None:
        self.last_inference_ms = 0
        self.row_count = 0
        self.batch_count = 0
        self.success = Duration()
        self.failure = Duration()
        self.queue = Duration()
        self.parts = Parts()
        self.batches: dict[int, Parts] = {}
        self.failures = dict.fromkeys(Failure, 0)
        self.latency = Histogram(LATENCY_BUCKETS_S)
        #: Of requests, while they waited; of batches, while they ran.
        self.queued = Histogram(LATENCY_BUCKETS_S)
        self.computed = Histogram(LATENCY_BUCKETS_S)
        self.batch_rows = Histogram(ROWS_BUCKETS)

    def count_batch(self, rows: int, requests: int, timing: Timing) -> None:
        """Counts a batch that ran."""
        self.batch_count += 1
        self.row_count += rows
        self.batch_rows.observe(rows)
        self.computed.observe(timing.compute_ns / 1e9)
        self.parts.add(timing, requests)
        label = batch_size_label(rows)
        if (parts := self.batches.get(label)) is None:
            self.batches[label] = parts = Parts()
        parts.add(timing)

    def count_answered(self, waits_ns: Sequence[int], ran_ns: int, now_ms: int) -> None:
        """Counts requests of one batch that were answered; at least one.

        Args:
            waits_ns: how long each waited.
            ran_ns: how long their batch took, answers included.
            now_ms: the time of day.
        """
        count, waited_ns = len(waits_ns), sum(waits_ns)
        self.last_inference_ms = now_ms
        self.queue.count += count
        self.queue.ns += waited_ns
        self.success.count += count
        self.success.ns += waited_ns + ran_ns * count
        waits_s = [queue_ns / 1e9 for queue_ns in waits_ns]
        self.queued.observe_all(waits_s)
        self.latency.observe_all(waits_s, ran_ns / 1e9)

    def count_failed(self, queue_ns: int, ns: int, now_ms: int) -> None:
        """Counts a request that left the queue and was not answered.

        Args:
            queue_ns: how long it waited.
            ns: from its admission to its end.
            now_ms: the time of day.
        """
        self.last_inference_ms = now_ms
        self.queue.add(queue_ns)
        self.queued.observe(queue_ns / 1e9)
        self.failure.add(ns)

    def count_refusal(self, why: Failure) -> None:
        """Counts a request that was turned away at once."""
        self.failure.add(0)
        self.failures[why] += 1


def batch_size_label(rows: int) -> int:
    """`rows`, or for large batches the next power of two: bounds what is kept per version."""
    return rows if rows <= _EXACT_BATCH_SIZES else 1 << (rows - 1).bit_length()


class LoadStatistics:
    """What loading has done since the start."""

    def __init__(self) -> None:
        self.loads = 0
        self.failures = 0
        #: Versions that must not serve here: damaged, wrong answers, too large.
        self.refusals = 0
        #: Versions unloaded to make room for others, and loaded again soon after that.
        self.evictions = 0
        self.thrashes = 0
        #: Times that a version found no room.
        self.full = 0
        self.duration = Histogram(LOAD_BUCKETS_S)

    def count(self, duration_s: float, *, is_success: bool) -> None:
        """Counts a load, from reading its manifest to the flip or the refusal."""
        self.duration.observe(duration_s)
        if is_success:
            self.loads += 1
        else:
            self.failures += 1

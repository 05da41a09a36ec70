"""Durations counted in narrow bins: percentiles of any number of them, in little memory. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Bins of each doubling: a percentile is off by 1 part in 4,096 at most.
_BINS_BITS = 11
_BINS = 1 << _BINS_BITS
#: Longest duration that has a bin of its own, 2^44 ns = 4.9 h; what is longer shares the last one.
_DOUBLINGS = 44 - _BINS_BITS
_BIN_COUNT = (_DOUBLINGS + 1) * _BINS
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Durations in milliseconds; zeros where there are none."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Histogram:
    """Nanoseconds, in the bins of a floating-point number with 11 bits behind the point.

    Below 2^11 ns each nanosecond has a bin of its own. Sum and largest are exact.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BIN_COUNT, np.int64)
        self._sum_ns = 0
        self._max_ns = 0
        self.count = 0

    def add(self, durations_ns: NDArray[np.int64]) -> None:
        """Counts all of them; a negative one, as clocks of two cores may give, as 0."""
        if not len(durations_ns):
            return
        durations = np.maximum(durations_ns, 0)
        np.add.at(self._counts, _bins(durations), 1)
        self._sum_ns += int(durations.sum())
        self._max_ns = max(self._max_ns, int(durations.max()))
        self.count += len(durations)

    def percentiles(self) -> Percentiles:
        """Of all that was added."""
        if not self.count:
            return Percentiles(0, 0, 0, 0, 0, 0, 0)
        below = np.cumsum(self._counts)
        p50, p90, p99, p999 = (self._at(below, part) for part in (0.5, 0.9, 0.99, 0.999))
        mean, longest = self._sum_ns / self.count / _NS_PER_MS, self._max_ns / _NS_PER_MS
        return Percentiles(self.count, mean, p50, p90, p99, p999, longest)

    def _at(self, below: NDArray[np.int64], part: float) -> float:
        """The smallest duration that `part` of all are not longer than: its bin's middle."""
        rank = max(1, int(np.ceil(part * self.count)))
        return min(_middle(int(np.searchsorted(below, rank))), self._max_ns) / _NS_PER_MS


def _bins(durations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Exponent and leading bits of each, as one number that grows with the duration."""
    # A float64 holds 53 bits, so that no rounding lifts a duration of hours to the next power.
    _, bits = np.frexp(durations.astype(np.float64))
    doubling = np.maximum(bits.astype(np.int64) - _BINS_BITS, 0)
    shift = np.maximum(doubling - 1, 0)
    found = np.where(
        doubling == 0, durations, (doubling << _BINS_BITS) + (durations >> shift) - _BINS
    )
    return np.minimum(found, _BIN_COUNT - 1)


def _middle(place: int) -> float:
    doubling, within = divmod(place, _BINS)
    if doubling == 0:
        return within
    width = 1 << (doubling - 1)
    return (within + _BINS) * width + (width - 1) / 2

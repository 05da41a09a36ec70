"""What became of requests: durations, errors and versions, within a window of time. Pure."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twofold.loadgen.histogram import Histogram

#: Durations that wait to be counted: few enough that counting them takes 0.1 ms.
_CHUNK = 2_048


@dataclass(frozen=True, slots=True)
class Window:
    """What is measured: requests that begin in it, and answers that arrive in it for the rate."""

    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9

    def has(self, time_ns: int) -> bool:
        """Whether a time lies in it."""
        return self.start_ns <= time_ns < self.end_ns

    def select(self, times_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which times lie in it."""
        return (self.start_ns <= times_ns) & (times_ns < self.end_ns)


@dataclass(slots=True)
class Failures:
    """Requests that failed, by the name of their status."""

    counts: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, str] = field(default_factory=dict[str, str])
    """What was said of the first of each."""

    def add(self, code: str, message: str) -> None:
        """Counts one."""
        self.counts[code] += 1
        self.examples.setdefault(code, message)


class Tally:
    """Of one point of a run. Requests of before the window, the warm-up, are not counted.

    Times are nanoseconds of one clock. Where a request was meant to be sent at a certain time, that
    is where it begins: what it waited for, a full server or a busy generator, belongs to it.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.latencies = Histogram()
        #: How late requests were sent of which nobody but this process was the cause.
        self.lateness = Histogram()
        self.failures = Failures()
        #: Versions that answered, among the answers that were looked at closely.
        self.versions = Counter[str]()
        #: Requests that were sent late because no connection had room for them.
        self.held_count = 0
        #: Good answers that arrived within the window.
        self.answered_count = 0
        self._starts, self._ends = array("q"), array("q")
        self._intended, self._sent = array("q"), array("q")

    def answered(self, starts_ns: list[int], now_ns: int) -> None:
        """Good answers to requests of these times have arrived."""
        self._starts.extend(starts_ns)
        self._ends.extend([now_ns] * len(starts_ns))
        if len(self._starts) >= _CHUNK:
            self.settle()

    def failed(self, code: str, message: str, start_ns: int) -> None:
        """A request has failed; `code` is a gRPC status code's name, or INVALID_ANSWER."""
        if self.window.has(start_ns):
            self.failures.add(code, message)

    def sent(self, intended_ns: list[int], now_ns: int) -> None:
        """Requests that were meant to be sent at these times are sent now."""
        self._intended.extend(intended_ns)
        self._sent.extend([now_ns] * len(intended_ns))
        if len(self._sent) >= _CHUNK:
            self.settle()

    def held(self, intended_ns: int) -> None:
        """A request is late because every connection is full."""
        self.held_count += self.window.has(intended_ns)

    def settle(self) -> None:
        """Counts what waits to be counted."""
        starts, ends = _taken(self._starts), _taken(self._ends)
        self.answered_count += int(self.window.select(ends).sum())
        self.latencies.add((ends - starts)[self.window.select(starts)])
        intended, sent = _taken(self._intended), _taken(self._sent)
        self.lateness.add((sent - intended)[self.window.select(intended)])


def _taken(times: "array[int]") -> NDArray[np.int64]:
    """The numbers of an array, which is empty afterwards."""
    found = np.array(times, np.int64)
    del times[:]
    return found

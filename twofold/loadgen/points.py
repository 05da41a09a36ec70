"""What was asked of a server and what came of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from twofold.loadgen.cost import Used
from twofold.loadgen.histogram import Percentiles
from twofold.loadgen.tally import Tally

#: Requests under way per connection where nobody says how many connections: Triton's perf_analyzer
#: shares one among as many, so that figures can be compared.
_PER_CONNECTION = 6
#: Connections of an open loop where nobody says.
_OPEN_CONNECTIONS = 8
#: From this part of a core on, what was measured may be this process's limit.
BUSY = 0.9
#: A server that answers less than this part in time, of what it does answer, does not keep up.
_KEPT_UP = 0.95
_US = 1e6


@dataclass(frozen=True, slots=True)
class Load:
    """Users of one point: a number who wait for their answers, or a rate whatever is answered."""

    connections: int
    concurrency: int = 0
    """Requests under way; 0 in an open loop."""
    rate: float = 0
    """Requests a second; 0 in a closed loop."""


def closed(concurrency: int, connections: int | None = None) -> Load:
    """A closed loop; no more connections than requests under way."""
    wanted = connections or -(-concurrency // _PER_CONNECTION)
    return Load(min(wanted, concurrency), concurrency=concurrency)


def opened(rate: float, connections: int | None = None) -> Load:
    """An open loop."""
    return Load(connections or _OPEN_CONNECTIONS, rate=rate)


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured under one load."""

    load: Load
    duration_s: float
    answered_count: int
    """Good answers that arrived within the window."""
    latency_ms: Percentiles
    """Of good answers to requests that began within the window, however late they came."""
    lateness_ms: Percentiles
    """Of an open loop: how much later than meant requests were sent, by this process alone."""
    held_count: int
    """Of an open loop: requests that no connection had room for when they were due."""
    errors: Mapping[str, int]
    """Failed requests by the name of their status."""
    examples: Mapping[str, str]
    """What was said of the first of each."""
    versions: Mapping[str, int]
    """Versions that answered, among the answers that were parsed whole."""
    used: Used
    """Within the window."""

    @property
    def error_count(self) -> int:
        """Failed requests."""
        return sum(self.errors.values())

    @property
    def is_failed(self) -> bool:
        """Whether a request failed, or none was answered."""
        return bool(self.errors) or not self.latency_ms.count

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.answered_count / self.duration_s

    @property
    def _finished_count(self) -> int:
        return max(1, self.answered_count + self.error_count)

    @property
    def generator_us(self) -> float:
        """Processor time of this process per request, in microseconds."""
        return self.used.own_s * _US / self._finished_count

    @property
    def server_us(self) -> float | None:
        """Processor time of the server per request, in microseconds; None where nobody asked."""
        if self.used.server_s is None:
            return None
        return self.used.server_s * _US / self._finished_count

    @property
    def busy(self) -> float:
        """Part of the time that this process used a core, or wanted one."""
        return (self.used.own_s + self.used.waited_s) / self.used.wall_s

    @property
    def warnings(self) -> list[str]:
        """Why the figures may not be the server's."""
        found: list[str] = []
        if self.busy > BUSY:
            found.append(
                f"the generator was the limit: it used {_part(self.used.own_s, self.used.wall_s)} "
                f"of a core and waited for one {_part(self.used.waited_s, self.used.wall_s)} of "
                "the time; the server may do more than this"
            )
        if self.load.rate and self.answered_count < self.latency_ms.count * _KEPT_UP:
            due = self.latency_ms.count / self.duration_s
            found.append(
                f"of {due:,.0f} requests a second that were due {self.rate:,.0f} were answered: "
                "the server did not keep up, and latencies grow with the duration"
            )
        return found


def point_of(load: Load, tally: Tally, used: Used) -> Point:
    """What a tally holds when all is counted."""
    tally.settle()
    return Point(
        load=load,
        duration_s=tally.window.duration_s,
        answered_count=tally.answered_count,
        latency_ms=tally.latencies.percentiles(),
        lateness_ms=tally.lateness.percentiles(),
        held_count=tally.held_count,
        errors=dict(tally.failures.counts),
        examples=tally.failures.examples,
        versions=dict(tally.versions),
        used=used,
    )


def _part(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"

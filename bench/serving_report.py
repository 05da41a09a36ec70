"""Tables of bench.serving, in Markdown, and its goals."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.serving_h2load import POINTS, Sample, median
from bench.serving_rates import OWN, Rates
from bench.serving_servers import KINDS

#: At least so many times the rate of another server: (point, other): goal, and what would be fine.
_RATE_GOALS: Mapping[tuple[str, str], tuple[float, float | None]] = {
    ("3 x 5", "grpcio"): (4.0, 6.0),
    ("3 x 5", "triton"): (2.0, 2.5),
    ("16 x 1", "grpcio"): (3.0, None),
    ("16 x 1", "triton"): (2.0, 2.5),
    ("64 x 1", "grpcio"): (3.0, None),
    ("64 x 1", "triton"): (2.0, 2.5),
    ("4 x 16", "triton"): (2.5, None),
    ("3 x 5", "prototype"): (0.85, None),
    ("16 x 1", "prototype"): (0.85, None),
    ("64 x 1", "prototype"): (0.85, None),
    ("4 x 16", "prototype"): (0.85, None),
}
#: At most so many times the latency of another server: (point, other, which).
_LATENCY_GOALS: Mapping[tuple[str, str, str], tuple[float, float | None]] = {
    ("1", "triton", "p50_ms"): (0.75, 0.5),
    ("1", "mosec", "mean_ms"): (1.0, None),
    ("4 x 1", "mosec", "mean_ms"): (1.0, None),
    ("16 x 1", "mosec", "mean_ms"): (1.0, None),
}
_CPU_POINT, _CPU_US = "64 x 1", 60.0
_WORDS = {"p50_ms": "p50", "mean_ms": "mean latency"}


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal and what came of it."""

    what: str
    #: Round by round.
    values: Sequence[float]
    limit: float
    is_most: bool = False
    stretch: float | None = None

    @property
    def is_met(self) -> bool:
        """By the median of the rounds."""
        return self._is_within(self.limit)

    def _is_within(self, limit: float) -> bool:
        value = statistics.median(self.values)
        return value <= limit if self.is_most else value >= limit

    def line(self) -> str:
        """A row of the table."""
        value = statistics.median(self.values)
        word = "at most" if self.is_most else "at least"
        stretch = ""
        if self.stretch is not None:
            stretch = f"{self.stretch:g}: {'met' if self._is_within(self.stretch) else 'missed'}"
        return (
            f"| {self.what} | {value:.2f} | {min(self.values):.2f} to {max(self.values):.2f} | "
            f"{word} {self.limit:g} | {'met' if self.is_met else 'MISSED'} | {stretch} |"
        )


def goals_table(goals: Sequence[Goal]) -> str:
    """Goals, as met or MISSED."""
    lines = [
        "| what | median | from to | goal | is | stretch |",
        "| --- | --- | --- | --- | --- | --- |",
        *(goal.line() for goal in goals),
    ]
    return "\n".join(lines)


def report(rates: Rates, duration_s: int) -> str:
    """Everything that was measured of rates."""
    rounds = len(next(iter(rates.samples.values())))
    about = (
        f"Points are connections x requests under way on each; h2load on one thread, {duration_s} "
        f"s after a warm-up, {rounds} rounds in turns. Medians, from least to largest. Servers "
        f"took {rates.idle_cores:.2f} cores in all while nobody asked. That every answer was a "
        "success is by the servers' own counters, but for calls that h2load left open at its end, "
        "or by the bytes of the answers where they count nothing."
    )
    parts = [
        "## Rates",
        about,
        "\n".join(f"- {name}: {KINDS[name].about()}" for name in rates.servers),
        "Requests a second:",
        _table(rates, POINTS, lambda samples: _spread(samples, "rate", ",.0f")),
        "Microseconds of processor time of the server per request, all its processes:",
        _table(rates, POINTS, lambda samples: _spread(samples, "cpu_us", ".0f")),
        "Rows per forward pass, by the servers that count them:",
        _table(rates, POINTS, _batch),
        "Milliseconds of latency, mean of all; p50 and p99 where few are under way:",
        _table(rates, POINTS, _latency),
        "Own rate and others' in the same round, divided; latencies likewise:",
        goals_table(list(_goals(rates))),
    ]
    if "limit" in rates.servers:
        parts += ["Part of the limit's rate in the same round:", _limit_table(rates)]
    return "\n\n".join(parts) + "\n"


def _table(
    rates: Rates, points: Mapping[str, object], cell: Callable[[Sequence[Sample]], str]
) -> str:
    lines = [
        f"| server | {' | '.join(points)} |",
        f"| --- |{' --- |' * len(points)}",
    ]
    for name in rates.servers:
        cells = (cell(rates.samples[point, name]) for point in points)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(samples: Sequence[Sample], field: str, form: str) -> str:
    middle, least, most = median(samples, field)
    return f"{middle:{form}} ({least:{form}} to {most:{form}})"


def _batch(samples: Sequence[Sample]) -> str:
    middle = median(samples, "batch")[0]
    return f"{middle:.1f}" if middle else ""


def _latency(samples: Sequence[Sample]) -> str:
    mean, p50, p99 = (median(samples, field)[0] for field in ("mean_ms", "p50_ms", "p99_ms"))
    return f"{mean:.2f}; {p50:.2f}, {p99:.2f}" if p50 else f"{mean:.2f}"


def ratios(rates: Rates, point: str, names: tuple[str, str], field: str = "rate") -> list[float]:
    """One server's figure divided by another's, round by round."""
    ones, others = (rates.samples[point, name] for name in names)
    return [
        float(getattr(one, field)) / float(getattr(other, field))
        for one, other in zip(ones, others, strict=True)
    ]


def _goals(rates: Rates) -> Iterator[Goal]:
    for (point, other), (least, stretch) in _RATE_GOALS.items():
        if other in rates.servers:
            values = ratios(rates, point, (OWN, other))
            yield Goal(f"{point}: rate, of {other}'s", values, least, stretch=stretch)
    for (point, other, field), (most, stretch) in _LATENCY_GOALS.items():
        if other in rates.servers:
            values = ratios(rates, point, (OWN, other), field)
            what = f"{point}: {_WORDS[field]}, of {other}'s"
            yield Goal(what, values, most, is_most=True, stretch=stretch)
    own = [sample.cpu_us for sample in rates.samples[_CPU_POINT, OWN]]
    yield Goal(f"{_CPU_POINT}: processor us per request", own, _CPU_US, is_most=True)


def _limit_table(rates: Rates) -> str:
    names = [name for name in (OWN, "prototype", "echo") if name in rates.servers]
    lines = [f"| server | {' | '.join(POINTS)} |", f"| --- |{' --- |' * len(POINTS)}"]
    for name in names:
        parts = (statistics.median(ratios(rates, point, (name, "limit"))) for point in POINTS)
        lines.append(f"| {name} | {' | '.join(f'{part:.2f}' for part in parts)} |")
    return "\n".join(lines)

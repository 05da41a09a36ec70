"""Points of a bench as text and JSON. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from twofold.cli import render
from twofold.loadgen.points import Point
from twofold.loadgen.requests import Asked

_PERCENTILES = ("p50", "p90", "p99", "p999", "max")
_HEADER = (
    *("load", "connections", "requests/s", "p50", "p90", "p99", "p99.9", "max", "errors"),
    *("generator", "busy", "server"),
)
#: Characters of each column, so that lines can be shown as they are measured.
_WIDTHS = (9, 11, 10, 9, 9, 9, 9, 9, 7, 9, 5, 6)
LEGEND = "latencies in ms; generator, server: CPU time of a request in µs; busy: part of a core"


def title(address: str, asked: Asked, duration_s: float) -> str:
    """What is measured, and in what."""
    version = f" {asked.version}" if asked.version else ""
    rows = f"{asked.rows:,} row" + ("s" if asked.rows > 1 else "")
    what = f"model {asked.model}{version} at {address}, {rows} a request, {duration_s:g} s a line"
    return f"{what}\n{LEGEND}\n"


def header() -> str:
    """The line above all points."""
    return _line(_HEADER)


def line(point: Point) -> str:
    """One point."""
    load, server_us = point.load, point.server_us
    latencies = asdict(point.latency_ms)
    return _line(
        (
            f"{load.rate:,.0f}/s" if load.rate else f"{load.concurrency}",
            f"{load.connections}",
            f"{point.rate:,.0f}",
            *(f"{latencies[name]:.3f}" for name in _PERCENTILES),
            f"{point.error_count:,}",
            f"{point.generator_us:.1f}",
            f"{100 * point.busy:.0f} %",
            "-" if server_us is None else f"{server_us:.1f}",
        )
    )


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))


def notes(points: Iterable[Point]) -> list[str]:
    """What else is to be said, line by line: errors, lateness, warnings."""
    return [note for point in points for note in _notes(point)]


def _notes(point: Point) -> list[str]:
    load = point.load
    name = f"rate {load.rate:,.0f}/s" if load.rate else f"concurrency {load.concurrency}"
    found = [
        f"{code} {count:,}: {render.one_line(point.examples[code])}"
        for code, count in sorted(point.errors.items())
    ]
    late, held = point.lateness_ms, point.held_count
    if late.count:
        found.append(f"sent late by p50 {late.p50:.3f}, p99 {late.p99:.3f}, max {late.max:.3f} ms")
    if held:
        found.append(f"{held:,} requests waited for room on a connection")
    found += [f"warning: {text}" for text in point.warnings]
    return [f"{name}: {text}" for text in found]


def plain(point: Point) -> dict[str, object]:
    """A point as JSON has it."""
    load = point.load
    return {
        "loop": "open" if load.rate else "closed",
        "concurrency": load.concurrency or None,
        "offered_per_second": load.rate or None,
        "connections": load.connections,
        "duration_s": point.duration_s,
        "answered_count": point.answered_count,
        "requests_per_second": point.rate,
        "latency_ms": asdict(point.latency_ms),
        "lateness_ms": asdict(point.lateness_ms) if load.rate else None,
        "held_count": point.held_count,
        "error_count": point.error_count,
        "errors": dict(point.errors),
        "error_examples": dict(point.examples),
        "sampled_versions": dict(point.versions),
        "generator_cpu_us": point.generator_us,
        "generator_busy": point.busy,
        "server_cpu_us": point.server_us,
        "warnings": point.warnings,
    }

"""What was asked of a server and what came of it."""

import dataclasses

import pytest

from twofold.loadgen import points
from twofold.loadgen.cost import Used
from twofold.loadgen.histogram import Percentiles
from twofold.loadgen.points import Load, Point

NONE = Percentiles(0, 0, 0, 0, 0, 0, 0)


def point(load: Load, answered: int, used: Used, errors: dict[str, int] | None = None) -> Point:
    return Point(
        load=load,
        duration_s=2,
        answered_count=answered,
        latency_ms=NONE,
        lateness_ms=NONE,
        held_count=0,
        errors=errors or {},
        examples={},
        versions={},
        used=used,
    )


@pytest.mark.parametrize(
    ("concurrency", "asked", "connections"),
    [
        (1, None, 1),
        (6, None, 1),
        (7, None, 2),
        (16, None, 3),
        (64, None, 11),
        (16, 16, 16),
        (2, 9, 2),
    ],
)
def test_connections_of_a_closed_loop(
    concurrency: int, asked: int | None, connections: int
) -> None:
    assert points.closed(concurrency, asked) == Load(connections, concurrency=concurrency)


def test_connections_of_an_open_loop() -> None:
    assert points.opened(10) == Load(8, rate=10)
    assert points.opened(10, 3) == Load(3, rate=10)


def test_cost_is_of_a_request() -> None:
    used = Used(wall_s=2, own_s=0.5, waited_s=0.1, server_s=1.5)

    found = point(points.closed(4), 9_000, used, {"UNAVAILABLE": 900, "INTERNAL": 100})

    assert found.rate == 4_500
    assert found.generator_us == pytest.approx(50)
    assert found.server_us == pytest.approx(150)
    assert found.busy == pytest.approx(0.3)
    assert found.error_count == 1_000
    assert found.warnings == []
    assert point(points.closed(4), 0, Used(2, 0.5, 0, None)).server_us is None


@pytest.mark.parametrize("used", [Used(2, 1.9, 0, None), Used(2, 0.5, 1.4, None)])
def test_generator_that_was_the_limit_is_told(used: Used) -> None:
    (warning,) = point(points.closed(4), 9_000, used).warnings

    assert warning.startswith("the generator was the limit: it used ")


def test_server_that_does_not_keep_up_is_told() -> None:
    """Of what was due, which with random arrivals is not what the rate says."""
    idle = Used(2, 0.1, 0, None)
    due = Percentiles(1_900, 1, 1, 1, 1, 1, 1)

    kept_up = dataclasses.replace(point(points.opened(1_000), 1_810, idle), latency_ms=due)
    did_not = dataclasses.replace(point(points.opened(1_000), 1_800, idle), latency_ms=due)

    assert kept_up.warnings == []
    (warning,) = did_not.warnings
    assert warning.startswith("of 950 requests a second that were due 900 were answered: the serv")

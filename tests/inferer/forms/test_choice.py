"""Which form is taken, and that measuring is fair."""

from collections.abc import Callable

import pytest

from inferer.forms.choice import Choice, decide, measure, sizes

US = 1e-6


@pytest.mark.parametrize(
    ("timings", "wanted"),
    [
        ({"eager": {1: 10, 64: 90}}, "eager"),
        ({"eager": {1: 10, 64: 90}, "fused": {1: 9.5, 64: 85}}, "eager"),  # no clear win
        ({"eager": {1: 10, 64: 90}, "fused": {1: 8, 64: 70}}, "fused"),
        ({"eager": {1: 10, 64: 90}, "fused": {1: 8, 64: 89}}, "fused up to 1 rows, then eager"),
        ({"eager": {1: 10, 64: 90}, "fused": {1: 11, 64: 50}}, "eager up to 1 rows, then fused"),
        (
            {
                "eager": {1: 9, 16: 30, 64: 90},
                "fused": {1: 8, 16: 20, 64: 70},
                "arrays": {1: 4, 16: 9},
            },
            "arrays up to 16 rows, then fused",
        ),
        (
            {"eager": {1: 9, 64: 90}, "fused": {1: 8, 64: 70}, "arrays": {1: 4, 64: 9}},
            "arrays up to 64 rows, then fused",
        ),
        ({"eager": {1: 9, 64: 90}, "arrays": {1: 4, 64: 9}}, "arrays up to 64 rows, then eager"),
    ],
)
def test_the_fastest_form_that_clearly_wins_is_taken(
    timings: dict[str, dict[int, float]], wanted: str
) -> None:
    seconds = {n: {rows: us * US for rows, us in taken.items()} for n, taken in timings.items()}

    choice = decide(seconds, {"arrays"})

    assert choice.told() == wanted
    assert "eager 9" in choice.reason or "eager 10" in choice.reason


def test_forms_are_told_once_each() -> None:
    assert Choice((("a", 1), ("b", 4), ("a", 64)), "").forms == ["a", "b"]


@pytest.mark.parametrize(
    ("one_s", "wanted"),
    [(1e-5, [1, 4, 16, 64]), (0.01, [1, 4, 10]), (0.02, [1, 4, 5]), (0.5, [1, 2])],
)
def test_slow_networks_are_measured_at_fewer_rows(one_s: float, wanted: list[int]) -> None:
    assert sizes(one_s, 0.1) == wanted


def test_forms_take_turns_and_are_run_before_they_are_measured() -> None:
    """What slows the machine down for a while slows all of them down, and medians pass over it."""
    now, calls = [0.0], list[str]()

    def job(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            first = name not in calls
            calls.append(name)
            busy = 50 if len(calls) in range(20, 24) else 1
            now[0] += seconds * (1000 if first else busy)

        return run

    runs = {"a": {1: job("a", 1.0)}, "b": {1: job("b", 2.0)}}

    timings = measure(runs, lambda: now[0])

    assert (timings["a"][1], timings["b"][1]) == (1.0, 2.0)
    assert "".join(calls)[-6:] == "ababab"

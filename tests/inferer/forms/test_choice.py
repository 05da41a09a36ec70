"""Which form is taken, and that measuring is fair."""

from collections.abc import Callable
from functools import partial

import pytest

from inferer.forms.choice import Choice, Timings, decide, measure, sizes

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


class Clockwork:
    """Two forms on a clock that only they move; the first call of each is slow."""

    def __init__(self, *, eager_s: float, fused_s: Callable[[int, int], float]) -> None:
        self.now_s = 0.0
        #: Name and rows of every call.
        self.calls: list[tuple[str, int]] = []
        self.seconds: dict[str, Callable[[int, int], float]] = {
            "eager": lambda _rows, _call: eager_s,
            "fused": fused_s,
        }

    def measure(self, *sizes: int) -> Timings:
        runs = {
            name: {rows: partial(self._run, name, rows) for rows in sizes} for name in self.seconds
        }
        return measure(runs, lambda: self.now_s)

    def _run(self, name: str, rows: int) -> None:
        count = self.calls.count((name, rows))
        self.calls.append((name, rows))
        self.now_s += self.seconds[name](rows, count) * (1 if count else 1000)


def test_forms_take_turns_and_are_run_before_they_are_measured() -> None:
    work = Clockwork(eager_s=1.0, fused_s=lambda _rows, _call: 2.0)

    assert work.measure(1) == {"eager": {1: 1.0}, "fused": {1: 2.0}}
    assert [name for name, _ in work.calls] == [
        *["eager"] * 2,
        *["fused"] * 2,
        *["eager", "fused"] * 3,
    ]


def test_medians_pass_over_a_moment_in_which_one_was_slowed_down() -> None:
    """The third call of 4 rows is in a round; it makes the round's winner another."""
    work = Clockwork(eager_s=1.0, fused_s=lambda rows, call: 50 if (rows, call) == (4, 2) else 0.5)

    assert work.measure(1, 4) == {"eager": {1: 1.0, 4: 1.0}, "fused": {1: 0.5, 4: 0.5}}

    # Two to begin with, then rounds: as few as may be where all agree, all of them where not.
    assert (work.calls.count(("fused", 1)), work.calls.count(("fused", 4))) == (2 + 3, 2 + 7)
    assert work.calls.count(("eager", 4)) == 2 + 7

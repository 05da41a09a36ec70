"""Durations in bins: percentiles as good as sorting them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.loadgen.histogram import Histogram

HOURS_4 = 4 * 3600 * 10**9
durations = st.lists(st.integers(0, HOURS_4), min_size=1, max_size=300)


def filled(*blocks: list[int]) -> Histogram:
    histogram = Histogram()
    for block in blocks:
        histogram.add(np.array(block, np.int64))
    return histogram


def sorted_ms(values: list[int], part: float) -> float:
    """The smallest value that `part` of all are not longer than."""
    return sorted(values)[max(0, int(np.ceil(part * len(values))) - 1)] / 1e6


@given(durations)
def test_percentiles_are_those_of_sorted_durations(values: list[int]) -> None:
    found = filled(values).percentiles()

    for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
        assert getattr(found, name) == pytest.approx(sorted_ms(values, part), rel=1 / 4096)
    assert found.max == max(values) / 1e6
    assert found.mean == pytest.approx(sum(values) / len(values) / 1e6)
    assert found.count == len(values)


@given(durations, durations)
def test_blocks_are_as_good_as_one(one: list[int], other: list[int]) -> None:
    assert filled(one, other).percentiles() == filled(one + other).percentiles()


@pytest.mark.parametrize("power", [0, 1, 10, 11, 12, 13, 20, 30, 43])
def test_every_power_and_its_neighbours_have_the_right_bin(power: int) -> None:
    for value in ((1 << power) - 1, 1 << power, (1 << power) + 1):
        # The larger one beside it keeps the largest from being what is shown.
        found = filled([value] * 99 + [HOURS_4 * 2]).percentiles()
        assert found.p50 == pytest.approx(value / 1e6, rel=1 / 4096)


def test_nothing_and_less_than_nothing() -> None:
    assert filled([]).percentiles().count == 0
    assert filled([]).percentiles().p99 == 0
    assert filled([-5, -5, 7]).percentiles().p50 == 0


def test_longer_than_any_bin_is_told_by_the_largest() -> None:
    days = 10**16
    found = filled([1, days]).percentiles()

    assert found.max == days / 1e6
    assert found.p99 > HOURS_4 / 1e6

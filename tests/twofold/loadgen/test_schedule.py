"""When requests are meant to be sent."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from twofold.loadgen.schedule import Arrivals, times_ns

START = 10**18


def first(kind: Arrivals, rate: float, count: int, seed: int = 0) -> NDArray[np.int64]:
    return np.array(list(itertools.islice(times_ns(kind, rate, START, seed), count)), np.int64)


@pytest.mark.parametrize("rate", [3.0, 7_777.0, 30_000.0])
def test_constant_arrivals_do_not_drift(rate: float) -> None:
    found = first(Arrivals.CONSTANT, rate, 20_000)

    assert found[0] == START
    exact = START + np.arange(20_000) * 10**9 / rate
    assert np.abs(found - exact).max() <= 130  # a float64 of 10^18 is this coarse


def test_poisson_arrivals_have_the_rate_and_exponential_gaps() -> None:
    found = first(Arrivals.POISSON, 20_000, 50_000)
    gaps_us = np.diff(found) / 1000

    assert found[0] >= START
    assert gaps_us.mean() == pytest.approx(50, rel=0.02)
    assert gaps_us.std() == pytest.approx(50, rel=0.03)
    assert (gaps_us > 50 * 3).mean() == pytest.approx(np.exp(-3), rel=0.1)
    assert (gaps_us >= 0).all()


def test_seed_decides() -> None:
    one, same, other = (first(Arrivals.POISSON, 100, 100, seed) for seed in (1, 1, 2))

    assert (one == same).all()
    assert (one != other).any()

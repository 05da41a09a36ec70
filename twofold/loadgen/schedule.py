"""When requests are meant to be sent, whatever the server does. Pure."""

import itertools
from collections.abc import Iterator
from enum import StrEnum

import numpy as np

_NS_PER_S = 1_000_000_000
#: Gaps drawn at a time.
_BLOCK = 4_096


class Arrivals(StrEnum):
    """How requests of an open loop follow each other."""

    POISSON = "poisson"
    """Independently of each other, as those of many users do."""
    CONSTANT = "constant"
    """In equal steps."""


def times_ns(kind: Arrivals, rate: float, start_ns: int, seed: int) -> Iterator[int]:
    """Endless times in nanoseconds, the first at or after `start_ns`, `rate` a second on average.

    A constant rate does not drift: time n is n / rate after the start, rounded once.
    """
    if kind is Arrivals.CONSTANT:
        return (start_ns + round(number * _NS_PER_S / rate) for number in itertools.count())
    return _poisson(rate, start_ns, np.random.default_rng(seed))


def _poisson(rate: float, start_ns: int, random: np.random.Generator) -> Iterator[int]:
    """Exponential gaps, added up as reals, so that rounding does not change the rate."""
    after_s = 0.0
    while True:
        for gap_s in random.exponential(1 / rate, _BLOCK).tolist():
            after_s += gap_s
            yield start_ns + round(after_s * _NS_PER_S)

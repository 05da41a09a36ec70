"""The finder of missing heartbeats does not take a slow machine for a bug."""

from itertools import accumulate

import pytest

from tests.chaos.planted.stalls import violations

LEASE_S = 0.6


def times_s(*gaps_s: float) -> list[float]:
    """Moments so far apart."""
    return list(accumulate(gaps_s, initial=0.0))


@pytest.mark.parametrize(
    ("beats_s", "ticks_s", "is_found"),
    [
        pytest.param(times_s(*[0.1] * 12), times_s(*[0.01] * 120), False, id="heartbeats"),
        pytest.param(times_s(0.1, 1.1), times_s(*[0.01] * 120), True, id="none, in a living loop"),
        pytest.param(times_s(0.1, 1.1), times_s(0.1, 1.1), False, id="none, in a loop that stood"),
        pytest.param(times_s(*[0.4] * 3), times_s(*[0.4] * 3), False, id="slow heartbeats"),
    ],
)
def test_only_a_gap_of_the_attempt_itself_is_found(
    beats_s: list[float],
    ticks_s: list[float],
    is_found: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert bool(violations(beats_s, ticks_s, LEASE_S)) == is_found

"""What a batch is expected to take: fitted, learnt, not misled."""

import random

import pytest

from inferer.pace import Pace

ROWS = (1, 4, 16, 64)


def test_a_line_is_found() -> None:
    pace = Pace.through([(rows, 10e-6 + 2e-6 * rows) for rows in ROWS])

    assert pace.line == (pytest.approx(10e-6), pytest.approx(2e-6))
    assert pace.expected_s(100) == pytest.approx(210e-6)


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ([(1, 5e-6)], (5e-6, 0.0)),
        ([(1, 9e-6), (64, 7e-6)], (7.75e-6, 0.0)),  # rows that cost less than nothing
        ([(1, 1e-6), (4, 8e-6)], (0.0, 1.2e-6)),  # likewise a batch without rows
    ],
)
def test_neither_part_is_below_zero(
    points: list[tuple[int, float]], line: tuple[float, float]
) -> None:
    pace = Pace.through(points)

    assert pace.line == pytest.approx(line, rel=1e-3)
    seconds = [seconds for _, seconds in points]
    assert min(seconds) / 2 < pace.expected_s(points[0][0]) < max(seconds) * 2


def test_small_batches_count_in_proportion() -> None:
    """A microsecond off is much for one row, nothing for a thousand."""
    pace = Pace.through([(1, 10e-6), (1000, 1500e-6), (1000, 2500e-6)])

    assert pace.expected_s(1) == pytest.approx(10e-6, rel=0.05)


def test_real_batches_refine_both_parts() -> None:
    pace = Pace(10e-6, 2e-6)
    draw = random.Random(3)  # noqa: S311 - the same each time
    for _ in range(4000):
        rows = draw.choice(ROWS)
        pace.observe(rows, (20e-6 + 1e-6 * rows) * draw.uniform(0.95, 1.05))

    assert pace.expected_s(1) == pytest.approx(21e-6, rel=0.1)
    assert pace.expected_s(64) == pytest.approx(84e-6, rel=0.1)


def test_outliers_count_no_more_than_any_other_batch() -> None:
    """One batch in five takes a second, since its core was taken away."""
    pace = Pace(10e-6, 2e-6)
    for place in range(2000):
        pace.observe(4, 1.0 if place % 5 == 0 else 18e-6 * (0.97 + 0.06 * (place % 7) / 6))

    assert pace.expected_s(4) == pytest.approx(18e-6, rel=0.15)


def test_what_is_learnt_has_bounds() -> None:
    pace = Pace(10e-6, 2e-6)
    for _ in range(5000):
        pace.observe(4, 10.0)
    most = pace.expected_s(4)
    for _ in range(5000):
        pace.observe(4, 0.0)

    assert most == pytest.approx(16 * 18e-6)
    assert pace.expected_s(4) == pytest.approx(18e-6 / 4)


def test_the_next_version_begins_where_this_one_is() -> None:
    pace = Pace(10e-6, 2e-6)
    for _ in range(50):
        pace.observe(1, 1.0)

    again = pace.again()

    assert again.line == pace.line
    again.observe(1, 0.0)
    assert again.line != pace.line

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer.batcher import Limits, QueuePolicy
from inferer.outlook import Outlook

#: A batch of n rows takes 10 + n seconds.
LIMITS = Limits(max_batch_size=8, max_queue_size=20)


def measured_s(rows: int) -> float:
    return 10.0 + rows


@pytest.fixture
def outlook() -> Outlook:
    return Outlook(measured_s, LIMITS)


def test_before_any_batch_the_warm_up_counts(outlook: Outlook) -> None:
    assert outlook.least_s(4) == 14.0
    assert outlook.pace == 1.0


def test_a_faster_batch_counts_at_once(outlook: Outlook) -> None:
    outlook.learn(2, 6.0)

    assert outlook.least_s(4) == 7.0


@given(st.lists(st.floats(1.0, 1000.0), max_size=15))
def test_fifteen_slow_batches_change_nothing(paces: list[float]) -> None:
    outlook = Outlook(measured_s, LIMITS)
    outlook.learn(1, 11.0)
    for pace in paces:
        outlook.learn(1, 11.0 * pace)

    assert outlook.pace == 1.0


def test_who_is_always_slower_is_thought_slower_but_never_than_its_fastest() -> None:
    random, outlook = Random(1), Outlook(measured_s, LIMITS)  # noqa: S311 - the same each time
    for _ in range(200):
        outlook.learn(5, 15.0 * random.uniform(2.0, 50.0))

    assert 2.0 <= outlook.pace < 15.0


def test_an_outlier_among_batches_is_nothing_whenever_it_comes() -> None:
    for place in range(40):
        outlook = Outlook(measured_s, LIMITS)
        for number in range(40):
            outlook.learn(3, 13.0 * (1000 if number == place else 1.2))
        assert outlook.pace <= 1.2


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_batch_that_failed_teaches_nothing(outlook: Outlook, seconds: float) -> None:
    outlook.learn(1, seconds)

    assert outlook.pace == 1.0


def test_what_was_never_measured_is_not_expected_to_take_long() -> None:
    outlook = Outlook(lambda _: math.inf, LIMITS)
    outlook.learn(1, 5.0)

    assert outlook.least_s(8) == 0.0
    assert outlook.earliest(100, 8) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("rows_before", "rows", "begin_s", "end_s"),
    [
        (0, 1, 0.0, 11.0),
        (5, 3, 0.0, 18.0),  # together
        (6, 3, 11.0, 18.0 + 11.0),  # nine rows: a full batch, and one row more
        (16, 8, 18.0 * 2, 18.0 * 3),
    ],
)
def test_the_earliest_is_through_full_batches(
    outlook: Outlook, rows_before: int, rows: int, begin_s: float, end_s: float
) -> None:
    assert outlook.earliest(rows_before, rows) == (begin_s, end_s)


@given(st.lists(st.integers(1, 8), min_size=1, max_size=12))
def test_no_order_of_batches_is_earlier(requests: list[int]) -> None:
    """Whatever shares a batch: in order, none split, none larger than eight."""
    outlook = Outlook(measured_s, LIMITS)
    begin_s = end_s = room = 0
    for rows in requests:
        if rows > room:
            begin_s, end_s, room = end_s, end_s + 10, 8
        end_s, room = end_s + rows, room - rows

    earliest = outlook.earliest(sum(requests[:-1]), requests[-1])

    assert earliest[0] <= begin_s
    assert earliest[1] <= end_s


@given(st.integers(0, 40), st.integers(1, 8))
def test_the_longest_is_no_less_than_any_answer(waiting: int, rows: int) -> None:
    limits = Limits(8, 1, queues=(QueuePolicy(20), QueuePolicy(20)))
    outlook = Outlook(measured_s, limits)

    assert outlook.longest_s >= outlook.earliest(waiting, rows)[1]
    outlook.learn(1, 110.0)
    for _ in range(16):
        outlook.learn(1, 110.0)
    assert outlook.longest_s >= outlook.earliest(waiting, rows)[1] > 100.0


def test_refusals_bring_doubt_until_somebody_was_let_in() -> None:
    """Else a warm-up on a busy machine could lock everybody out for ever."""
    outlook = Outlook(measured_s, LIMITS)
    refusals = 0
    while outlook.least_s(1) > 11.0 / 3:
        outlook.refused()
        refusals += 1

    assert refusals == 110
    outlook.learn(1, 12.0)  # it is as slow as was thought
    assert outlook.least_s(1) == 11.0

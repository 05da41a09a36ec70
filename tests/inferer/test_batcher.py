"""Cases of the queue; test_batcher_account.py holds it against a plain account."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer.batcher import Batcher, Entry, Limits, QueuePolicy, Wishes


def names(entries: Sequence[Entry[str]]) -> str:
    return "".join(entry.payload for entry in entries)


def filled(limits: Limits, rows: Sequence[int], priorities: Sequence[int] = ()) -> Batcher[str]:
    """Requests "a", "b", ... of so many rows, that came one second after the other."""
    made = Batcher[str](limits)
    for number, count in enumerate(rows):
        wishes = Wishes(priorities[number] if priorities else 0)
        made.admit("abcdefgh"[number], count, float(number), wishes=wishes)
    return made


def test_a_lone_request_is_due_at_once() -> None:
    batcher = Batcher[str](Limits(8, 100))

    batcher.admit("a", 1, now_s=5.0)

    assert batcher.due_s() == 5.0
    assert repr(batcher) == "<Batcher 1 requests, 1 rows>"


@given(st.integers(1, 7))
def test_with_a_delay_the_oldest_request_decides_unless_the_batch_is_full(rows: int) -> None:
    batcher = Batcher[str](Limits(8, 100, max_queue_delay_s=2.0))

    batcher.admit("old", rows, now_s=5.0)
    batcher.admit("new", 8 - rows - 1 or 1, now_s=6.0) if rows < 6 else None

    assert batcher.due_s() == 7.0
    batcher.admit("last", 8, now_s=6.5)
    assert batcher.due_s() == -math.inf


def test_a_request_is_never_split() -> None:
    batcher = Batcher[str](Limits(8, 100))
    for name, rows in (("a", 5), ("b", 4), ("c", 3)):
        batcher.admit(name, rows, now_s=0.0)

    first, second = batcher.cut(1.0), batcher.cut(1.0)

    assert [entry.payload for entry in first.batch] == ["a"]
    assert [entry.payload for entry in second.batch] == ["b", "c"]


def test_an_expired_request_never_runs() -> None:
    batcher = Batcher[str](Limits(8, 100))
    batcher.admit("late", 8, now_s=0.0, deadline_s=1.0)
    batcher.admit("early", 8, now_s=0.0, deadline_s=2.0)

    cut = batcher.cut(1.0)

    assert [entry.payload for entry in cut.batch] == ["early"]
    assert [entry.payload for entry in cut.expired] == ["late"]


def test_an_empty_queue_takes_a_request_of_any_size() -> None:
    batcher = Batcher[str](Limits(64, 10))

    assert batcher.has_room(64)
    batcher.admit("large", 64, now_s=0.0)
    assert not batcher.has_room(1)


def test_a_higher_priority_goes_first_and_its_order_stays() -> None:
    levels = (QueuePolicy(100),) * 3
    batcher = filled(
        Limits(3, 100, queues=levels, default_priority_level=2), [1] * 6, [3, 0, 1] * 2
    )

    assert [names(batcher.cut(9.0).batch) for _ in range(2)] == ["cfb", "ead"]


def test_a_queue_per_priority_is_bounded_by_itself() -> None:
    levels = (QueuePolicy(4), QueuePolicy(2))
    batcher = filled(Limits(8, 100, queues=levels, default_priority_level=2), [2, 3], [2, 1])

    assert not batcher.has_room(1, 2)
    assert not batcher.has_room(1), "the default"
    assert not batcher.has_room(1, 7), "there is no such level: the default"
    assert batcher.has_room(1, 1)
    assert not batcher.has_room(2, 1)
    assert (batcher.rows_before(1), batcher.rows_before(2)) == (3, 5)


@pytest.mark.parametrize(
    ("rows", "delay_s", "now_s", "batches"),
    [
        ([1] * 7, 0.0, 9.0, ["abcdef", "g"]),  # the largest that can be made; then what there is
        ([1] * 5, 0.0, 9.0, ["abcd", "e"]),
        ([3, 3, 2], 0.0, 9.0, ["ab", "c"]),
        ([5, 2], 0.0, 9.0, ["ab"]),  # no preferred size can be made
        ([1] * 5, 60.0, 9.0, ["abcd", "e"]),
        ([1] * 5, 5.0, 9.0, ["abcde"]),  # somebody has waited for the whole delay
    ],
)
def test_preferred_sizes_are_made_where_they_can_be(
    rows: Sequence[int], delay_s: float, now_s: float, batches: Sequence[str]
) -> None:
    batcher = filled(Limits(8, 100, delay_s, (4, 6)), rows)

    assert [names(batcher.cut(now_s).batch) for _ in batches] == batches
    assert not batcher.rows


def test_a_preferred_size_ends_the_delay_and_one_who_leaves_begins_it_again() -> None:
    batcher = filled(Limits(8, 100, 60.0, (4,)), [1, 1, 1])
    assert batcher.due_s() == 60.0

    last = batcher.admit("d", 1, 3.0)
    assert batcher.due_s() == -math.inf
    batcher.withdraw(last.ticket)
    assert batcher.due_s() == 60.0
    batcher.admit("e", 1, 4.0)
    assert batcher.due_s() == -math.inf


def test_who_comes_first_now_is_looked_at_again_after_a_cut() -> None:
    batcher = filled(Limits(8, 100, 60.0, (3,)), [1, 2, 4])
    assert batcher.due_s() == -math.inf

    assert names(batcher.cut(9.0).batch) == "ab"

    assert batcher.due_s() == 62.0


def test_who_passes_others_makes_or_breaks_a_preferred_size() -> None:
    levels = (QueuePolicy(100),) * 2
    batcher = filled(Limits(8, 100, 60.0, (3,), levels), [1, 2], [2, 2])
    assert batcher.due_s() == -math.inf

    passing = batcher.admit("c", 1, 2.0, wishes=Wishes(1))
    assert batcher.due_s() == 60.0, "1 + 1 + 2"
    batcher.admit("d", 2, 2.0, wishes=Wishes(1))
    assert batcher.due_s() == -math.inf, "1 + 2 + 1 + 2"
    batcher.withdraw(passing.ticket)
    assert batcher.due_s() == -math.inf, "2 + 1 + 2"


def test_who_waited_too_long_is_refused_or_put_back() -> None:
    wishes = Wishes(timeout_s=1.0)
    reject = Batcher[str](Limits(2, 100, queues=(QueuePolicy(100),)))
    delay = Batcher[str](Limits(2, 100, queues=(QueuePolicy(100, timeout_action="DELAY"),)))
    for batcher in (reject, delay):
        batcher.admit("a", 1, 0.0, wishes=wishes)
        for number, name in enumerate("bcd"):
            batcher.admit(name, 1, number / 10)

    cut = reject.cut(1.0)
    assert (names(cut.expired), names(cut.batch)) == ("a", "bc")
    assert names(delay.cut(1.0).batch) == "bc"
    assert delay.rows_before() == 1, "who comes now passes who was put back"
    assert delay.due_s() == -math.inf
    delay.admit("e", 1, 1.0)
    assert [names(delay.cut(1.0).batch) for _ in range(2)] == ["de", "a"]
    assert delay.rows_before() == delay.rows == 0
    assert delay.due_s() is None


def test_who_waited_too_long_is_put_back_also_behind_one_who_is_refused() -> None:
    policy = QueuePolicy(100, timeout_action="DELAY")
    batcher = Batcher[str](Limits(2, 100, queues=(policy,)))
    batcher.admit("a", 2, 0.0, deadline_s=1.0)
    batcher.admit("b", 1, 0.0, wishes=Wishes(timeout_s=0.5))
    batcher.admit("c", 1, 0.9)

    cut = batcher.cut(1.0)

    assert (names(cut.expired), names(cut.batch)) == ("a", "cb")


def test_who_leaves_after_being_put_back_counts_no_more() -> None:
    batcher = Batcher[str](Limits(1, 100, queues=(QueuePolicy(100, 1.0, timeout_action="DELAY"),)))
    entries = [batcher.admit(name, 1, arrival_s) for name, arrival_s in (("a", 0.0), ("b", 2.0))]
    assert names(batcher.cut(2.0).batch) == "b"
    batcher.admit("c", 1, 2.0)

    assert batcher.rows_before() == 1
    batcher.withdraw(entries[0].ticket)
    assert batcher.rows_before() == 1
    assert batcher.due_s() == -math.inf, "it is full"
    assert names(batcher.cut(2.0).batch) == "c"


@pytest.mark.parametrize(
    ("policy", "wish_s", "refuse_s"),
    [
        (QueuePolicy(9), math.inf, math.inf),
        (QueuePolicy(9), 2.0, 12.0),
        (QueuePolicy(9, 3.0), math.inf, 13.0),
        (QueuePolicy(9, 3.0), 2.0, 12.0),
        (QueuePolicy(9, 3.0), 5.0, 13.0),  # never longer
        (QueuePolicy(9, 3.0, allow_timeout_override=False), 2.0, 13.0),
        (QueuePolicy(9, allow_timeout_override=False), 2.0, math.inf),
    ],
)
def test_a_request_may_shorten_its_timeout_where_that_is_allowed(
    policy: QueuePolicy, wish_s: float, refuse_s: float
) -> None:
    batcher = Batcher[str](Limits(8, 9, queues=(policy,)))

    assert batcher.admit("a", 1, 10.0, wishes=Wishes(timeout_s=wish_s)).refuse_s == refuse_s


def urgent(limits: Limits) -> Batcher[str]:
    """ "b" has 2 s left, all others have time; three rows each."""
    batcher = Batcher[str](limits)
    for name in "abc":
        batcher.admit(name, 3, 0.0, deadline_s=2.0 if name == "b" else 9.0)
    return batcher


def test_a_batch_ends_behind_who_would_be_late_in_a_longer_one() -> None:
    batcher = urgent(Limits(9, 100))

    assert [names(batcher.cut(0.0, 1.0, 3.0).batch) for _ in range(2)] == ["ab", "c"]


def test_a_preferred_size_does_not_hold_up_who_is_in_a_hurry() -> None:
    batcher = Batcher[str](Limits(9, 100, preferred_batch_size=(2,)))
    for name in "abc":
        batcher.admit(name, 1, 0.0, deadline_s=2.0 if name == "c" else 9.0)

    assert names(batcher.cut(0.0, 1.0, 3.0).batch) == "abc"


def test_in_a_backlog_batches_are_full_and_who_would_be_late_is_refused() -> None:
    batcher = urgent(Limits(6, 100))

    cut = batcher.cut(0.0, 1.0, 3.0)

    assert (names(cut.batch), names(cut.expired)) == ("ac", "b")


def test_who_is_too_late_for_any_batch_is_refused() -> None:
    batcher = urgent(Limits(9, 100))

    cut = batcher.cut(1.5, 1.0, 1.0)

    assert (names(cut.batch), names(cut.expired)) == ("ac", "b")

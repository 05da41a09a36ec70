"""One inferer through a seed's life; that planted bugs are found is tested by the catalogue's."""

import pytest

from tests.chaos.serving import TIER
from tests.chaos.serving.book import Book
from tests.chaos.serving.scenario import played

SEEDS = range(12)


def test_an_inferer_keeps_its_promises_whatever_happens_to_the_store() -> None:
    results = [TIER.run(seed) for seed in SEEDS]

    assert [(found.seed, found.violations) for found in results if found.violations] == []
    for what in ("requests", "batches", "versions", "loads", "swaps"):
        assert sum(found.counts.get(what, 0) for found in results) > len(SEEDS)


def lines(seed: int) -> list[str]:
    """The story of a seed."""
    book = played(seed)
    return [*book.lines, *map(str, book.asked)]


def test_a_seed_gives_the_same_life_again() -> None:
    first = lines(3)

    assert lines(3) == first
    assert len(first) > 50


def book() -> Book:
    """Three versions, of which the second is damaged and the third was withdrawn."""
    made = Book()
    made.account.values.update({1: 10.0, 2: 20.0, 3: 30.0})
    made.account.damaged.add(2)
    made.account.withdrawn.add(3)
    return made


@pytest.mark.parametrize(
    ("reference", "answers", "invariants"),
    [
        ("", [(1, 10.0), (1, 10.0)], []),
        ("", [(3, 30.0), (1, 10.0)], []),  # withdrawn meanwhile
        ("", [(1, 20.0)], ["J4"]),
        ("", [(2, 20.0)], ["J3"]),
        ("", [(4, 40.0)], ["J3"]),
        ("3", [(1, 10.0)], ["J4"]),
    ],
)
def test_wrong_answers_are_noticed(
    reference: str, answers: list[tuple[int, float]], invariants: list[str]
) -> None:
    made = book()
    for version, added in answers:
        asked = made.begin(reference, 0.0, 1.0)
        made.ran([asked.number], 0.5)
        made.answered(asked, version, [added])

    assert [violation.invariant for violation in made.violations] == invariants


def test_a_default_that_goes_back_unasked_is_noticed() -> None:
    made = book()
    made.account.values[4] = 40.0
    for version, added in ((4, 40.0), (1, 10.0)):
        asked = made.begin("", 0.0, 1.0)
        made.ran([asked.number], 0.5)
        made.answered(asked, version, [added])

    assert [violation.invariant for violation in made.violations] == ["J4"]


@pytest.mark.parametrize(
    ("at_s", "cancelled_s", "invariants"),
    [
        ([0.5], None, []),
        ([1.0], None, ["DEADLINE"]),
        ([0.5], 0.2, ["CANCELLED"]),
        ([0.4, 0.5], None, ["ONCE"]),
    ],
)
def test_work_that_should_not_run_is_noticed(
    at_s: list[float], cancelled_s: float | None, invariants: list[str]
) -> None:
    made = book()
    asked = made.begin("", 0.0, 1.0)
    asked.cancelled_s = cancelled_s
    for now_s in at_s:
        made.ran([asked.number], now_s)

    assert [violation.invariant for violation in made.violations] == invariants

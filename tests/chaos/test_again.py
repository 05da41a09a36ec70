"""A promise of a time may be missed once, and not twice."""

from collections.abc import Sequence

import pytest

from tests.chaos.rows.again import until_kept

LIMIT_S = 1.0


def tries(*values_s: float) -> list[str]:
    """The names of the tries that these values took."""
    values, names = iter(values_s), list[str]()
    for measured in until_kept(LIMIT_S):
        names.append(measured.name)
        measured.value = next(values)
    return names


@pytest.mark.parametrize(
    ("values_s", "names"), [((0.5,), ["first"]), ((1.5, 0.5), ["first", "second"])]
)
def test_there_is_a_second_try_only_where_the_first_missed(
    values_s: Sequence[float], names: Sequence[str]
) -> None:
    assert tries(*values_s) == names


def test_a_promise_that_is_missed_twice_is_broken() -> None:
    with pytest.raises(AssertionError, match=r"\[1.5, 1.0\], twice not below 1.0"):
        tries(1.5, 1.0)


def test_what_was_not_measured_is_missed() -> None:
    with pytest.raises(AssertionError, match="inf, inf"):
        for _ in until_kept(LIMIT_S):
            pass

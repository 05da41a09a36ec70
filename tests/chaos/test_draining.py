"""A server's end: the search for a bug in it finds nothing where there is none."""

import pytest

from tests.chaos.planted import draining


@pytest.mark.parametrize("seed", range(16))
def test_no_call_is_lost_or_begun_twice(seed: int) -> None:
    assert draining.run(seed).violations == ()

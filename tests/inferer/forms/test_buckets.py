"""Fixed sizes hold every row once, and waste less than a bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer.forms.buckets import bucket_of, pieces

BUCKETS = (1, 4, 16)


@pytest.mark.parametrize(("rows", "bucket"), [(1, 1), (2, 4), (4, 4), (5, 16), (16, 16), (17, 16)])
def test_the_smallest_bucket_that_holds_the_rows_is_taken(rows: int, bucket: int) -> None:
    assert bucket_of(rows, BUCKETS) == bucket


@given(
    rows=st.integers(1, 500),
    buckets=st.sets(st.integers(1, 64), min_size=1).map(lambda found: tuple(sorted(found))),
)
def test_pieces_cover_every_row_once(rows: int, buckets: tuple[int, ...]) -> None:
    found = pieces(rows, buckets)

    covered = [row for part, _ in found for row in range(part.start, part.stop)]
    assert covered == list(range(rows))
    for part, bucket in found:
        assert bucket in buckets
        assert part.stop - part.start <= bucket
        smaller = [each for each in buckets if each < bucket]
        assert not smaller or part.stop - part.start > smaller[-1]

"""Batches in fixed sizes, for forms that are made for some sizes only. Pure."""

import bisect
from collections.abc import Sequence


def bucket_of(rows: int, buckets: Sequence[int]) -> int:
    """The first of the ascending buckets that holds so many rows; the last where none does."""
    return buckets[min(bisect.bisect_left(buckets, rows), len(buckets) - 1)]


def pieces(rows: int, buckets: Sequence[int]) -> list[tuple[slice, int]]:
    """A batch as pieces, each with the bucket that it is padded to: full ones first, then the rest.

    The rest is one piece: a launch costs more than rows that nobody reads.
    """
    largest = buckets[-1]
    starts = range(0, rows, largest)
    return [
        (slice(start, min(start + largest, rows)), bucket_of(rows - start, buckets))
        for start in starts
    ]

"""Promises of times, on a machine that may be busy with other things."""

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Try:
    """One measurement; `value` is for the loop's body to set."""

    #: Unique among the tries: part of the names of what it makes.
    name: str
    value: float = math.inf


def until_kept(limit: float) -> Iterator[Try]:
    """One try, and one more where its value was not below `limit`.

    A busy machine may miss a promise, but not twice.

    Raises:
        AssertionError: both missed it.
    """
    missed: list[float] = []
    for name in ("first", "second"):
        measured = Try(name)
        yield measured
        if measured.value < limit:
            return
        missed.append(measured.value)
    raise AssertionError(f"{missed}, twice not below {limit}")

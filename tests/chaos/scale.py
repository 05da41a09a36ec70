"""How much of a row is run: every test run has minutes for all of them, the long run has more."""

import os
from typing import TypeVar

#: Set by the long run: the table of failures at its full size.
FULL_VARIABLE = "TWOFOLD_CHAOS_FULL"
_T = TypeVar("_T", int, float)


def scaled(short: _T, full: _T) -> _T:
    """`full` in the long run, else `short`."""
    return full if os.environ.get(FULL_VARIABLE) else short

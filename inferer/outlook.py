"""How soon a version could answer at best: what it was measured to take, and what it took. Pure.

A lower bound, for refusing what cannot be in time: too low lets a request in that will be late; too
high would refuse one that could have been answered. So of the last batches the fastest counts, and
one slow batch changes nothing.
"""

import math
from collections.abc import Callable

from inferer.batcher import Limits

#: So many batches in a row have to be slower than the fastest before it is forgotten.
_PATIENCE = 16
#: What is left of an expectation after each refusal on its account. A version that seems too slow
#: for everybody runs nothing that could show it is not: after 110 refusals three times as fast is
#: taken for possible, and somebody is let in.
_DOUBT = 0.99


class Outlook:
    """What a version's batches take: a + b x rows as measured at its warm-up, times a pace."""

    def __init__(self, measured_s: Callable[[int], float], limits: Limits) -> None:
        self._measured_s = measured_s
        self._max_batch_size = limits.max_batch_size
        most_rows = sum(policy.max_queue_size for policy in limits.policies)
        # At most so many batches are full, of what waits and the request that comes.
        self._most_batches = most_rows // limits.max_batch_size + len(limits.policies) + 1
        self._doubt = 1.0
        #: What the fastest of the last batches took, of what was measured at the warm-up, which is
        #: the first of them.
        self.pace = 1.0
        # The fastest since then, and how many they are.
        self._next_pace = math.inf
        self._next_count = 0
        #: Whoever has more time than this need not ask `earliest`.
        self.longest_s = 0.0
        self._set_pace(1.0)

    def learn(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long."""
        measured_s = self._measured_s(rows)
        if not 0 < measured_s < math.inf or seconds <= 0:
            return
        pace = seconds / measured_s
        self._doubt = 1.0
        self._next_count += 1
        self._next_pace = min(self._next_pace, pace)
        if pace <= self.pace or self._next_count == _PATIENCE:
            self._set_pace(self._next_pace)

    def _set_pace(self, pace: float) -> None:
        self.pace = pace
        self._next_pace, self._next_count = math.inf, 0
        self.longest_s = self.least_s(self._max_batch_size) * self._most_batches

    def refused(self) -> None:
        """A request was refused because of what is expected here."""
        self._doubt *= _DOUBT

    def least_s(self, rows: int) -> float:
        """A batch of so many rows takes at least so long; 0 where nothing is known."""
        measured_s = self._measured_s(rows)
        return self.pace * self._doubt * measured_s if measured_s < math.inf else 0.0

    def earliest(self, rows_before: int, rows: int) -> tuple[float, float]:
        """When a request of so many rows begins and ends at the earliest, in seconds from now on.

        Batches as large as they may be are the fastest way through what waits before it, and what
        does not fit into its own batch runs in full ones before.
        """
        full_count, rest = divmod(rows_before + rows - 1, self._max_batch_size)
        last_s = self.least_s(rest + 1)
        if not full_count:
            return 0.0, last_s
        full_s = self.least_s(self._max_batch_size)
        return full_s * (full_count - 1) + last_s, full_s * full_count + last_s

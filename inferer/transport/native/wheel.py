"""When calls run out of time."""

import math
from typing import Protocol


class Expiring(Protocol):
    """A call, as the wheel sees it."""

    deadline_s: float

    def expire(self) -> None:
        """The deadline has passed."""
        ...


class Wheel:
    """Deadlines of calls, to a hundredth of a second; costs two set operations a call."""

    STEP_S = 0.01

    def __init__(self) -> None:
        self._slots: dict[int, set[Expiring]] = {}

    def add(self, call: Expiring) -> float:
        """Takes a call with a finite deadline; when to come for it."""
        slot = self._slot(call)
        self._slots.setdefault(slot, set()).add(call)
        return slot * self.STEP_S

    def discard(self, call: Expiring) -> None:
        """The call is over; unknown ones are ignored."""
        slot = self._slot(call)
        if (calls := self._slots.get(slot)) is not None:
            calls.discard(call)
            if not calls:
                del self._slots[slot]

    def take(self, now_s: float) -> list[Expiring]:
        """The calls whose deadline has passed; they are forgotten."""
        due = [slot for slot in self._slots if slot * self.STEP_S <= now_s]
        return [call for slot in due for call in self._slots.pop(slot)]

    def next_s(self) -> float:
        """When the next one is due; infinite where there is none."""
        return min(self._slots, default=math.inf) * self.STEP_S

    def _slot(self, call: Expiring) -> int:
        return math.ceil(call.deadline_s / self.STEP_S)

"""Twice as many requests as can be answered, each with a deadline: as many as can be get theirs."""

import math
from random import Random

import pytest

from inferer.batcher import Batcher, Entry, Limits
from inferer.outlook import Outlook

LIMITS = Limits(max_batch_size=100, max_queue_size=16_384)
#: Batches take up to so many times as long as the warm-up's fastest.
NOISE = (1.0, 1.3)
PATIENCE_S, LAST_S = 0.1, 10.0


def measured_s(rows: int) -> float:
    return 0.01 + 0.0001 * rows


class Overload:
    """Requests of a row at random times, and one version that answers them."""

    def __init__(self, load: float) -> None:
        self.random = Random(1)  # noqa: S311 - the same requests each time
        #: Rows that could be answered in all.
        self.capacity = LAST_S * 100 / (measured_s(100) * sum(NOISE) / 2)
        self.per_s = load * self.capacity / LAST_S
        self.batcher = Batcher[None](LIMITS)
        self.outlook = Outlook(measured_s, LIMITS)
        self.running: list[Entry[None]] = []
        self.end_s, self.busy_until_s = math.inf, -math.inf
        self.ended = {"in time": 0, "late": 0, "refused": 0}

    def play(self, *, is_aware: bool) -> dict[str, float]:
        """How many of the capacity ended in which way."""
        next_s = 0.0
        while next_s < LAST_S or self.running:
            now_s = min(next_s, self.end_s)
            if now_s == next_s < LAST_S:
                self._arrive(now_s, is_aware=is_aware)
                next_s += self.random.expovariate(self.per_s)
            else:
                next_s = math.inf if next_s >= LAST_S else next_s
                self._finish(now_s)
            if not self.running:
                self._cut(now_s, is_aware=is_aware)
        return {how: count / self.capacity for how, count in self.ended.items()}

    def _arrive(self, now_s: float, *, is_aware: bool) -> None:
        _, end_s = self.outlook.earliest(self.batcher.rows, 1)
        if is_aware and max(now_s, self.busy_until_s) + end_s > now_s + PATIENCE_S:
            self.ended["refused"] += 1
        else:
            self.batcher.admit(None, 1, now_s, now_s + PATIENCE_S)

    def _finish(self, now_s: float) -> None:
        for entry in self.running:
            self.ended["in time" if entry.deadline_s >= now_s else "late"] += 1
        self.running, self.end_s = [], math.inf

    def _cut(self, now_s: float, *, is_aware: bool) -> None:
        outlook, rows = self.outlook, min(self.batcher.rows, LIMITS.max_batch_size)
        times = (outlook.least_s(1), outlook.least_s(rows)) if is_aware else ()
        cut = self.batcher.cut(now_s, *times)
        self.ended["refused"] += len(cut.expired)
        self.running = cut.batch
        if cut.batch:
            took_s = measured_s(len(cut.batch)) * self.random.uniform(*NOISE)
            self.end_s, self.busy_until_s = now_s + took_s, now_s + outlook.least_s(len(cut.batch))
            outlook.learn(len(cut.batch), took_s)


@pytest.mark.parametrize("load", [1.2, 2.0])
def test_most_of_what_can_be_answered_in_time_is(load: float) -> None:
    aware, unaware = (Overload(load).play(is_aware=is_aware) for is_aware in (True, False))

    assert aware["in time"] > 0.7
    assert aware["late"] < 0.3
    # Else each batch is of requests that have just time enough to begin.
    assert unaware["in time"] < 0.2


def test_without_an_overload_nobody_is_refused() -> None:
    assert Overload(0.8).play(is_aware=True)["refused"] == 0

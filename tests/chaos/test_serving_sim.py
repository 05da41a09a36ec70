"""The simulation of serving: its seeds, and that it notices what is planted."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from inferer import batcher, versions
from inferer.batcher import Batcher, Cut
from inferer.versions import Plan, Retention, Serving, Stored
from tests.chaos.sim import serving, serving_owner

SEEDS = range(300)


def test_serving_keeps_its_promises_under_simulation() -> None:
    results = [serving.run(seed) for seed in SEEDS]

    assert [(found.seed, found.violations) for found in results if found.violations] == []
    for what in ("requests", "batches", "loads", "swaps"):
        assert sum(found.counts.get(what, 0) for found in results) > len(SEEDS)


def test_a_seed_gives_the_same_run_again() -> None:
    told: list[list[str]] = []
    for _ in range(2):
        run = serving.Run(5, is_told=True)
        run.play()
        told.append(run.told)

    assert told[0] == told[1]
    assert len(told[0]) > 20


def found(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The invariants that some seed finds violated; each violation comes with its story."""
    results = [serving.run(seed) for seed in SEEDS]
    assert all(result.story for result in results if result.violations)
    monkeypatch.undo()
    return {violation.invariant for result in results for violation in result.violations}


Waiting = Batcher[object]


def test_a_deadline_that_is_not_checked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Waiting.cut

    def cut(self: Waiting, now_s: float) -> Cut[object]:
        del now_s
        return real(self, -math.inf)

    monkeypatch.setattr(batcher.Batcher, "cut", cut)
    assert "DEADLINE" in found(monkeypatch)


def test_a_request_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Waiting.cut

    def cut(self: Waiting, now_s: float) -> Cut[object]:
        left = real(self, now_s)
        return Cut(left.batch[:2], left.expired)

    monkeypatch.setattr(batcher.Batcher, "cut", cut)
    assert "J5" in found(monkeypatch)


def test_priorities_that_are_mixed_up_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Waiting._level

    def level(self: Waiting, priority: int) -> object:
        return real(self, 3 - priority if priority in (1, 2) else priority)

    monkeypatch.setattr(batcher.Batcher, "_level", level)
    assert {"J9", "ORDER"} <= found(monkeypatch)


def nothing_serves(step: Plan) -> Plan:
    return replace(step, channels={})


def replaced_ones_go_at_once(step: Plan) -> Plan:
    return replace(step, unload=step.unload | step.replaced)


def channels_go_back(step: Plan) -> Plan:
    return replace(step, channels=dict.fromkeys(step.channels, 1))


@pytest.mark.parametrize(
    ("change", "invariant"),
    [(nothing_serves, "J5"), (replaced_ones_go_at_once, "J5"), (channels_go_back, "J4")],
)
def test_a_wrong_policy_is_found(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Plan], Plan], invariant: str
) -> None:
    def wrong(stored: Stored, state: Serving, now_s: float, retention: Retention) -> Plan:
        return change(versions.plan(stored, state, now_s, retention))

    monkeypatch.setattr(serving_owner, "plan", wrong)
    assert invariant in found(monkeypatch)

"""The collection that every API process does now and then."""

import asyncio
import logging

import pytest

from trainer.housekeeping import FIRST_S, Housekeeper
from trainer.outage import Outages
from twofold import housekeeping
from twofold.collector import Policy, Removal
from twofold.errors import Conflict
from twofold.housekeeping import Place
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, World
from twofold.store import LocalStore, StoreError

ENOUGH = 5


class QuickClock(SystemClock):
    """Remembers waits, and does not wait."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def sleep(self, delay_s: float) -> None:
        self.waits_s.append(delay_s)
        if len(self.waits_s) > ENOUGH:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


def housekeeper(store: LocalStore, clock: QuickClock, interval_s: float) -> Housekeeper:
    place = Place(store, RedisQueue("unix:///nowhere"), World(clock), "local")
    return Housekeeper(place, Policy(), interval_s, Outages())


async def test_collections_go_on_at_irregular_intervals_whatever_fails(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    removal = Removal("temporary", "tmp/a", "left behind", ("tmp/a",))
    results = [[removal], Conflict("busy"), StoreError("away"), RuntimeError("a defect"), []]

    async def collect(place: Place, policy: Policy) -> list[Removal]:
        assert (place.tenant, policy) == ("local", Policy())
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(housekeeping, "collect", collect)
    clock = QuickClock()
    with pytest.raises(asyncio.CancelledError):
        await housekeeper(store, clock, 3_600).run()

    assert results == []
    first_s, *later_s = clock.waits_s
    assert FIRST_S / 2 <= first_s < FIRST_S * 1.5
    assert all(1_800 <= wait_s < 5_400 for wait_s in later_s)
    assert len(set(later_s)) > 1
    assert [record.message for record in caplog.records] == [
        "store collected",
        "out of reach",
        "the store cannot be collected",
        "in reach again",
    ]


async def test_an_interval_of_zero_means_never(store: LocalStore) -> None:
    clock = QuickClock()
    await housekeeper(store, clock, 0).run()

    assert clock.waits_s == []

"""An inferer goes on with what it has loaded when a collector removes it from the store."""

import pytest

from inferer.versions import DEFAULT, Retention, Serving, Stored, plan
from inferer.watcher import StoreReader
from tests.twofold.samples import TENANT, export, sample_attempt, trained_manifest
from twofold import housekeeping, publish
from twofold.collector import Policy
from twofold.housekeeping import Place
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, World
from twofold.store import LocalStore

MODEL = "digits"
RETENTION = Retention(grace_s=0)


async def collected(store: LocalStore, keep: int) -> Stored:
    """What the inferer sees once 4 versions were published and all but the last `keep` removed."""
    for number in range(4):
        attempt = sample_attempt(1, f"01J0000000000000000000000{number}")
        export(store, attempt)
        publish.publish(
            store, SystemClock(), attempt, trained_manifest(MODEL), may_decide=lambda: True
        )
    place = Place(store, RedisQueue("unix:///nowhere"), World(), TENANT)
    assert await housekeeping.collect(place, Policy(keep_versions=keep))
    return StoreReader(store, TENANT).model(MODEL)


@pytest.mark.parametrize("bad", [frozenset({3, 4}), frozenset({4})])
async def test_the_version_that_serves_stays_while_none_newer_can(
    store: LocalStore, bad: frozenset[int]
) -> None:
    """This inferer refused the newer ones, or has not loaded them yet."""
    stored = await collected(store, keep=2)
    assert stored.numbers == {3, 4}
    serving = Serving(loaded={2}, bad=bad, channels={DEFAULT: 2})

    step = plan(stored, serving, 1_000, RETENTION)

    assert step.channels[DEFAULT] == 2
    assert step.unload == frozenset()
    assert step.load == (None if 3 in bad else 3)


async def test_it_is_let_go_once_a_newer_one_serves(store: LocalStore) -> None:
    stored = await collected(store, keep=1)
    serving = Serving(loaded={2, 4}, channels={DEFAULT: 2})
    step = plan(stored, serving, 1_000, RETENTION)
    assert step.channels[DEFAULT] == 4

    later = Serving(loaded={2, 4}, channels=step.channels, replaced={2: 1_000})
    assert plan(stored, later, 2_000, RETENTION).unload == {2}


async def test_a_loaded_version_that_is_asked_for_by_number_stays(store: LocalStore) -> None:
    stored = await collected(store, keep=1)
    serving = Serving(loaded={2, 4}, channels={DEFAULT: 4}, pinned={2: 900})

    assert plan(stored, serving, 1_000, RETENTION).unload == frozenset()

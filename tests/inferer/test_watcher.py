import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer import watcher
from inferer.models import Models, Served
from inferer.reference import Reference
from inferer.watcher import Misses, StoreReader, Watcher
from tests.inferer import artifacts
from tests.inferer.fakes import FakeClock, served
from tests.waiting import until
from twofold import keys
from twofold.errors import Unavailable
from twofold.principal import LOCAL
from twofold.seams import SystemClock
from twofold.store import LocalStore, StoreError
from twofold.versions import VersionState, set_alias, withdraw


class FlakyStore(LocalStore):
    """Counts folder listings; fails while told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_away = False
        self.listings = 0

    def names(self, key: str) -> list[str]:
        self.listings += 1
        if self.is_away:
            raise StoreError("the store cannot be used now; try again later")
        return super().names(key)


@pytest.fixture
def store(tmp_path: Path) -> FlakyStore:
    return FlakyStore(tmp_path / "store")


def put(store: LocalStore, model: str = "m") -> int:
    return artifacts.put(store, model, artifacts.constant(1))


class Bench:
    def __init__(
        self, store: LocalStore, events: Callable[[], AsyncIterator[None]] | None = None
    ) -> None:
        self.clock = FakeClock()
        self.models = Models(self._load, self.clock)
        reader = StoreReader(store, LOCAL.tenant)
        self.watcher = Watcher(reader, self.models, self.clock, 3600, events)

    async def _load(self, name: str, number: int) -> Served:
        return served(name, number, self.clock)

    def stored(self) -> list[tuple[str, int]]:
        return [(status.model, status.number) for status in self.models.index()]


def test_a_look_finds_versions_withdrawals_and_aliases(store: FlakyStore) -> None:
    clock = SystemClock()
    for _ in range(2):
        put(store)
    withdraw(store, clock, LOCAL, "m", 1)
    set_alias(store, clock, LOCAL, "m", "stable", 1)

    found = StoreReader(store, LOCAL.tenant).look(set(), {})

    assert found.models["m"].versions == (
        VersionState(1, withdrawn=True),
        VersionState(2, withdrawn=False),
    )
    assert found.models["m"].aliases == {"stable": 1}


def test_half_made_versions_and_junk_are_not_seen(store: FlakyStore) -> None:
    put(store)
    store.create(keys.version_claim(LOCAL.tenant, "m", 2), b"")
    store.create(keys.version_staged(LOCAL.tenant, "m", 2), b"{}")
    for name in ("Capitals", "no-versions", "latest"):
        store.make_folder(f"local/models/{name}/1")

    found = StoreReader(store, LOCAL.tenant).look(set(), {})

    assert list(found.models) == ["m"]
    assert [version.number for version in found.models["m"].versions] == [1]


def test_junk_crowds_nothing_known_out(store: FlakyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "MAX_MODELS", 3)
    put(store, "z-known")
    for index in range(9):
        store.make_folder(f"local/models/junk{index}")
    store.listings = 0

    found = StoreReader(store, LOCAL.tenant).look({"z-known"}, {})

    assert list(found.models) == ["z-known"]
    assert store.listings <= 1 + 3 * 2


def test_a_replaced_manifest_is_noticed(store: FlakyStore) -> None:
    put(store)
    reader = StoreReader(store, LOCAL.tenant)

    assert reader.look(set(), {("m", 1): "another"}).repaired == {("m", 1)}
    assert reader.look(set(), {("m", 9): "gone"}).repaired == frozenset()


async def test_an_outage_changes_nothing_and_is_one_line_in_the_log(
    store: FlakyStore, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(store)
    await asyncio.to_thread(put, store)
    await bench.watcher.look()
    before = bench.stored()
    store.is_away = True
    for _ in range(3):
        await bench.watcher.look()
        assert not await bench.watcher.missed("other")
        bench.clock.now_s += 2

    assert bench.stored() == before == [("m", 1)]
    lines = [record.message for record in caplog.records]
    assert len([line for line in lines if line.startswith("not readable")]) == 2
    store.is_away = False
    await asyncio.to_thread(put, store)
    await bench.watcher.look()
    assert bench.stored() == [("m", 1), ("m", 2)]


async def test_an_unknown_name_is_looked_up_once_a_second(store: FlakyStore) -> None:
    bench = Bench(store)
    store.listings = 0
    for _ in range(1000):
        await bench.watcher.missed("nothing")
        bench.clock.now_s += 0.002

    assert store.listings == 2


async def test_a_name_that_came_meanwhile_is_found(store: FlakyStore) -> None:
    bench = Bench(store)
    await asyncio.to_thread(put, store)

    assert await bench.watcher.missed("m")
    assert bench.stored() == [("m", 1)]


async def test_events_make_it_look_and_a_broken_source_is_followed_again(
    store: FlakyStore,
) -> None:
    news: asyncio.Queue[bool] = asyncio.Queue()

    async def events() -> AsyncIterator[None]:
        while await news.get():
            yield
        raise Unavailable("away")

    async def sees(number: int) -> bool:
        return bench.stored()[-1:] == [("m", number)]

    bench = Bench(store, events)
    tasks = [asyncio.create_task(bench.watcher.run()), asyncio.create_task(bench.models.run())]
    for number, is_there in ((1, True), (2, True), (3, False), (4, True)):
        await asyncio.to_thread(put, store)
        news.put_nowait(is_there)
        await until(functools.partial(sees, number))
    found = await bench.models.find("m", Reference(), bench.clock.now_s + 5)

    assert found.number == 4
    for task in tasks:
        task.cancel()


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 0.5)), max_size=200))
def test_misses_are_bounded(asked: list[tuple[str, float]]) -> None:
    """Per name once a second, in all once per 50 ms, and little is remembered."""
    misses, now_s = Misses(), 0.0
    looked: list[tuple[str, float]] = []
    for name, gap_s in asked:
        now_s += gap_s
        if misses.may_look(name, now_s):
            assert all(now_s - at_s >= 0.05 - 1e-9 for _, at_s in looked)
            assert all(now_s - at_s >= 1 - 1e-9 for seen, at_s in looked if seen == name)
            looked.append((name, now_s))

    assert len(misses._looked) <= 21
    assert looked or not asked

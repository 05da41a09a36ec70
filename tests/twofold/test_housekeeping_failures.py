"""Collecting when something is odd: names, disks, clocks, cancellations and late repeats."""

import asyncio
import errno
import logging
import threading
from pathlib import Path

import pytest

from tests.twofold.house import DAY_MS, JOBS, MODEL, POLICY, REQUEST, House, ShiftedClock
from tests.twofold.samples import TENANT
from tests.waiting import until
from twofold import collector, housekeeping, inventory, keys, locks, versions
from twofold.collector import UNKNOWN_MS
from twofold.errors import Conflict
from twofold.principal import LOCAL
from twofold.store import LocalStore, StoreError

ODD = (".nfs000000000001", ".DS_Store", "a b")
ATTEMPT = "01J000000000000000000000A1"


@pytest.fixture
def house(store: LocalStore) -> House:
    return House(store)


async def test_names_that_are_none_of_ours_stay_and_keep_nothing_else(house: House) -> None:
    house.publish(1)
    versions.withdraw(house.store, house.clock, LOCAL, MODEL, 1)
    live, ended = house.add_job(2), house.add_job(3)
    house.fail(3)
    for job in (live, ended):
        house.store.create(f"{keys.attempt_checkpoints(TENANT, job, ATTEMPT)}/1.safetensors", b"x")
    house.store.temporary().write_bytes(b"x")
    folders = (
        "tmp",
        TENANT,
        keys.requests(TENANT),
        keys.models(TENANT),
        keys.version(TENANT, MODEL, 1),
        keys.jobs(TENANT),
        keys.job(TENANT, live),
        keys.job_checkpoints(TENANT, live),
        keys.job_checkpoints(TENANT, ended),
        f"{keys.job(TENANT, ended)}/artifacts",
        keys.datasets(TENANT),
    )
    odd = [house.store.make_folder(folder) / name for folder in folders for name in ODD]
    for path in odd:
        path.write_bytes(b"x")
    house.clock.shift_ms = 2 * DAY_MS

    gone = await house.collect()

    assert gone[:1] == ["models/digits/versions/1"]
    assert f"jobs/{ended}/checkpoints/{ATTEMPT}" in gone
    assert house.store.names("tmp") == sorted(ODD)
    assert [path for path in odd if not path.exists()] == []
    assert await house.collect() == []


async def test_a_job_folder_with_something_else_in_it_keeps_that(house: House) -> None:
    notes = house.store.make_folder(keys.job(TENANT, house.add_job(1))) / ".DS_Store"
    house.fail(1)
    notes.write_bytes(b"x")
    house.clock.shift_ms = 31 * DAY_MS

    for _ in range(2):
        assert await house.collect() == []
        assert house.store.names(keys.job(TENANT, JOBS[1])) == [".DS_Store"]
        house.clock.shift_ms += 2 * DAY_MS


class StubbornStore(LocalStore):
    """One thing cannot be removed."""

    stubborn = ""

    def remove(self, key: str) -> None:
        if key == self.stubborn:
            raise StoreError("a device is busy")
        super().remove(key)


async def test_what_cannot_be_removed_keeps_nothing_else_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = StubbornStore(tmp_path / "store")
    house = House(store)
    for number in range(1, 6):
        house.publish(number)
    store.stubborn = keys.version_claim(TENANT, MODEL, 1)

    with pytest.raises(StoreError, match="busy"):
        await house.collect()
    assert house.visible() == [1, 4, 5]
    (told,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert told.__dict__["resource"] == "models/digits/versions/1"

    store.stubborn = ""
    assert await house.collect() == ["models/digits/versions/1"]


async def test_a_binding_that_stays_keeps_its_job(tmp_path: Path) -> None:
    """Else a repeat would find the binding and make the job anew."""
    store = StubbornStore(tmp_path / "store")
    house = House(store)
    for number in (1, 2):
        house.add_job(number)
        house.fail(number)
    house.bind(1)
    store.stubborn = keys.request(TENANT, REQUEST)
    house.clock.shift_ms = 31 * DAY_MS

    with pytest.raises(StoreError):
        await house.collect()
    assert store.names(keys.jobs(TENANT)) == [JOBS[1]]

    store.stubborn = ""
    assert await house.collect() == [f"requests/{REQUEST}", f"jobs/{JOBS[1]}"]


class SlowStore(LocalStore):
    """Its removals wait until a test lets them go on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def remove(self, key: str) -> None:
        self.entered.set()
        assert self.may_go_on.wait(20)
        super().remove(key)


def is_locked(house: House) -> bool:
    try:
        with locks.held(house.store.path(keys.collector_lock(TENANT)), "busy"):
            return False
    except Conflict:
        return True


@pytest.mark.parametrize("are_all", [False, True], ids=["the caller", "every task"])
async def test_a_cancelled_collection_stays_locked_until_its_thread_is_done(
    tmp_path: Path, *, are_all: bool
) -> None:
    """Else another's removal, and a user's new binding, could come in between."""
    store = SlowStore(tmp_path / "store")
    house = House(store)
    for number in range(1, 6):
        house.publish(number)
    collecting = asyncio.create_task(house.collect())
    others = asyncio.all_tasks() - {asyncio.current_task(), collecting}
    assert await asyncio.to_thread(store.entered.wait, 20)

    started = asyncio.all_tasks() - others - {asyncio.current_task()}
    for task in started if are_all else {collecting}:
        task.cancel()
    await asyncio.wait([collecting], timeout=None if are_all else 0.0)
    assert is_locked(house)

    store.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await collecting

    async def is_free() -> bool:
        return not is_locked(house)

    await until(is_free)
    assert house.visible() == [2, 3, 4, 5]
    assert await house.collect() != []


async def test_nothing_that_may_block_is_done_on_the_loop(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, int] = {}

    def watch(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def watched(*arguments: object) -> object:
            threads[name] = threading.get_ident()
            return real(*arguments)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in [
        (house.store, "temporary"),
        (locks, "held"),
        (inventory, "read"),
        (inventory, "live_jobs"),
        (collector, "plan"),
    ]:
        watch(owner, name)

    await house.collect()

    assert len(threads) == 5
    assert threading.get_ident() not in threads.values()


async def test_a_clock_that_is_ahead_removes_nothing_early(house: House) -> None:
    house.queue.clock = ShiftedClock()
    house.bind(1)
    house.add_job(2)
    house.fail(2)
    house.store.temporary().write_bytes(b"x")
    sha256 = "a" * 64
    house.store.create(keys.dataset_file(TENANT, sha256), b"x")
    house.clock.shift_ms = 40 * DAY_MS

    assert await house.collect() == []
    house.queue.clock.shift_ms = 40 * DAY_MS
    assert len(await house.collect()) == 4


async def test_a_queues_clock_that_is_ahead_removes_nothing_early(house: House) -> None:
    house.queue.clock = ShiftedClock()
    house.queue.clock.shift_ms = 40 * DAY_MS
    house.bind(1)

    assert await house.collect() == []


async def test_a_binding_that_a_clock_behind_wrote_stays_for_a_day(house: House) -> None:
    house.clock.shift_ms = -2 * DAY_MS
    house.bind(1)
    house.clock.shift_ms = 0

    assert await house.collect() == []
    house.clock.shift_ms = DAY_MS + 1_000
    assert await house.collect() == [f"requests/{REQUEST}"]


async def test_without_the_queues_clock_bindings_and_jobs_stay(house: House) -> None:
    house.bind(1)
    house.add_job(2)
    house.fail(2)
    house.queue.attempts = None
    house.clock.shift_ms = 40 * DAY_MS

    assert await house.collect() == []
    house.queue.attempts = {}
    assert await house.collect() == [f"requests/{REQUEST}", f"jobs/{JOBS[2]}"]


async def test_what_the_disk_does_not_tell_the_age_of_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = "a" * 64
    house.bind(1)
    house.store.create(keys.dataset_file(TENANT, sha256), b"x")
    house.store.temporary().write_bytes(b"x")
    house.store.make_folder(keys.job(TENANT, JOBS[2]))
    for number in (3, 4):
        house.publish(number)
    for left in (keys.version_claim, keys.version_manifest):
        house.store.remove(left(TENANT, MODEL, 1))
    house.store.create(f"{keys.attempt_checkpoints(TENANT, JOBS[3], ATTEMPT)}/1", b"x")
    house.clock.shift_ms = 2 * DAY_MS
    planned = await housekeeping.survey(house.place, POLICY)
    assert {one.kind for one in planned} == {
        "request",
        "version",
        "upload",
        "job",
        "scratch",
        "temporary",
    }

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(Path, "lstat", fail)
    assert inventory.changed_ms(house.store, "tmp") == UNKNOWN_MS
    assert await housekeeping.survey(house.place, POLICY) == []


class RepeatedStore(LocalStore):
    """A repeat, which has read the binding, writes the job's record at step `at` of a removal."""

    at = 0
    steps = 0
    is_written = False

    def _step(self) -> None:
        self.steps += self.steps > 0
        if self.steps > self.at and not self.is_written:
            self.is_written = True
            super().create(keys.job_spec(TENANT, JOBS[1]), b"spec")

    def remove(self, key: str) -> None:
        self.steps = self.steps or int(key == keys.request(TENANT, REQUEST))
        self._step()
        super().remove(key)

    def names(self, key: str) -> list[str]:
        self._step()
        found = super().names(key)
        self._step()
        return found

    def exists(self, key: str) -> bool:
        found = super().exists(key)
        self._step()
        return found

    def path(self, key: str) -> Path:
        self._step()
        return super().path(key)


async def repeated_at(folder: Path, at: int, parts: tuple[str, ...]) -> RepeatedStore:
    """A store that was collected while a repeat came at step `at`."""
    store = RepeatedStore(folder)
    house = House(store)
    house.bind(1)
    store.make_folder(keys.job(TENANT, JOBS[1]))
    for part in parts:
        store.make_folder(f"{keys.job(TENANT, JOBS[1])}/{part}")
    house.clock.shift_ms = 2 * DAY_MS
    store.at = at
    await house.collect()
    store.steps = 0
    return store


@pytest.mark.parametrize("parts", [(), ("outcome",), ("checkpoints", "artifacts")])
async def test_a_record_that_comes_while_its_folder_is_removed_stays(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    """A create was cut off after its folder was made; a day later it is repeated, and said OK."""
    at = 1
    while (store := await repeated_at(tmp_path / f"store{at}", at, parts)).is_written:
        assert not store.exists(keys.request(TENANT, REQUEST))
        found = store.names(keys.job(TENANT, JOBS[1]))
        assert "spec.pb" in found
        assert at > 1 or found == sorted((*parts, "spec.pb"))
        at += 1

    assert at > 4
    assert store.names(keys.jobs(TENANT)) == []

"""Collecting a real store: what readers, publishers and crashes see of it."""

from pathlib import Path

import pytest

from tests.twofold.house import DAY_MS, JOBS, MODEL, POLICY, REQUEST, House
from tests.twofold.samples import FILES, TENANT, sample_attempt
from twofold import housekeeping, keys, locks, publish, versions
from twofold.errors import Conflict, NotFound
from twofold.principal import LOCAL
from twofold.store import LocalStore


@pytest.fixture
def house(store: LocalStore) -> House:
    return House(store)


def claim_only(house: House, number: int, job: str) -> int:
    """A publisher that was killed after its claim."""
    attempt = sample_attempt(1, job)
    claimed = publish._claim(house.store, house.clock, attempt, MODEL)
    assert claimed == number
    house.store.create(f"{keys.version(TENANT, MODEL, number)}/graph.pb", b"graph")
    return claimed


async def test_old_versions_go_and_all_else_of_a_model_stays(house: House) -> None:
    for number in range(1, 6):
        house.publish(number)
    versions.set_alias(house.store, house.clock, LOCAL, MODEL, "stable", 2)

    gone = await house.collect()

    assert gone == ["models/digits/versions/1", "models/digits/versions/3"]
    assert house.visible() == [2, 4, 5]
    assert house.store.names(keys.model(TENANT, MODEL)) == ["2", "4", "5", "aliases"]
    for number in house.visible():
        manifest, _ = versions.read_manifest(house.store, TENANT, MODEL, number)
        assert {file.name for file in manifest.files} == FILES.keys()
    assert await house.collect() == []


async def test_a_dry_run_says_what_a_run_does_and_removes_nothing(house: House) -> None:
    for number in range(1, 6):
        house.publish(number)

    planned = await housekeeping.survey(house.place, POLICY)

    assert house.visible() == [1, 2, 3, 4, 5]
    assert [removal.name for removal in planned] == await house.collect()
    assert house.visible() == [4, 5]


async def test_a_removed_version_stays_removed_whoever_completes_its_outcome(house: House) -> None:
    outcomes = [house.publish(number) for number in range(1, 5)]
    versions.withdraw(house.store, house.clock, LOCAL, MODEL, 4)
    house.clock.shift_ms = 2 * DAY_MS
    await house.collect()
    assert house.visible() == [2, 3]

    for outcome in outcomes:
        publish.complete(house.store, TENANT, outcome)

    assert house.visible() == [2, 3]


async def test_the_highest_number_is_not_taken_again_after_it_was_removed(house: House) -> None:
    house.publish(1)
    house.publish(2)
    versions.withdraw(house.store, house.clock, LOCAL, MODEL, 2)
    house.clock.shift_ms = 2 * DAY_MS

    assert "models/digits/versions/2" in await house.collect()
    assert house.store.names(keys.version(TENANT, MODEL, 2)) == ["claim", "withdrawn.json"]
    assert await house.collect() == []
    assert house.publish(3).version == 3


async def test_a_number_that_was_swept_is_given_up_by_who_was_stopped_before_taking_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between its look at the numbers and its claim, for longer than the grace time."""
    look = publish._highest
    looks: list[int] = []

    def stopped(store: LocalStore, tenant: str, model: str) -> int:
        looks.append(look(store, tenant, model))
        if len(looks) == 1:
            claim_then_sweep(house)
        return looks[-1]

    def claim_then_sweep(house: House) -> None:
        monkeypatch.setattr(publish, "_highest", look)
        claim_only(house, 1, house.add_job(1))
        house.publish(2)
        house.store.remove(keys.version(TENANT, MODEL, 1))
        monkeypatch.setattr(publish, "_highest", stopped)

    monkeypatch.setattr(publish, "_highest", stopped)

    assert house.publish(3).version == 3
    assert house.visible() == [2, 3]
    assert looks == [0, 2, 2, 3]


async def test_orphaned_claims_go_once_their_job_has_ended_otherwise(house: House) -> None:
    for number in (1, 2):
        claim_only(house, number, house.add_job(number))
    claim_only(house, 3, JOBS[3])  # whose job is gone
    house.publish(4)
    house.fail(1)
    assert await house.collect() == []
    house.clock.shift_ms = 2 * DAY_MS

    gone = await house.collect()

    assert gone == [
        "models/digits/versions/1",
        "models/digits/versions/3",
        *[f"jobs/{JOBS[4]}/artifacts/{sample_attempt().attempt}"],
    ]
    assert house.store.names(keys.version(TENANT, MODEL, 2)) == ["claim", "graph.pb"]


async def test_an_alias_set_while_its_version_is_removed_keeps_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        house.publish(number)
    remove = house.store.remove

    def then_alias(key: str) -> None:
        if key == keys.version_manifest(TENANT, MODEL, 1):
            # The last moment at which the version still looks as if it stayed.
            versions.set_alias(house.store, house.clock, LOCAL, MODEL, "pin", 1)
        remove(key)

    monkeypatch.setattr(house.store, "remove", then_alias)

    assert await house.collect() == []
    assert house.visible() == [1, 2, 3]
    monkeypatch.undo()
    assert await house.collect() == []


async def test_an_alias_of_a_version_that_vanishes_meanwhile_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.publish(1)
    house.publish(2)
    create = house.store.create

    def after_removal(key: str, data: bytes) -> bool:
        house.store.remove(keys.version_manifest(TENANT, MODEL, 1))
        return create(key, data)

    monkeypatch.setattr(house.store, "create", after_removal)
    with pytest.raises(NotFound):
        versions.set_alias(house.store, house.clock, LOCAL, MODEL, "pin", 1)

    assert versions.read_aliases(house.store, TENANT, MODEL) == {}


class Crash(Exception):
    """Where the collector died."""


class DyingStore(LocalStore):
    """Dies at its removal number `step`."""

    step = 0

    def remove(self, key: str) -> None:
        self.step -= 1
        if self.step == 0:
            raise Crash
        super().remove(key)


async def test_a_crash_at_any_step_leaves_a_store_that_the_next_run_finishes(
    tmp_path: Path,
) -> None:
    """In between nobody sees half a version, and no job that has ended comes alive."""
    is_done = False
    for step in range(1, 20):
        store = DyingStore(tmp_path / f"store{step}")
        house = House(store)
        for number in range(1, 4):
            house.publish(number)
        house.add_job(4)
        house.fail(4)
        house.clock.shift_ms = 31 * DAY_MS
        store.step = step
        try:
            await house.collect()
            is_done = True
        except Crash:
            assert_sound(house)
        store.step = 0
        house.clock.shift_ms += 31 * DAY_MS
        await house.collect()
        await house.collect()  # a job goes only once its version is seen to be gone
        assert store.names(keys.model(TENANT, MODEL)) == ["2", "3"]
        assert store.names(keys.jobs(TENANT)) == [JOBS[2], JOBS[3]]
    assert is_done


def assert_sound(house: House) -> None:
    for number in house.visible():
        assert set(house.store.names(keys.version(TENANT, MODEL, number))) >= FILES.keys()
    for job in house.store.names(keys.jobs(TENANT)):
        if house.store.exists(keys.job_spec(TENANT, job)):
            assert publish.read_outcome(house.store, TENANT, job) is not None


async def test_a_live_job_keeps_its_newest_checkpoint_whatever_its_age(house: House) -> None:
    job = house.add_job(1)
    attempts = [f"01J000000000000000000000A{number}" for number in range(1, 4)]
    for steps, attempt in zip((10, 30, 20), attempts, strict=True):
        folder = keys.attempt_checkpoints(TENANT, job, attempt)
        house.store.create(f"{folder}/{steps}.safetensors", b"x")
    house.clock.shift_ms = 2 * DAY_MS

    house.queue.attempts = None
    assert await house.collect() == []
    house.queue.attempts = {job: attempts[2]}
    assert await house.collect() == [f"jobs/{job}/checkpoints/{attempts[0]}"]
    house.queue.attempts = {job: ""}
    assert await house.collect() == [f"jobs/{job}/checkpoints/{attempts[2]}"]
    assert house.store.names(keys.job_checkpoints(TENANT, job)) == [attempts[1]]


async def test_bindings_of_requests_stay_for_a_day(house: House) -> None:
    house.bind(1)
    house.clock.shift_ms = DAY_MS - 1_000
    assert await house.collect() == []
    house.clock.shift_ms = DAY_MS + 1_000

    assert await house.collect() == [f"requests/{REQUEST}"]
    assert house.store.names(keys.requests(TENANT)) == []


async def test_what_is_unknown_stays(house: House) -> None:
    unknown = [
        f"{TENANT}/models/{MODEL}/07/claim",
        f"{TENANT}/models/{MODEL}/notes/readme",
        f"{TENANT}/models/latest/1/graph.pb",
        f"{TENANT}/jobs/notes/readme",
        f"{TENANT}/requests/notes",
        f"{TENANT}/datasets/notes/readme",
        "tmp/notes",
        "other/jobs/notes/readme",
    ]
    for key in unknown:
        house.store.create(key, b"x")
    house.publish(1)
    house.store.create(keys.version_claim(TENANT, MODEL, 2), b"\xff not a claim")
    house.publish(3)
    house.store.create(keys.job_outcome(TENANT, house.add_job(4)), b"\xff not an outcome")
    house.clock.shift_ms = 100 * DAY_MS

    await house.collect()

    assert [key for key in unknown if not house.store.exists(key)] == []
    assert house.store.exists(keys.version_claim(TENANT, MODEL, 2))
    assert house.store.exists(keys.job_spec(TENANT, JOBS[4]))


async def test_abandoned_bytes_go_unless_a_record_makes_them_visible(house: House) -> None:
    abandoned, whole = "a" * 64, "b" * 64
    for sha256 in (abandoned, whole):
        house.store.create(keys.dataset_file(TENANT, sha256), b"x")
        house.store.path(keys.upload_part(TENANT, sha256)).write_bytes(b"x")
    house.store.create(keys.dataset_record(TENANT, whole), b"{}")
    house.store.temporary().write_bytes(b"x")
    assert await house.collect() == []
    house.clock.shift_ms = 2 * DAY_MS

    await house.collect()

    assert house.store.names(keys.datasets(TENANT)) == [whole]
    assert house.store.exists(keys.dataset_file(TENANT, whole))
    assert house.store.names("tmp") == []


async def test_bytes_that_somebody_is_at_stay(house: House) -> None:
    sha256 = "a" * 64
    house.store.create(keys.dataset_file(TENANT, sha256), b"x")
    house.clock.shift_ms = 2 * DAY_MS

    with locks.held(house.store.path(keys.upload_lock(TENANT, sha256)), "busy"):
        assert await house.collect() == []
    assert await house.collect() == [f"uploads/{sha256}"]


async def test_one_collector_at_a_time(house: House) -> None:
    house.store.temporary()
    with locks.held(house.store.path(keys.collector_lock(TENANT)), "busy"):
        with pytest.raises(Conflict, match="another process collects"):
            await house.collect()
        assert await housekeeping.survey(house.place, POLICY) == []
    assert await house.collect() == []

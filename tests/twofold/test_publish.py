"""Publishing: exactly once, never half, whatever fails where."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.twofold.samples import FILES, JOB, TENANT, export, sample_attempt, trained_manifest
from twofold import faults, keys, manifest, versions
from twofold.errors import Corrupt, InvalidField
from twofold.internal.v1 import record_pb2
from twofold.publish import Attempt, Fenced, complete, decide_outcome, publish, read_outcome
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.v1 import model_pb2, training_pb2

CLOCK = SystemClock()
POINTS = [
    "store.create.written",
    "store.create.linked",
    "publish.claimed",
    "publish.linked",
    "publish.staged",
    "publish.decided",
    "publish.visible",
]


class Crash(Exception):
    """Armed at fault points."""


def crash() -> None:
    raise Crash


def crash_at(hit: int) -> Callable[[], None]:
    count = 0

    def action() -> None:
        nonlocal count
        count += 1
        if count == hit:
            raise Crash

    return action


def run(store: LocalStore, attempt: Attempt) -> record_pb2.JobOutcome:
    export(store, attempt)
    return publish(store, CLOCK, attempt, trained_manifest(), may_decide=lambda: True)


def visible(store: LocalStore) -> list[int]:
    return [found.number for found in versions.visible_versions(store, TENANT, "digits")]


def check_whole(store: LocalStore, number: int) -> model_pb2.Manifest:
    """A visible version's manifest, after its files were checked."""
    found, _ = versions.read_manifest(store, TENANT, "digits", number)
    folder = keys.version(TENANT, "digits", number)
    files = {file.name: store.read(f"{folder}/{file.name}") or b"" for file in found.files}
    manifest.verify_files(found, files)
    assert set(files) == set(FILES)
    return found


def test_published_version_is_whole_and_knows_where_it_came_from(store: LocalStore) -> None:
    outcome = run(store, sample_attempt())

    assert outcome.state == training_pb2.JOB_STATE_SUCCEEDED
    assert (outcome.model, outcome.version) == ("digits", 1)
    found = check_whole(store, 1)
    assert found.lineage.job == f"jobs/{JOB}"
    assert found.lineage.attempt == sample_attempt().attempt
    assert found.lineage.epoch == 7
    assert read_outcome(store, TENANT, JOB) == outcome
    _, sha256 = versions.read_manifest(store, TENANT, "digits", 1)
    assert sha256 == outcome.manifest_sha256


def test_numbers_rise_from_job_to_job(store: LocalStore) -> None:
    jobs = [f"01J0000000000000000000000{n}" for n in range(3)]

    numbers = [run(store, sample_attempt(job=job)).version for job in jobs]

    assert numbers == [1, 2, 3]
    assert visible(store) == [1, 2, 3]


def test_publishing_again_returns_the_same_version(store: LocalStore) -> None:
    first = run(store, sample_attempt())

    assert run(store, sample_attempt()) == first
    assert run(store, sample_attempt(2)) == first
    assert visible(store) == [1]


@pytest.mark.parametrize("hit", [1, 2, 3, 4])
@pytest.mark.parametrize("point", POINTS)
def test_crash_at_any_point_and_another_attempt_completes(
    store: LocalStore, point: str, hit: int
) -> None:
    first = sample_attempt()
    export(store, first)
    faults.arm(point, crash_at(hit))
    with contextlib.suppress(Crash):
        publish(store, CLOCK, first, trained_manifest(), may_decide=lambda: True)
    faults.disarm()
    before = visible(store)
    for number in before:
        check_whole(store, number)
    decided = read_outcome(store, TENANT, JOB)

    outcome = run(store, sample_attempt(2))

    assert visible(store) == [outcome.version]
    check_whole(store, outcome.version)
    assert set(before) <= {outcome.version}
    assert decided is None or decided == outcome
    assert run(store, sample_attempt(job="01J0000000000000000000000Z")).version > outcome.version


@pytest.mark.parametrize("point", ["publish.claimed", "publish.linked", "publish.staged"])
def test_nothing_is_visible_before_the_decision(store: LocalStore, point: str) -> None:
    faults.arm(point, crash)

    with pytest.raises(Crash):
        run(store, sample_attempt())

    assert visible(store) == []
    assert versions.model_names(store, TENANT) == []
    assert read_outcome(store, TENANT, JOB) is None


def test_decided_version_can_be_completed_by_anyone(store: LocalStore) -> None:
    faults.arm("publish.decided", crash)
    with pytest.raises(Crash):
        run(store, sample_attempt())
    assert visible(store) == []
    outcome = read_outcome(store, TENANT, JOB)
    assert outcome is not None

    complete(store, TENANT, outcome)
    complete(store, TENANT, outcome)

    assert visible(store) == [1]
    check_whole(store, 1)


def test_fenced_attempt_decides_nothing_and_clears_up(store: LocalStore) -> None:
    attempt = sample_attempt()
    export(store, attempt)

    with pytest.raises(Fenced):
        publish(store, CLOCK, attempt, trained_manifest(), may_decide=lambda: False)

    assert read_outcome(store, TENANT, JOB) is None
    assert store.names(keys.version(TENANT, "digits", 1)) == ["claim"]
    assert run(store, sample_attempt(2)).version == 2


def test_cancel_asked_for_first_wins(store: LocalStore) -> None:
    store.create(keys.job_cancel(TENANT, JOB), b"")

    outcome = run(store, sample_attempt())

    assert outcome.state == training_pb2.JOB_STATE_CANCELLED
    assert outcome.reason == training_pb2.JOB_REASON_USER
    assert not outcome.version
    assert visible(store) == []
    assert store.names(keys.version(TENANT, "digits", 1)) == ["claim"]


def test_outcome_decided_meanwhile_wins_and_the_loser_clears_up(store: LocalStore) -> None:
    failed = record_pb2.JobOutcome(format_version=1, state=training_pb2.JOB_STATE_FAILED)
    faults.arm("publish.staged", lambda: _decide(store, failed))

    outcome = run(store, sample_attempt())

    assert outcome == failed
    assert visible(store) == []
    assert store.names(keys.version(TENANT, "digits", 1)) == ["claim"]


def test_two_attempts_that_race_make_one_version(store: LocalStore) -> None:
    """A zombie passes its last check, then the second attempt publishes first."""
    faults.arm("publish.staged", _once(lambda: run(store, sample_attempt(2))))

    outcome = run(store, sample_attempt(1))

    assert outcome.attempt == sample_attempt(2).attempt
    assert visible(store) == [outcome.version] == [2]
    assert store.names(keys.version(TENANT, "digits", 1)) == ["claim"]


def test_jobs_that_race_for_a_number_get_distinct_ones(store: LocalStore) -> None:
    jobs = [f"01J000000000000000000000{n:02}" for n in range(16)]

    def publish_job(job: str) -> record_pb2.JobOutcome:
        return run(store, sample_attempt(job=job))

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(publish_job, jobs))

    numbers = sorted(outcome.version for outcome in outcomes)
    assert len(set(numbers)) == len(jobs)
    assert visible(store) == numbers
    for number in numbers:
        check_whole(store, number)


def test_file_that_differs_from_the_manifest_is_not_published(store: LocalStore) -> None:
    attempt = sample_attempt()
    export(store, attempt)
    trained = trained_manifest()
    trained.files[1].sha256 = "0" * 64

    with pytest.raises(Corrupt, match=r"weights\.safetensors"):
        publish(store, CLOCK, attempt, trained, may_decide=lambda: True)

    assert visible(store) == []
    assert read_outcome(store, TENANT, JOB) is None


def test_manifest_that_readers_would_refuse_is_not_decided_on(store: LocalStore) -> None:
    attempt = sample_attempt()
    export(store, attempt)
    trained = trained_manifest()
    trained.files.append(trained.files[0])

    with pytest.raises(Corrupt):
        publish(store, CLOCK, attempt, trained, may_decide=lambda: True)

    assert read_outcome(store, TENANT, JOB) is None


@pytest.mark.parametrize("name", ["../../../etc/passwd", "manifest.json/x", ".hidden", "a\0.pb"])
def test_file_name_that_is_a_path_is_refused(store: LocalStore, name: str) -> None:
    trained = trained_manifest()
    trained.files[0].name = name

    with pytest.raises(Corrupt):
        publish(store, CLOCK, sample_attempt(), trained, may_decide=lambda: True)


def test_model_that_is_no_name_is_refused(store: LocalStore) -> None:
    with pytest.raises(InvalidField):
        publish(store, CLOCK, sample_attempt(), trained_manifest("../x"), may_decide=lambda: True)


def test_of_many_outcomes_one_stands(store: LocalStore) -> None:
    outcomes = [
        record_pb2.JobOutcome(format_version=1, state=training_pb2.JOB_STATE_FAILED, message=str(n))
        for n in range(16)
    ]

    def decide(outcome: record_pb2.JobOutcome) -> record_pb2.JobOutcome:
        return decide_outcome(store, TENANT, JOB, outcome)

    with ThreadPoolExecutor(8) as pool:
        standing = list(pool.map(decide, outcomes))

    assert len({outcome.message for outcome in standing}) == 1


@pytest.mark.parametrize(
    "data", [b"\xff\xff", record_pb2.JobOutcome(format_version=2).SerializeToString()]
)
def test_unreadable_outcome_is_corrupt(store: LocalStore, data: bytes) -> None:
    store.create(keys.job_outcome(TENANT, JOB), data)

    with pytest.raises(Corrupt):
        read_outcome(store, TENANT, JOB)


def test_staged_manifest_that_was_changed_is_not_made_visible(store: LocalStore) -> None:
    faults.arm("publish.decided", crash)
    with pytest.raises(Crash):
        run(store, sample_attempt())
    outcome = read_outcome(store, TENANT, JOB)
    assert outcome is not None
    store.path(keys.version_staged(TENANT, "digits", 1)).write_bytes(b"{}")

    with pytest.raises(Corrupt):
        complete(store, TENANT, outcome)

    assert visible(store) == []


def _decide(store: LocalStore, outcome: record_pb2.JobOutcome) -> None:
    decide_outcome(store, TENANT, JOB, outcome)


def _once(act: Callable[[], object]) -> Callable[[], None]:
    """An action that happens at the first hit only."""

    def action() -> None:
        faults.disarm()
        act()

    return action

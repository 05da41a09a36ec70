"""Where a series is looked for, and how it outlives the checkpoints beside which it was written."""

import pytest

from tests.twofold.house import JOBS, House
from tests.twofold.samples import TENANT
from tests.twofold.test_series import point, text
from twofold import formats, keys, publish, series, series_files
from twofold.collector import Policy
from twofold.errors import Corrupt
from twofold.internal.v1 import record_pb2
from twofold.jobs import Reason, State
from twofold.store import LocalStore

JOB = JOBS[0]
FIRST, SECOND, THIRD = (f"01J000000000000000000000A{number}" for number in (1, 2, 3))


def write(store: LocalStore, attempt: str, *epochs: int) -> None:
    key = keys.attempt_series(TENANT, JOB, attempt)
    store.create(key, text(*(point(epoch) for epoch in epochs)))


def end(store: LocalStore, attempt: str, state: State = State.JOB_STATE_FAILED) -> None:
    outcome = record_pb2.JobOutcome(
        format_version=formats.OUTCOME,
        state=state,
        reason=Reason.JOB_REASON_DATA,
        attempt=attempt,
    )
    publish.decide_outcome(store, TENANT, JOB, outcome)


def epochs(store: LocalStore) -> list[int]:
    return [one.epoch for one in series_files.read(store, TENANT, JOB).points]


def test_the_layout_names_the_file_as_the_child_does() -> None:
    for key in (keys.job_series(TENANT, JOB), keys.attempt_series(TENANT, JOB, FIRST)):
        assert key.endswith(f"/{series.FILE_NAME}")


def test_a_job_without_an_epoch_has_an_empty_series(store: LocalStore) -> None:
    assert epochs(store) == []
    write(store, FIRST)
    assert epochs(store) == []


def test_a_live_jobs_series_is_the_youngest_attempts_that_has_a_point(store: LocalStore) -> None:
    write(store, FIRST, 1, 2, 3)
    write(store, SECOND, 1, 2)
    write(store, THIRD)
    store.path(f"{keys.job_checkpoints(TENANT, JOB)}/{FIRST}").with_name("lost+found").mkdir()

    assert epochs(store) == [1, 2]


def test_an_attempt_that_lost_the_job_does_not_spoil_the_series(store: LocalStore) -> None:
    write(store, FIRST, 1, 2)
    write(store, SECOND, 1, 2, 3)
    end(store, FIRST, State.JOB_STATE_SUCCEEDED)

    assert epochs(store) == [1, 2]
    series_files.keep(store, TENANT, JOB)
    store.remove(keys.job_checkpoints(TENANT, JOB))
    assert epochs(store) == [1, 2]


def test_what_was_kept_is_not_written_again(store: LocalStore) -> None:
    write(store, FIRST, 1)
    series_files.keep(store, TENANT, JOB)
    write(store, SECOND, 1, 2)
    series_files.keep(store, TENANT, JOB)

    assert epochs(store) == [1]


def test_only_whole_lines_are_kept(store: LocalStore) -> None:
    whole = text(point(1), point(2))
    store.create(keys.attempt_series(TENANT, JOB, FIRST), whole + b'{"epoch":3,"st')
    series_files.keep(store, TENANT, JOB)

    assert store.read(keys.job_series(TENANT, JOB)) == whole


def test_a_job_without_a_series_keeps_none(store: LocalStore) -> None:
    series_files.keep(store, TENANT, JOB)

    assert not store.exists(keys.job_series(TENANT, JOB))


def test_a_series_that_cannot_be_read_is_told(store: LocalStore) -> None:
    store.create(keys.job_series(TENANT, JOB), b"junk\n")

    with pytest.raises(Corrupt):
        series_files.read(store, TENANT, JOB)


class EndingStore(LocalStore):
    """The job ends, and is cleared up after, between the first look and the second."""

    is_over = False

    def names(self, key: str) -> list[str]:
        if not self.is_over:
            self.is_over = True
            series_files.keep(self, TENANT, JOB)
            self.remove(keys.job_checkpoints(TENANT, JOB))
        return super().names(key)


def test_a_job_that_ends_while_it_is_read_is_read_again(store: LocalStore) -> None:
    write(store, FIRST, 1, 2)

    assert epochs(EndingStore(store.path("x").parent)) == [1, 2]


@pytest.mark.parametrize("is_over", [True, False])
async def test_the_collector_keeps_the_series_of_a_job_that_nobody_cleared_up(
    store: LocalStore,
    is_over: bool,  # noqa: FBT001
) -> None:
    house = House(store)
    house.add_job(0)
    write(store, FIRST, 1, 2)
    if is_over:
        house.fail(0)
    house.clock.shift_ms = 2 * 86_400_000
    house.queue.attempts = {} if is_over else {JOB: SECOND}

    gone = await house.collect(Policy())

    assert gone == [f"jobs/{JOB}/checkpoints/{FIRST}"]
    assert epochs(store) == ([1, 2] if is_over else [])

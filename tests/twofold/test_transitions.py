"""What each event changes: a table of cases, and what holds for every history."""

from dataclasses import replace

import pytest

from tests.twofold.samples import JOB, sample_record
from twofold.internal.v1 import record_pb2
from twofold.jobs import (
    Fenced,
    Job,
    Phase,
    Policy,
    Reason,
    State,
    Verdict,
    failed,
    new_job,
    outcome_of,
    to_proto,
    verdict_of,
)
from twofold.transitions import (
    Beat,
    CancelAsked,
    Claimed,
    Created,
    Decided,
    Due,
    Event,
    Evicted,
    Failed,
    HandedBack,
    LeaseLost,
    Restored,
    Stopped,
    backoff_ms,
    decide,
    ended_job,
)
from twofold.v1 import training_pb2

POLICY = Policy(lease_ms=1_000, retry_backoff_ms=100, max_backoff_ms=1_000)
NOW = 5_000
QUEUED = Job(id=JOB, model="digits", revision=1, entry="1-0", max_retries=2, create_ms=NOW)
RUNNING = QUEUED._replace(
    revision=2,
    state=State.JOB_STATE_RUNNING,
    phase=Phase.JOB_PHASE_TRAINING,
    attempt="A",
    owner="w",
    attempt_count=1,
    lease_until_ms=NOW + 1_000,
    start_ms=NOW,
)
CANCELLING = RUNNING._replace(state=State.JOB_STATE_CANCELLING)
WAIT = QUEUED._replace(phase=Phase.JOB_PHASE_RETRY_WAIT, entry="", due_ms=NOW + 10)
SUCCEEDED = Verdict(state=State.JOB_STATE_SUCCEEDED, version=3, end_ms=NOW)
ENDED = QUEUED._replace(
    state=State.JOB_STATE_SUCCEEDED, phase=Phase.JOB_PHASE_UNSPECIFIED, entry="", version=3
)


def after(job: Job, event: Event, now_ms: int = NOW, policy: Policy = POLICY) -> Job:
    """The job after an event that changes it."""
    changes = decide(job, event, now_ms, policy)
    assert changes.verdict is None
    assert changes.job is not None
    return changes.job


def verdict(job: Job, event: Event, now_ms: int = NOW) -> Verdict:
    """The verdict that an event asks for."""
    changes = decide(job, event, now_ms, POLICY)
    assert changes.job is None
    assert changes.verdict is not None
    return changes.verdict


def nothing(job: Job | None, event: Event, now_ms: int = NOW) -> bool:
    """Whether an event changes nothing at all."""
    changes = decide(job, event, now_ms, POLICY)
    return changes.job is None and changes.verdict is None and not changes.drop


def test_new_job_is_queued_or_delayed_by_its_time() -> None:
    fresh = QUEUED._replace(revision=0, entry="")

    queued = decide(None, Created(fresh), NOW, POLICY).job
    delayed = decide(None, Created(fresh._replace(due_ms=NOW + 1)), NOW, POLICY).job
    late = decide(None, Created(fresh._replace(due_ms=NOW)), NOW, POLICY).job

    assert queued is not None
    assert (queued.phase, queued.revision) == (Phase.JOB_PHASE_QUEUED, 1)
    assert delayed is not None
    assert (delayed.phase, delayed.due_ms) == (Phase.JOB_PHASE_DELAYED, NOW + 1)
    assert late is not None
    assert (late.phase, late.due_ms) == (Phase.JOB_PHASE_QUEUED, 0)
    assert nothing(QUEUED, Created(fresh))


def test_claim_begins_an_attempt_with_a_lease() -> None:
    job = after(QUEUED, Claimed("1-0", "A", "w"))

    assert (job.state, job.phase) == (State.JOB_STATE_RUNNING, Phase.JOB_PHASE_PREPARING)
    assert (job.attempt, job.owner, job.entry) == ("A", "w", "1-0")
    assert (job.attempt_count, job.start_ms) == (1, NOW)
    assert job.lease_until_ms == NOW + 1_000


def test_second_claim_keeps_the_first_start() -> None:
    assert after(QUEUED._replace(start_ms=7), Claimed("1-0", "A", "w")).start_ms == 7


@pytest.mark.parametrize("job", [None, RUNNING, QUEUED, ENDED, WAIT])
def test_stale_entry_is_dropped(job: Job | None) -> None:
    for event in (Claimed("0-9", "B", "w"), LeaseLost("0-9")):
        changes = decide(job, event, NOW, POLICY)

        assert changes.drop == "0-9"
        assert changes.job is None
        assert changes.verdict is None


def test_entry_of_a_running_job_delivered_twice_changes_nothing() -> None:
    assert nothing(RUNNING, Claimed("1-0", "B", "v"))


def test_beat_renews_the_lease_and_keeps_what_it_does_not_say() -> None:
    job = after(RUNNING._replace(progress=b"p"), Beat("A", Phase.JOB_PHASE_UNSPECIFIED), NOW + 500)

    assert job.lease_until_ms == NOW + 1_500
    assert (job.phase, job.progress) == (Phase.JOB_PHASE_TRAINING, b"p")


def test_beat_carries_phase_and_progress_and_leaves_cancelling() -> None:
    job = after(CANCELLING, Beat("A", Phase.JOB_PHASE_EVALUATING, b"q"))

    assert (job.state, job.phase) == (State.JOB_STATE_CANCELLING, Phase.JOB_PHASE_EVALUATING)
    assert job.progress == b"q"


@pytest.mark.parametrize("job", [None, QUEUED, WAIT, ENDED, RUNNING._replace(attempt="B")])
@pytest.mark.parametrize(
    "event",
    [
        Beat("A", Phase.JOB_PHASE_TRAINING),
        Failed("A", Reason.JOB_REASON_DATA, ""),
        Evicted("A", ""),
        HandedBack("A"),
        Stopped("A"),
        Stopped(""),
    ],
)
def test_attempt_without_the_job_is_fenced(job: Job | None, event: Event) -> None:
    with pytest.raises(Fenced):
        decide(job, event, NOW, POLICY)


@pytest.mark.parametrize("job", [QUEUED, WAIT])
def test_cancel_of_a_pending_job_ends_it(job: Job) -> None:
    found = verdict(job, CancelAsked())

    assert (found.state, found.reason) == (State.JOB_STATE_CANCELLED, Reason.JOB_REASON_USER)


def test_cancel_of_a_running_job_waits_for_its_worker() -> None:
    assert after(RUNNING, CancelAsked()).state == State.JOB_STATE_CANCELLING


@pytest.mark.parametrize("job", [None, CANCELLING, ENDED])
def test_cancel_again_or_too_late_changes_nothing(job: Job | None) -> None:
    assert nothing(job, CancelAsked())


@pytest.mark.parametrize(
    "event",
    [
        Failed("A", Reason.JOB_REASON_STORE, "disk"),
        Failed("A", Reason.JOB_REASON_DIVERGED, "NaN"),
        Evicted("A", "signal 9"),
        HandedBack("A"),
        Stopped("A"),
        LeaseLost("1-0"),
    ],
)
def test_every_end_of_a_cancelling_attempt_is_cancelled(event: Event) -> None:
    assert verdict(CANCELLING, event, NOW + 2_000).state == State.JOB_STATE_CANCELLED


def test_stopped_without_a_cancellation_changes_nothing() -> None:
    assert nothing(RUNNING, Stopped("A"))


def test_passing_failure_waits_and_is_repeated_so_often() -> None:
    event = Failed("A", Reason.JOB_REASON_STORE, "disk")

    first = after(RUNNING, event)
    second = after(RUNNING._replace(failure_count=1), event)
    last = verdict(RUNNING._replace(failure_count=2), event)

    assert (first.state, first.phase) == (State.JOB_STATE_PENDING, Phase.JOB_PHASE_RETRY_WAIT)
    assert (first.due_ms, second.due_ms) == (NOW + 100, NOW + 200)
    assert (first.attempt, first.entry, first.failure_count) == ("", "", 1)
    assert (last.state, last.reason, last.message) == (
        State.JOB_STATE_FAILED,
        Reason.JOB_REASON_STORE,
        "disk",
    )


@pytest.mark.parametrize(
    ("reason", "repeated", "repeated_if_asked"),
    [
        (Reason.JOB_REASON_STORE, True, True),
        (Reason.JOB_REASON_INTERNAL, True, True),
        (Reason.JOB_REASON_DATA, False, True),
        (Reason.JOB_REASON_OOM, False, True),
        (Reason.JOB_REASON_DIVERGED, False, True),
        (Reason.JOB_REASON_TIMEOUT, False, True),
        (Reason.JOB_REASON_INVALID_SPEC, False, False),
        (Reason.JOB_REASON_NOT_BLESSED, False, False),
    ],
)
def test_which_failures_are_repeated(
    reason: training_pb2.JobReason, *, repeated: bool, repeated_if_asked: bool
) -> None:
    event = Failed("A", reason, "")
    asked = RUNNING._replace(retry_user_errors=True)

    assert (decide(RUNNING, event, NOW, POLICY).verdict is None) == repeated
    assert (decide(asked, event, NOW, POLICY).verdict is None) == repeated_if_asked


def test_backoff_doubles_up_to_its_cap_and_jitter_takes_at_most_half() -> None:
    assert [backoff_ms(POLICY, n, 0) for n in (1, 2, 3, 4, 5, 1_000)] == [
        *(100, 200, 400, 800, 1_000, 1_000)
    ]
    assert backoff_ms(POLICY, 1, 0.999) > 50 - 1
    assert backoff_ms(POLICY, 1, 0.5) == 75


def test_due_job_is_queued_when_its_time_has_come() -> None:
    assert nothing(WAIT, Due(), NOW + 9)
    job = after(WAIT, Due(), NOW + 10)

    assert (job.phase, job.entry, job.due_ms) == (Phase.JOB_PHASE_QUEUED, "", 0)
    assert nothing(None, Due())
    assert nothing(RUNNING, Due())


def test_third_death_by_signal_ends_the_job() -> None:
    event = Evicted("A", "the training process died by signal 11 (SIGSEGV)")

    second = after(RUNNING._replace(eviction_count=1), event)
    third = verdict(RUNNING._replace(eviction_count=2), event)

    assert (second.phase, second.eviction_count) == (Phase.JOB_PHASE_QUEUED, 2)
    assert second.entry == ""
    assert (third.state, third.reason) == (State.JOB_STATE_FAILED, Reason.JOB_REASON_WORKER_LOST)
    assert "SIGSEGV" in third.message
    assert third.eviction_count == 3


def test_handed_back_job_is_queued_at_once_and_nothing_is_charged() -> None:
    job = after(RUNNING, HandedBack("A"))

    assert (job.state, job.phase) == (State.JOB_STATE_PENDING, Phase.JOB_PHASE_QUEUED)
    assert (job.eviction_count, job.failure_count, job.attempt_count) == (0, 0, 1)
    assert (job.entry, job.attempt, job.owner) == ("", "", "")


@pytest.mark.parametrize("job", [RUNNING, CANCELLING])
@pytest.mark.parametrize(
    "event",
    [
        Failed("A", Reason.JOB_REASON_STORE, "disk"),
        Failed("A", Reason.JOB_REASON_DATA, "row 1"),
        Evicted("A", "signal 9"),
        HandedBack("A"),
    ],
)
def test_last_word_of_an_attempt_said_again_changes_nothing(job: Job, event: Event) -> None:
    """The answer was lost; meanwhile another attempt may have begun."""
    changes = decide(job, event, NOW, POLICY)
    done = changes.job
    if changes.verdict is not None:
        done = after(job, Decided(changes.verdict, changes.ended_attempt))
    assert done is not None

    assert nothing(done, event)
    assert nothing(RUNNING._replace(attempt="B", ended_attempt="A"), event)
    with pytest.raises(Fenced):
        decide(RUNNING._replace(attempt="B", ended_attempt="B"), event, NOW, POLICY)


def test_end_that_others_decided_is_no_word_of_the_attempt() -> None:
    ended = after(RUNNING._replace(ended_attempt="Z"), Decided(failed(Reason.JOB_REASON_OOM, "")))

    assert ended.ended_attempt == "Z"
    with pytest.raises(Fenced):
        decide(ended, HandedBack("A"), NOW, POLICY)


def test_job_that_stands_nowhere_is_put_back() -> None:
    queued, running, waiting = (after(job, Restored("")) for job in (QUEUED, RUNNING, WAIT))

    assert (queued.phase, queued.entry) == (Phase.JOB_PHASE_QUEUED, "")
    assert (running.phase, running.attempt, running.eviction_count) == (queued.phase, "", 0)
    assert waiting == WAIT._replace(revision=WAIT.revision + 1)
    assert verdict(CANCELLING, Restored("")).state == State.JOB_STATE_CANCELLED
    assert nothing(RUNNING, Restored("another"))
    assert nothing(ENDED, Restored(""))
    assert nothing(None, Restored(""))


def test_lost_lease_requeues_and_counts() -> None:
    assert nothing(RUNNING, LeaseLost("1-0"), NOW + 999)
    job = after(RUNNING, LeaseLost("1-0"), NOW + 1_000)

    assert (job.phase, job.eviction_count, job.entry) == (Phase.JOB_PHASE_QUEUED, 1, "")


def test_entry_delivered_but_never_begun_is_replaced_and_nothing_is_charged() -> None:
    job = after(QUEUED, LeaseLost("1-0"))

    assert (job.entry, job.eviction_count) == ("", 0)


def test_outcome_is_applied_once() -> None:
    job = after(RUNNING, Decided(SUCCEEDED))

    assert (job.state, job.version, job.end_ms) == (State.JOB_STATE_SUCCEEDED, 3, NOW)
    assert (job.phase, job.attempt, job.entry) == (Phase.JOB_PHASE_UNSPECIFIED, "", "")
    assert nothing(job, Decided(failed(Reason.JOB_REASON_DATA, "")))
    assert nothing(None, Decided(SUCCEEDED))


def test_record_becomes_job_becomes_what_users_see() -> None:
    record = sample_record(request_id="r")
    record.create_time.FromMilliseconds(NOW)
    record.not_before_time.FromMilliseconds(NOW + 5)
    record.retry_of = "jobs/x"
    job = new_job(JOB, record)._replace(
        progress=training_pb2.Progress(epoch=3).SerializeToString(),
        start_ms=NOW + 6,
        end_ms=NOW + 7,
        version=2,
    )

    shown = to_proto(job, record.spec)

    assert shown.name == f"jobs/{JOB}"
    assert shown.spec == record.spec
    assert shown.model_version == "models/digits/versions/2"
    assert shown.progress.epoch == 3
    assert shown.create_time.ToMilliseconds() == NOW
    assert shown.start_time.ToMilliseconds() == NOW + 6
    assert shown.end_time.ToMilliseconds() == NOW + 7
    assert (shown.retry_of, shown.request_id) == ("jobs/x", "r")
    assert (job.due_ms, job.max_retries) == (NOW + 5, 2)


def test_unset_times_stay_unset() -> None:
    shown = to_proto(QUEUED, sample_record().spec)

    assert not shown.HasField("start_time")
    assert not shown.HasField("end_time")
    assert not shown.HasField("progress")
    assert not shown.model_version


def test_job_can_be_told_from_the_store_alone() -> None:
    found = replace(failed(Reason.JOB_REASON_OOM, "too big"), end_ms=9, attempt_count=2)
    outcome = outcome_of(found, "digits", "A")

    job = ended_job(JOB, sample_record(), outcome)

    assert verdict_of(outcome) == found
    assert outcome == record_pb2.JobOutcome.FromString(outcome.SerializeToString())
    assert (job.state, job.reason, job.message) == (
        State.JOB_STATE_FAILED,
        Reason.JOB_REASON_OOM,
        "too big",
    )
    assert (job.end_ms, job.attempt_count) == (9, 2)

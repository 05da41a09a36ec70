"""Where a watch stands, by a clock of the test's own."""

import pytest

from twofold import errors
from twofold.client.following import PATIENCE_S, STREAM_S, Following, outcome
from twofold.client.retry import RetryPolicy
from twofold.v1 import training_pb2

LOST = errors.Unavailable("gone")


def half() -> float:
    return 0.5


def following(timeout_s: float | None = None) -> Following:
    policy = RetryPolicy(first_delay_s=1.0, longest_delay_s=8.0)
    return Following("01J", cursor="", timeout_s=timeout_s, policy=policy, now_s=0.0)


def event(state: training_pb2.JobState, cursor: str) -> training_pb2.WatchTrainingJobResponse:
    job = training_pb2.TrainingJob(name="jobs/01J", state=state)
    return training_pb2.WatchTrainingJobResponse(job=job, cursor=cursor)


def test_delays_grow_and_begin_anew_after_an_event() -> None:
    watch = following()

    before = [watch.broke(LOST, 1.0, half) for _ in range(2)]
    watch.took(event(training_pb2.JOB_STATE_RUNNING, "c1"), 2.0)
    after = watch.broke(LOST, 2.0, half)

    assert before == [0.75, 1.5]
    assert after == 0.75
    request = training_pb2.WatchTrainingJobRequest.FromString(watch.call().request)
    assert (request.name, request.cursor) == ("jobs/01J", "c1")


def test_broken_watch_is_given_up_after_its_patience() -> None:
    watch = following()
    watch.took(event(training_pb2.JOB_STATE_RUNNING, "c1"), 10.0)

    watch.broke(LOST, 10.0 + PATIENCE_S, half)
    with pytest.raises(errors.Unavailable, match="gone"):
        watch.broke(LOST, 10.1 + PATIENCE_S, half)


def test_streams_that_end_early_for_ever_are_given_up() -> None:
    watch = following()

    watch.broke(None, 1.0, half)
    with pytest.raises(errors.Unavailable, match=r"jobs/01J ended early"):
        watch.broke(None, PATIENCE_S + 1, half)


def test_a_streams_own_deadline_is_no_failure() -> None:
    watch = following()
    late = errors.DeadlineExceeded("stream")

    delays = [watch.broke(late, hour * 3600.0, half) for hour in range(1, 9)]

    assert delays == [0.0] * 8


def test_watchs_own_deadline_bounds_its_streams_and_ends_it() -> None:
    watch = following(timeout_s=100.0)

    assert watch.stream_s(0.0) == STREAM_S
    assert watch.stream_s(95.0) == 5.0
    assert watch.stream_s(200.0) == 0.0
    with pytest.raises(errors.DeadlineExceeded, match=r"within 100\.0 s"):
        watch.broke(errors.DeadlineExceeded("stream"), 100.0, half)


@pytest.mark.parametrize(
    ("state", "is_last"),
    [
        (training_pb2.JOB_STATE_PENDING, False),
        (training_pb2.JOB_STATE_RUNNING, False),
        (training_pb2.JOB_STATE_CANCELLING, False),
        (training_pb2.JOB_STATE_SUCCEEDED, True),
        (training_pb2.JOB_STATE_FAILED, True),
        (training_pb2.JOB_STATE_CANCELLED, True),
    ],
)
def test_watch_is_done_at_a_terminal_state(state: training_pb2.JobState, *, is_last: bool) -> None:
    watch = following()

    assert watch.took(event(state, "c"), 0.0).is_terminal == is_last
    assert watch.is_done == is_last


def test_outcome_without_a_message_names_state_and_reason() -> None:
    job = training_pb2.TrainingJob(
        name="jobs/01J",
        state=training_pb2.JOB_STATE_CANCELLED,
        reason=training_pb2.JOB_REASON_USER,
    )

    with pytest.raises(errors.WrongState, match=r"^jobs/01J is CANCELLED \(USER\)$") as caught:
        outcome(job)

    assert caught.value.fields["state"] == "CANCELLED"

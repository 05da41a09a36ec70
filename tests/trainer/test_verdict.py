"""What an attempt's end means, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import verdict
from trainer.verdict import Times
from twofold.v1 import model_pb2, spec_pb2, training_pb2

MANIFEST = model_pb2.Manifest(model="digits")
INTERNAL = training_pb2.JOB_REASON_INTERNAL
DIVERGED = training_pb2.JOB_REASON_DIVERGED
TIMEOUT = training_pb2.JOB_REASON_TIMEOUT


@pytest.mark.parametrize(
    ("ending", "action"),
    [
        (verdict.Trained(MANIFEST), verdict.Publish(MANIFEST)),
        (verdict.Failed(DIVERGED, "NaN"), verdict.Fail(DIVERGED, "NaN")),
        (verdict.Died(-9), verdict.Evict(9)),
        (
            verdict.Died(3),
            verdict.Fail(INTERNAL, "the training process ended unexpectedly with code 3"),
        ),
        (verdict.Overdue("too long"), verdict.Fail(TIMEOUT, "too long")),
        (verdict.Stopped(), verdict.HandBack()),
        (verdict.Cancelled(), verdict.EndCancelled()),
        (verdict.Lost("fenced"), verdict.Drop()),
    ],
)
def test_every_ending_has_its_action(ending: verdict.Ending, action: verdict.Action) -> None:
    assert verdict.action_for(ending) == action


def test_only_a_child_that_ended_well_is_kept() -> None:
    assert not verdict.must_replace_child(verdict.Trained(MANIFEST))
    assert verdict.must_replace_child(verdict.Failed(DIVERGED, "NaN"))
    assert verdict.must_replace_child(verdict.Cancelled())


def test_a_death_while_the_worker_stops_is_not_the_jobs_fault() -> None:
    assert verdict.while_stopping(verdict.Died(-15)) == verdict.Stopped()
    assert verdict.while_stopping(verdict.Trained(MANIFEST)) == verdict.Trained(MANIFEST)


def test_trained_rows_are_those_of_this_attempts_epochs() -> None:
    manifest = model_pb2.Manifest()
    manifest.lineage.training_row_count = 100
    progress = training_pb2.Progress(epoch=30, resumed_epoch=10)

    assert verdict.trained(manifest, progress).row_count == 2_000
    assert verdict.trained(manifest, None).row_count == 0


def limits(max_s: int = 0, progress_s: int = 0) -> spec_pb2.Limits:
    made = spec_pb2.Limits()
    if max_s:
        made.max_duration.FromSeconds(max_s)
    if progress_s:
        made.progress_timeout.FromSeconds(progress_s)
    return made


@pytest.mark.parametrize(
    ("now_s", "named"), [(14.9, ""), (15.0, "progress_timeout"), (60.0, "max_duration")]
)
def test_the_limit_that_passed_is_named(now_s: float, named: str) -> None:
    times = Times(begun_s=0, progressed_s=5, beaten_s=0)

    why = verdict.overdue(now_s, times, limits(60, 10))

    assert named in why
    assert bool(why) == bool(named)


def test_without_limits_nothing_is_ever_overdue() -> None:
    times = Times(0, 0, 0)

    assert verdict.overdue(1e9, times, limits()) == ""
    assert verdict.next_look_s(1e9, times, limits()) == float("inf")


@given(
    now_s=st.floats(0, 1e6),
    begun_s=st.floats(0, 1e6),
    progressed_s=st.floats(0, 1e6),
    max_s=st.integers(0, 1000),
    progress_s=st.integers(0, 1000),
)
def test_nothing_is_overdue_before_the_next_look(
    now_s: float, begun_s: float, progressed_s: float, max_s: int, progress_s: int
) -> None:
    times, bounds = Times(begun_s, progressed_s, 0), limits(max_s, progress_s)
    wait_s = verdict.next_look_s(now_s, times, bounds)

    if wait_s > 0.001:
        assert not verdict.overdue(now_s + wait_s - 0.001, times, bounds)
    else:
        assert verdict.overdue(now_s + wait_s + 0.001, times, bounds)


def test_an_attempt_is_cut_off_only_well_past_its_lease() -> None:
    times = Times(0, 0, beaten_s=100)

    assert not verdict.is_cut_off(100 + 30 + 599, times, lease_s=30)
    assert verdict.is_cut_off(100 + 30 + 601, times, lease_s=30)

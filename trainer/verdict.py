"""What is to be done when an attempt ends, and when it has run too long: data in, data out."""

from dataclasses import dataclass
from typing import TypeAlias

from twofold.v1 import model_pb2, spec_pb2, training_pb2

#: Seconds that an attempt may compute on after its lease ran out without word from the queue; the
#: queue may come back and still know it as the job's attempt.
REJOIN_LIMIT_S = 600.0


# How an attempt can end.


@dataclass(frozen=True, slots=True)
class Trained:
    """The artifact is durable."""

    manifest: model_pb2.Manifest
    #: Training rows that went through the network in this attempt.
    row_count: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The child, or the supervisor, says why it failed."""

    reason: training_pb2.JobReason
    message: str


@dataclass(frozen=True, slots=True)
class Died:
    """The child ended by itself; negative: the signal."""

    exit_code: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """A limit of time passed; the message names it."""

    message: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The worker is to end; what could be saved is saved."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job is CANCELLING."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The job is another attempt's, or the queue was away for too long."""

    why: str


Ending: TypeAlias = Trained | Failed | Died | Overdue | Stopped | Cancelled | Lost


# What is to be done about it.


@dataclass(frozen=True, slots=True)
class Publish:
    """Make it a version."""

    manifest: model_pb2.Manifest


@dataclass(frozen=True, slots=True)
class Fail:
    """Tell the ledger, which repeats it or ends the job."""

    reason: training_pb2.JobReason
    message: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Tell the ledger of a death by this signal."""

    signal_number: int


@dataclass(frozen=True, slots=True)
class HandBack:
    """Give the job back at once; nothing is charged."""


@dataclass(frozen=True, slots=True)
class EndCancelled:
    """End the job as cancelled."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Write nothing more."""


Action: TypeAlias = Publish | Fail | Evict | HandBack | EndCancelled | Drop


def action_for(ending: Ending) -> Action:  # noqa: PLR0911 - one answer per ending
    """What to do about `ending`."""
    match ending:
        case Trained():
            return Publish(ending.manifest)
        case Failed():
            return Fail(ending.reason, ending.message)
        case Died():
            return _after_death(ending.exit_code)
        case Overdue():
            return Fail(training_pb2.JOB_REASON_TIMEOUT, ending.message)
        case Stopped():
            return HandBack()
        case Cancelled():
            return EndCancelled()
        case Lost():
            return Drop()


def _after_death(exit_code: int) -> Action:
    """A death by signal may be the machine's fault; an exit is a defect of ours."""
    if exit_code < 0:
        return Evict(-exit_code)
    text = f"the training process ended unexpectedly with code {exit_code}"
    return Fail(training_pb2.JOB_REASON_INTERNAL, text)


def keeps_artifact(action: Action) -> bool:
    """Whether what the attempt exported stays though it is not published: a gate refused it."""
    return isinstance(action, Fail) and action.reason == training_pb2.JOB_REASON_NOT_BLESSED


def must_replace_child(ending: Ending) -> bool:
    """Whether the child may be in any state: after everything but a good end."""
    return not isinstance(ending, Trained)


@dataclass(frozen=True, slots=True)
class Times:
    """An attempt's moments, in seconds of one monotonic clock."""

    begun_s: float
    #: Last sign of progress from the child; the beginning before any.
    progressed_s: float
    #: Last heartbeat that the queue took; the claim counts as one.
    beaten_s: float


def overdue(now_s: float, times: Times, limits: spec_pb2.Limits) -> str:
    """Which limit of time has passed, for people; empty for none."""
    max_s = limits.max_duration.ToTimedelta().total_seconds()
    if max_s and now_s - times.begun_s >= max_s:
        return f"the attempt took longer than limits.max_duration ({max_s:g} s)"
    timeout_s = limits.progress_timeout.ToTimedelta().total_seconds()
    if timeout_s and now_s - times.progressed_s >= timeout_s:
        return f"there was no progress for limits.progress_timeout ({timeout_s:g} s)"
    return ""


def next_look_s(now_s: float, times: Times, limits: spec_pb2.Limits) -> float:
    """Seconds until a limit can have passed."""
    max_s = limits.max_duration.ToTimedelta().total_seconds()
    timeout_s = limits.progress_timeout.ToTimedelta().total_seconds()
    ends = [
        moment_s + limit_s
        for moment_s, limit_s in ((times.begun_s, max_s), (times.progressed_s, timeout_s))
        if limit_s
    ]
    return max(0.0, min(ends) - now_s) if ends else float("inf")


def is_cut_off(now_s: float, times: Times, lease_s: float) -> bool:
    """Whether the queue was away for so long that the attempt is not worth going on with."""
    return now_s - times.beaten_s > lease_s + REJOIN_LIMIT_S


def while_stopping(ending: Ending) -> Ending:
    """How an attempt ended whose worker is to end.

    What ends the worker may have hit the child too: its death is not the job's fault.
    """
    return Stopped() if isinstance(ending, Died) else ending


def trained(manifest: model_pb2.Manifest, progress: training_pb2.Progress | None) -> Trained:
    """A good end, with the rows of the epochs that this attempt itself trained."""
    epochs = progress.epoch - progress.resumed_epoch if progress is not None else 0
    return Trained(manifest, max(0, epochs) * manifest.lineage.training_row_count)

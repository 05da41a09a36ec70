"""A job as plain data: what the queue knows of it, how it ends, what users see.

What happens to it stands in `twofold.transitions`. Times are milliseconds of the queue server's
clock.
"""

from dataclasses import dataclass
from typing import NamedTuple

from twofold import formats
from twofold.internal.v1 import record_pb2
from twofold.v1 import spec_pb2, training_pb2

State = training_pb2.JobState
Phase = training_pb2.JobPhase
Reason = training_pb2.JobReason

TERMINAL = frozenset({State.JOB_STATE_SUCCEEDED, State.JOB_STATE_FAILED, State.JOB_STATE_CANCELLED})
#: PENDING phases in which a job stands in the set of delayed jobs, not in the stream.
WAITING = frozenset({Phase.JOB_PHASE_DELAYED, Phase.JOB_PHASE_RETRY_WAIT})
RUNNING_PHASES = frozenset(
    {
        Phase.JOB_PHASE_PREPARING,
        Phase.JOB_PHASE_TRAINING,
        Phase.JOB_PHASE_EVALUATING,
        Phase.JOB_PHASE_PUBLISHING,
    }
)


class Fenced(Exception):
    """The attempt no longer holds its job: it must stop and write nothing more."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator sets."""

    lease_ms: int = 30_000
    retry_backoff_ms: int = 5_000
    #: No wait between two attempts is longer: a user should see the next within ten minutes.
    max_backoff_ms: int = 600_000
    #: The third death by signal or lost lease ends a job: it kills its workers.
    max_evictions: int = 3
    max_queued_jobs: int = 10_000


class Job(NamedTuple):
    """A job as the queue knows it. The spec stays in the store.

    Always made by name. A tuple, because each change copies it: a fifth of what a dataclass takes.
    """

    id: str
    model: str
    #: Rises with every change; 0: not stored.
    revision: int = 0
    #: Unique token of the change that made it so; "": not stored.
    change: str = ""
    state: training_pb2.JobState = State.JOB_STATE_PENDING
    phase: training_pb2.JobPhase = Phase.JOB_PHASE_QUEUED
    reason: training_pb2.JobReason = Reason.JOB_REASON_UNSPECIFIED
    message: str = ""
    attempt_count: int = 0
    eviction_count: int = 0
    #: Attempts that failed by themselves; bounded by max_retries.
    failure_count: int = 0
    #: ULID of the attempt that holds the job; empty while none does.
    attempt: str = ""
    #: The last attempt that gave the job up by itself; the repeat of its word changes nothing.
    ended_attempt: str = ""
    #: The worker that holds it.
    owner: str = ""
    #: Its entry in the stream; empty: a fresh one is made as the change is applied.
    entry: str = ""
    lease_until_ms: int = 0
    #: When a DELAYED or RETRY_WAIT job is due.
    due_ms: int = 0
    create_ms: int = 0
    start_ms: int = 0
    end_ms: int = 0
    #: twofold.v1.Progress, serialized; empty before the first epoch.
    progress: bytes = b""
    #: The published version; 0: none.
    version: int = 0
    retry_of: str = ""
    request_id: str = ""
    max_retries: int = 0
    retry_user_errors: bool = False

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a job ends, or is proposed to end."""

    state: training_pb2.JobState
    reason: training_pb2.JobReason = Reason.JOB_REASON_UNSPECIFIED
    message: str = ""
    version: int = 0
    end_ms: int = 0
    attempt_count: int = 0
    eviction_count: int = 0


def cancelled() -> Verdict:
    """CANCELLED by a user."""
    return Verdict(state=State.JOB_STATE_CANCELLED, reason=Reason.JOB_REASON_USER)


def failed(reason: training_pb2.JobReason, message: str, eviction_count: int = 0) -> Verdict:
    """FAILED because of `reason`."""
    return Verdict(
        state=State.JOB_STATE_FAILED, reason=reason, message=message, eviction_count=eviction_count
    )


def new_job(job_id: str, record: record_pb2.JobRecord) -> Job:
    """The job that `record` asks for, not stored yet."""
    limits = record.spec.limits
    delayed = record.HasField("not_before_time")
    return Job(
        id=job_id,
        model=record.spec.model,
        create_ms=record.create_time.ToMilliseconds(),
        due_ms=record.not_before_time.ToMilliseconds() if delayed else 0,
        retry_of=record.retry_of,
        request_id=record.request_id,
        max_retries=limits.max_retries,
        retry_user_errors=limits.retry_user_errors,
    )


def verdict_of(outcome: record_pb2.JobOutcome) -> Verdict:
    """The verdict that an outcome of the store holds."""
    return Verdict(
        state=outcome.state,
        reason=outcome.reason,
        message=outcome.message,
        version=outcome.version,
        end_ms=outcome.end_time.ToMilliseconds(),
        attempt_count=outcome.attempt_count,
        eviction_count=outcome.eviction_count,
    )


def outcome_of(verdict: Verdict, model: str = "", attempt: str = "") -> record_pb2.JobOutcome:
    """The outcome that proposes `verdict`; not for SUCCEEDED, which `publish` makes."""
    outcome = record_pb2.JobOutcome(
        format_version=formats.OUTCOME,
        state=verdict.state,
        reason=verdict.reason,
        message=verdict.message,
        model=model,
        attempt=attempt,
        attempt_count=verdict.attempt_count,
        eviction_count=verdict.eviction_count,
    )
    outcome.end_time.FromMilliseconds(verdict.end_ms)
    return outcome


def to_proto(job: Job, spec: spec_pb2.TrainingSpec) -> training_pb2.TrainingJob:
    """The job as users see it."""
    message = training_pb2.TrainingJob(
        name=f"jobs/{job.id}",
        spec=spec,
        state=job.state,
        phase=job.phase,
        reason=job.reason,
        message=job.message,
        attempt_count=job.attempt_count,
        eviction_count=job.eviction_count,
        retry_of=job.retry_of,
        request_id=job.request_id,
    )
    if job.progress:
        message.progress.ParseFromString(job.progress)
    if job.version:
        message.model_version = f"models/{job.model}/versions/{job.version}"
    message.create_time.FromMilliseconds(job.create_ms)
    if job.start_ms:
        message.start_time.FromMilliseconds(job.start_ms)
    if job.end_ms:
        message.end_time.FromMilliseconds(job.end_ms)
    return message

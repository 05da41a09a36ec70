"""What happens to a job: the events, and `decide`, which says what each changes.

Nothing here does I/O or reads a clock. Terminal states are never entered by a worker's word alone:
`decide` asks for a verdict, the store makes it final by one exclusive create, and only then does
`Decided` carry the winner into the record.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from twofold.internal.v1 import record_pb2
from twofold.jobs import (
    RUNNING_PHASES,
    WAITING,
    Fenced,
    Job,
    Phase,
    Policy,
    Reason,
    State,
    Verdict,
    cancelled,
    failed,
    new_job,
    verdict_of,
)
from twofold.v1 import training_pb2

#: Failures that may pass by themselves.
PASSING = frozenset({Reason.JOB_REASON_STORE, Reason.JOB_REASON_INTERNAL})
#: Failures that are the user's; repeated only where the spec asks for it.
USER_ERRORS = frozenset(
    {
        Reason.JOB_REASON_DATA,
        Reason.JOB_REASON_OOM,
        Reason.JOB_REASON_DIVERGED,
        Reason.JOB_REASON_TIMEOUT,
    }
)


class Changes(NamedTuple):
    """What an event changes; nothing when all is empty."""

    #: The job after it.
    job: Job | None = None
    #: Must be decided in the store, then applied as Decided.
    verdict: Verdict | None = None
    #: The attempt whose word that is; empty for others' words.
    ended_attempt: str = ""
    #: An entry of the stream that stands for nothing and is to be deleted.
    drop: str = ""


class Event(Protocol):
    """Something that happened to a job."""

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """What it changes in `job`; raises Fenced."""
        ...


def decide(job: Job | None, event: Event, now_ms: int, policy: Policy) -> Changes:
    """What `event` changes in `job` (None: there is none) at `now_ms`.

    Raises:
        Fenced: the event comes from an attempt that does not hold the job.
    """
    changes = event.on(job, now_ms, policy)
    if changes.job is None:
        return changes
    revision = (job.revision if job else 0) + 1
    return changes._replace(job=changes.job._replace(revision=revision))


def _held(job: Job | None, attempt: str) -> Job:
    """The job, if `attempt` holds it."""
    if job is None or job.is_terminal or not attempt or job.attempt != attempt:
        raise Fenced(attempt)
    return job


def _is_repeat(job: Job | None, attempt: str) -> bool:
    """Whether `attempt` has given the job up before, and only the answer was lost."""
    return job is not None and bool(attempt) and job.ended_attempt == attempt


def _given_up(changes: Changes, attempt: str) -> Changes:
    """The changes, remembered as the word of `attempt`."""
    job = changes.job and changes.job._replace(ended_attempt=attempt)
    return changes._replace(job=job, ended_attempt=attempt if changes.verdict else "")


def _requeued(job: Job) -> Job:
    return job._replace(
        state=State.JOB_STATE_PENDING,
        phase=Phase.JOB_PHASE_QUEUED,
        attempt="",
        owner="",
        entry="",
        lease_until_ms=0,
        due_ms=0,
    )


def _end(job: Job, now_ms: int, verdict: Verdict) -> Changes:
    """Asks for `verdict`, or for CANCELLED where cancellation was asked for first."""
    if job.state == State.JOB_STATE_CANCELLING:
        verdict = cancelled()
    return Changes(
        verdict=replace(
            verdict,
            end_ms=now_ms,
            attempt_count=job.attempt_count,
            eviction_count=max(job.eviction_count, verdict.eviction_count),
        )
    )


def _evict(job: Job, now_ms: int, policy: Policy, message: str) -> Changes:
    """The attempt is lost: the job is queued again at once, or ends if that was once too often."""
    count = job.eviction_count + 1
    if job.state == State.JOB_STATE_CANCELLING or count >= policy.max_evictions:
        text = f"{message}; lost {count} times, allowed: {policy.max_evictions - 1}"
        return _end(job, now_ms, failed(Reason.JOB_REASON_WORKER_LOST, text, count))
    return Changes(_requeued(job)._replace(eviction_count=count))


@dataclass(frozen=True, slots=True)
class Created:
    """A new job; `job` is as `new_job` makes it."""

    job: Job

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        del policy
        if job is not None:
            return Changes()
        if self.job.due_ms > now_ms:
            return Changes(self.job._replace(phase=Phase.JOB_PHASE_DELAYED))
        return Changes(self.job._replace(phase=Phase.JOB_PHASE_QUEUED, due_ms=0))


@dataclass(frozen=True, slots=True)
class Due:
    """A delayed job may be due."""

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        del policy
        if job is None or job.phase not in WAITING or job.due_ms > now_ms:
            return Changes()
        return Changes(_requeued(job))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker received `entry` and begins `attempt`."""

    entry: str
    attempt: str
    worker: str

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        if job is None or job.entry != self.entry:
            return Changes(drop=self.entry)
        if job.phase != Phase.JOB_PHASE_QUEUED:
            return Changes()  # the entry was delivered twice; its holder goes on
        return Changes(
            job._replace(
                state=State.JOB_STATE_RUNNING,
                phase=Phase.JOB_PHASE_PREPARING,
                attempt=self.attempt,
                attempt_count=job.attempt_count + 1,
                owner=self.worker,
                lease_until_ms=now_ms + policy.lease_ms,
                start_ms=job.start_ms or now_ms,
            )
        )


@dataclass(frozen=True, slots=True)
class Beat:
    """The attempt lives; renews its lease."""

    attempt: str
    phase: training_pb2.JobPhase
    progress: bytes | None = None

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        held = _held(job, self.attempt)
        return Changes(
            held._replace(
                phase=self.phase if self.phase in RUNNING_PHASES else held.phase,
                progress=held.progress if self.progress is None else self.progress,
                lease_until_ms=now_ms + policy.lease_ms,
            )
        )


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A user wants the job to end."""

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        del policy
        if job is None or job.is_terminal or job.state == State.JOB_STATE_CANCELLING:
            return Changes()
        if job.state == State.JOB_STATE_PENDING:
            return _end(job, now_ms, cancelled())
        return Changes(job._replace(state=State.JOB_STATE_CANCELLING))


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed by itself. `jitter` in [0, 1) spreads the repeats of many jobs."""

    attempt: str
    reason: training_pb2.JobReason
    message: str
    jitter: float = 0.0

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        if _is_repeat(job, self.attempt):
            return Changes()
        return _given_up(self._decide(_held(job, self.attempt), now_ms, policy), self.attempt)

    def _decide(self, held: Job, now_ms: int, policy: Policy) -> Changes:
        can_pass = self.reason in PASSING or (held.retry_user_errors and self.reason in USER_ERRORS)
        if (
            held.state == State.JOB_STATE_CANCELLING
            or not can_pass
            or held.failure_count >= held.max_retries
        ):
            return _end(held, now_ms, failed(self.reason, self.message))
        count = held.failure_count + 1
        return Changes(
            _requeued(held)._replace(
                phase=Phase.JOB_PHASE_RETRY_WAIT,
                failure_count=count,
                due_ms=now_ms + backoff_ms(policy, count, self.jitter),
            )
        )


def backoff_ms(policy: Policy, failure_count: int, jitter: float) -> int:
    """The wait before the repeat: doubles with each failure, of which a random half is left out."""
    # 2**40 ms is 35 years: the exponent is bounded before the cap, so that it cannot get huge.
    full = min(policy.max_backoff_ms, policy.retry_backoff_ms << min(failure_count - 1, 40))
    return int(full * (1 - jitter / 2))


@dataclass(frozen=True, slots=True)
class Evicted:
    """The attempt's process died by a signal; `message` names it."""

    attempt: str
    message: str

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        if _is_repeat(job, self.attempt):
            return Changes()
        lost = _evict(_held(job, self.attempt), now_ms, policy, self.message)
        return _given_up(lost, self.attempt)


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The attempt's worker stops; the job is queued again at once, nothing is charged."""

    attempt: str

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        del policy
        if _is_repeat(job, self.attempt):
            return Changes()
        held = _held(job, self.attempt)
        if held.state == State.JOB_STATE_CANCELLING:
            return _given_up(_end(held, now_ms, cancelled()), self.attempt)
        return _given_up(Changes(_requeued(held)), self.attempt)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The attempt ended because its job is CANCELLING."""

    attempt: str

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        del policy
        if _is_repeat(job, self.attempt):
            return Changes()
        held = _held(job, self.attempt)
        if held.state != State.JOB_STATE_CANCELLING:
            return Changes()
        return _given_up(_end(held, now_ms, cancelled()), self.attempt)


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Nobody has touched `entry` for longer than a lease."""

    entry: str

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        if job is None or job.entry != self.entry:
            return Changes(drop=self.entry)
        if job.state == State.JOB_STATE_PENDING:
            return Changes(_requeued(job))  # delivered, but its receiver never began
        if job.lease_until_ms > now_ms:
            return Changes()
        return _evict(job, now_ms, policy, "the worker was lost")


@dataclass(frozen=True, slots=True)
class Restored:
    """The job is missing where it must stand: in the stream, or among the delayed ones.

    That was so after `change`; a later one has put it where it belongs.
    """

    change: str

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        del policy
        if job is None or job.is_terminal or job.change != self.change:
            return Changes()
        if job.state == State.JOB_STATE_CANCELLING:
            return _end(job, now_ms, cancelled())
        if job.phase in WAITING:
            return Changes(job)  # applying it puts the job among the delayed ones again
        return Changes(_requeued(job))


@dataclass(frozen=True, slots=True)
class Decided:
    """The store holds the job's outcome; `ended_attempt` is the one whose word led to it."""

    verdict: Verdict
    ended_attempt: str = ""

    def on(self, job: Job | None, now_ms: int, policy: Policy) -> Changes:
        """See Event."""
        del policy
        if job is None or job.is_terminal:
            return Changes()
        verdict = self.verdict
        return Changes(
            _requeued(job)._replace(
                state=verdict.state,
                phase=Phase.JOB_PHASE_UNSPECIFIED,
                reason=verdict.reason,
                message=verdict.message,
                version=verdict.version,
                ended_attempt=self.ended_attempt or job.ended_attempt,
                end_ms=verdict.end_ms or now_ms,
                attempt_count=max(job.attempt_count, verdict.attempt_count),
                eviction_count=max(job.eviction_count, verdict.eviction_count),
            )
        )


def ended_job(job_id: str, record: record_pb2.JobRecord, outcome: record_pb2.JobOutcome) -> Job:
    """The job as the store alone knows it; progress and the time of its start are lost."""
    changes = Decided(verdict_of(outcome)).on(new_job(job_id, record), 0, Policy())
    assert changes.job is not None  # noqa: S101 - new_job is never terminal
    return changes.job

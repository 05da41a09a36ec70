"""Where a watch of a job stands: pure, shared by the blocking and the asyncio client."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from twofold import errors
from twofold.client.calls import jobs
from twofold.client.calls.call import Call, named
from twofold.client.retry import RetryPolicy
from twofold.v1 import training_pb2 as pb

#: States that a job never leaves.
TERMINAL_STATES = frozenset({pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED})
#: Seconds after which a stream is opened anew: how long a peer that vanished without a word goes
#: unnoticed.
STREAM_S = 60.0
#: Seconds without a word from the server after which a broken watch is given up: a trainer that is
#: restarted, or its queue, is back sooner.
PATIENCE_S = 60.0


class JobFailed(errors.WrongState):
    """A job ended without a version; `job` is the whole job, fields `resource`, `state`."""

    def __init__(self, message: str, job: pb.TrainingJob | None = None, **fields: object) -> None:
        super().__init__(message, **fields)
        self.job = job


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event of a job."""

    job: pb.TrainingJob
    """As it stood then."""
    cursor: str
    """Where a watch resumes after this event."""
    time: datetime
    """When, in UTC."""

    @property
    def is_terminal(self) -> bool:
        """Whether it is the last one."""
        return self.job.state in TERMINAL_STATES


class Following:
    """A watch over as many streams as it takes, none of which loses or repeats an event.

    The owner opens a stream of `call()` for `stream_s(now)` seconds, hands each message to `took`
    and the stream's end to `broke`, which says how long to wait before the next one.
    """

    def __init__(
        self, job: str, *, cursor: str, timeout_s: float | None, policy: RetryPolicy, now_s: float
    ) -> None:
        self.is_done = False
        self._job = named("jobs", job)
        self._cursor = cursor
        self._policy = policy
        self._timeout_s = timeout_s
        self._ends_s = None if timeout_s is None else now_s + timeout_s
        self._heard_s = now_s
        self._failures = 0

    def call(self) -> Call[pb.WatchTrainingJobResponse]:
        """What to open next."""
        return jobs.watch(self._job, self._cursor)

    def stream_s(self, now_s: float) -> float:
        """The next stream's deadline, in seconds from now."""
        return STREAM_S if self._ends_s is None else max(0.0, min(STREAM_S, self._ends_s - now_s))

    def took(self, message: pb.WatchTrainingJobResponse, now_s: float) -> JobEvent:
        """The event of a message."""
        time = message.event_time.ToDatetime(UTC)
        event = JobEvent(message.job, message.cursor, time)
        self._cursor, self._heard_s, self._failures = event.cursor, now_s, 0
        self.is_done = event.is_terminal
        return event

    def broke(
        self, error: errors.TwofoldError | None, now_s: float, uniform: Callable[[], float]
    ) -> float:
        """Seconds to wait before the next stream, after one ended by `error` or by itself.

        Raises:
            TwofoldError: `error`, where another stream cannot help.
            DeadlineExceeded: the watch's own time is over.
        """
        if self._ends_s is not None and now_s >= self._ends_s:
            raise errors.DeadlineExceeded(
                f"{self._job} has not ended within {self._timeout_s} s; it goes on",
                resource=self._job,
            ) from error
        if isinstance(error, errors.DeadlineExceeded):  # the stream's, not the watch's
            self._heard_s, self._failures = now_s, 0
            return 0.0
        lost = error or errors.Unavailable(f"the stream of {self._job} ended early")
        if not isinstance(lost, errors.Unavailable) or now_s - self._heard_s > PATIENCE_S:
            raise lost
        self._failures += 1
        return self._policy.delay_s(self._failures, uniform())


def outcome(job: pb.TrainingJob) -> pb.TrainingJob:
    """`job`, which has ended, if it published a version; raises JobFailed."""
    if job.state == pb.JOB_STATE_SUCCEEDED:
        return job
    state = pb.JobState.Name(job.state).removeprefix("JOB_STATE_")
    reason = pb.JobReason.Name(job.reason).removeprefix("JOB_REASON_")
    text = f"{job.name} is {state} ({reason})"
    raise JobFailed(
        f"{text}: {job.message}" if job.message else text,
        job,
        resource=job.name,
        state=state,
        job_reason=reason,
    )


def version_number(job: pb.TrainingJob) -> int:
    """The number of the version that a job published; raises JobFailed where it did not."""
    return int(outcome(job).model_version.rpartition("/")[2])

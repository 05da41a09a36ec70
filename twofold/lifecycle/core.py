"""What all sides of the ledger share: one event at a time, decided, made final, applied."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from twofold import formats, keys, names, publish
from twofold.errors import Conflict, Corrupt, InvalidField, NotFound
from twofold.faults import fault
from twofold.internal.v1 import record_pb2
from twofold.jobs import Job, Policy, State, Verdict, cancelled, outcome_of, verdict_of
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import World
from twofold.store import Store
from twofold.transitions import CancelAsked, Decided, Event, decide

#: Every conflict means that another's change went through; so many in a row mean a defect.
_TRIES = 50

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker holds, as it was when the attempt began."""

    tenant: str
    job: Job
    record: record_pb2.JobRecord
    attempt: str
    #: Key in the store of the newest checkpoint; None: begin anew.
    resume_path: str | None


class Core:
    """Applies events to jobs. Holds no state of jobs; any number of processes may run it."""

    def __init__(
        self,
        store: Store,
        queue: RedisQueue,
        world: World,
        policy: Policy,
        tenants: Sequence[str] = (LOCAL.tenant,),
    ) -> None:
        self._store = store
        self._queue = queue
        self._clock = world.clock
        self._randomness = world.randomness
        self._policy = policy
        self._tenants = tuple(tenants)
        self._off_loop = world.off_loop
        # attempt -> monotonic second until which its last heartbeat counts. Owned by the event
        # loop's thread; read by publishing threads.
        self._held_until_s: dict[str, float] = {}

    async def announce_versions(self, tenant: str) -> None:
        """Tells inferers that an alias or a withdrawal changed; publishing tells by itself."""
        await self._queue.announce_versions(tenant)

    async def _apply(self, tenant: str, job_id: str, event: Event) -> Job | None:
        """The job after `event`, None where the queue does not know it; raises Fenced.

        A terminal verdict is decided in the store first; whoever won there is what is applied.
        """
        token = self._ulid()
        for _ in range(_TRIES):
            job, now_ms = await self._queue.read(tenant, job_id)
            changes = decide(job, event, now_ms, self._policy)
            if changes.drop:
                await self._queue.drop(tenant, changes.drop)
            if changes.verdict and job:
                verdict = await self._settle(tenant, job, changes.verdict)
                event = Decided(verdict, changes.ended_attempt)
                continue
            if changes.job is None or job is None:
                return job
            stored = await self._queue.apply(tenant, job, changes.job, token)
            if stored is not None:
                _report(job, stored)
                return stored
        raise Conflict("the job changed too often; try again", resource=f"jobs/{job_id}")

    async def _apply_verdict(self, tenant: str, job_id: str, verdict: Verdict) -> Job | None:
        """The job after what the store has decided; a cancelled one's worker may yet let go."""
        if verdict.state == State.JOB_STATE_CANCELLED:
            return await self._apply(tenant, job_id, CancelAsked())
        return await self._apply(tenant, job_id, Decided(verdict))

    async def _settle(self, tenant: str, job: Job, verdict: Verdict) -> Verdict:
        """Decides in the store how the job ends; the verdict that stands, maybe another."""
        return await self._off_loop(self._settle_now, tenant, job, verdict)

    def _settle_now(self, tenant: str, job: Job, verdict: Verdict) -> Verdict:
        proposed = outcome_of(verdict, job.model, job.attempt)
        fault("ledger.settling")
        winner = publish.decide_outcome(self._store, tenant, job.id, proposed)
        fault("ledger.settled")
        publish.complete(self._store, tenant, winner)
        return verdict_of(winner)

    def _standing_verdict(self, tenant: str, job_id: str) -> Verdict | None:
        """The verdict that stands in the store, its version made visible; None: undecided."""
        outcome = self._standing_outcome(tenant, job_id)
        if outcome is None:
            return None
        publish.complete(self._store, tenant, outcome)
        return verdict_of(outcome)

    def _standing_outcome(self, tenant: str, job_id: str) -> record_pb2.JobOutcome | None:
        """The outcome that stands in the store; None: undecided.

        Where only the cancel file stands, its writer died: CANCELLED is decided on its behalf.
        """
        outcome = publish.standing_outcome(self._store, tenant, job_id)
        if outcome is None and self._store.exists(keys.job_cancel(tenant, job_id)):
            proposed = replace(cancelled(), end_ms=self._clock.time_ms())
            outcome = publish.decide_outcome(self._store, tenant, job_id, outcome_of(proposed))
        return outcome

    def _read_record(self, tenant: str, job_id: str) -> record_pb2.JobRecord:
        """What was asked; raises InvalidField, NotFound, Corrupt."""
        names.check_ulid("job", job_id)
        data = self._store.read(keys.job_spec(tenant, job_id))
        resource = f"jobs/{job_id}"
        if data is None:
            raise NotFound(f"{resource} does not exist", resource=resource)
        try:
            record = record_pb2.JobRecord.FromString(data)
        except DecodeError as error:
            raise Corrupt(f"the record of {resource} cannot be read", resource=resource) from error
        if record.format_version != formats.JOB:
            raise Corrupt(
                f"the record of {resource} is of format {record.format_version}; this release "
                f"reads {formats.JOB}",
                resource=resource,
            )
        return record

    def _ulid(self) -> str:
        return names.ulid(self._clock.time_ms, self._randomness.token_bytes)


def begun_attempts(store: Store, tenant: str, job_id: str) -> list[str]:
    """The attempts that have a folder of checkpoints, oldest first.

    Other names there are not ours: file managers and NFS leave some.
    """
    return [name for name in store.names(keys.job_checkpoints(tenant, job_id)) if _is_ulid(name)]


def _is_ulid(name: str) -> bool:
    try:
        names.check_ulid("attempt", name)
    except InvalidField:
        return False
    return True


def _report(old: Job, new: Job) -> None:
    """One log line per transition."""
    if (old.state, old.phase) != (new.state, new.phase):
        state = State.Name(new.state).removeprefix("JOB_STATE_")
        extra = {"job": new.id, "state": state, "attempt": new.attempt or old.attempt}
        _log.info("a job changed state", extra=extra)

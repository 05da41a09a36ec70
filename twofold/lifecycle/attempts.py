"""The workers' side of the ledger: claim, heartbeat, and the ways an attempt ends."""

import logging
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

from twofold import keys, publish
from twofold.errors import Corrupt, NotFound, Unavailable
from twofold.faults import fault
from twofold.internal.v1 import record_pb2
from twofold.jobs import Fenced, Job, Phase, Reason, Verdict, failed, outcome_of, verdict_of
from twofold.lifecycle.core import Claim, Core, begun_attempts
from twofold.lifecycle.setbacks import Setbacks
from twofold.queue import Entry
from twofold.queue.connection import BLOCK_LIMIT_S
from twofold.store import Store
from twofold.transitions import (
    Beat,
    Claimed,
    Decided,
    Event,
    Evicted,
    Failed,
    HandedBack,
    Stopped,
)
from twofold.v1 import model_pb2, training_pb2

#: A checkpoint's name is the steps done in it, and its format.
_CHECKPOINT = re.compile(r"([0-9]{1,18})\.[a-z]+")
#: A worker that holds so many jobs which the store does not let it begin takes no more of them.
_STUCK_LIMIT = 3
#: Between two looks at a server that is away.
_PAUSE_S = 0.5

_log = logging.getLogger(__name__)


class Attempts(Core):
    """What workers do; see Ledger. All but `claim` and `follow` raise Fenced for a lost job."""

    async def claim(self, worker: str, block_s: float) -> Claim | None:
        """Takes the next job, waiting up to `block_s`; None where none came.

        `worker` is unique among living workers and holds one job at a time. Pause before the next
        call where this one raises: its job stays with `worker`, at no cost, until its lease ends.
        """
        share_s = block_s / len(self._tenants)
        for tenant in self._tenants:
            claim = await self._begin_held(tenant, worker)
            if claim is None:
                entry = await self._wait_for_entry(tenant, worker, share_s)
                claim = await self._begin(tenant, worker, entry) if entry else None
            if claim is not None:
                return claim
        return None

    async def beat(
        self,
        claim: Claim,
        phase: training_pb2.JobPhase,
        progress: training_pb2.Progress | None = None,
    ) -> Job:
        """Renews the lease; the job as it stands, which may be CANCELLING."""
        begun_s = self._clock.monotonic_s()
        data = None if progress is None else progress.SerializeToString(deterministic=True)
        job = await self._act(claim, Beat(claim.attempt, phase, data))
        self._hold(claim.attempt, begun_s)
        return job

    async def follow(self, claim: Claim) -> AsyncIterator[Job]:
        """The job at once and after each change that users see; outlives outages of the queue.

        Raises:
            Fenced: the attempt no longer holds the job.
        """
        cursor = ""
        while True:
            try:
                if not cursor:
                    cursor = await self._queue.last_cursor(claim.tenant, claim.job.id)
                    job, _ = await self._queue.read(claim.tenant, claim.job.id)
                    yield _require_held(job, claim)
                events = await self._queue.events(claim.tenant, claim.job.id, cursor, BLOCK_LIMIT_S)
            except Unavailable:
                cursor = ""
                await self._clock.sleep(_PAUSE_S)
                continue
            for event in events:
                cursor = event.cursor
                yield _require_held(event.job, claim)

    async def publish(self, claim: Claim, manifest: model_pb2.Manifest) -> record_pb2.JobOutcome:
        """Publishes the attempt's artifact and ends the job; the outcome, maybe another's.

        Heartbeats must go on meanwhile. `manifest` is as the training process made it.

        Raises:
            Fenced: the attempt lost the job before the outcome was decided.
            Corrupt: the artifact is not what the manifest says.
        """
        standing = await self._off_loop(
            publish.read_outcome, self._store, claim.tenant, claim.job.id
        )
        if standing is None:
            await self.beat(claim, Phase.JOB_PHASE_PUBLISHING)
        outcome = await self._off_loop(self._publish_now, claim, manifest)
        fault("ledger.published")
        verdict = verdict_of(outcome)
        await self._apply(claim.tenant, claim.job.id, Decided(verdict))
        self._held_until_s.pop(claim.attempt, None)
        return outcome

    async def fail(self, claim: Claim, reason: training_pb2.JobReason, message: str) -> Job:
        """The attempt failed: repeated after a wait, or FAILED, by the spec's limits."""
        jitter = self._randomness.uniform()
        return await self._end(claim, Failed(claim.attempt, reason, message, jitter))

    async def evicted(self, claim: Claim, signal_number: int) -> Job:
        """The training process died by a signal: queued again, FAILED the third time."""
        return await self._end(claim, Evicted(claim.attempt, _describe_signal(signal_number)))

    async def hand_back(self, claim: Claim) -> Job:
        """The worker stops: queued again at once, nothing is charged."""
        return await self._end(claim, HandedBack(claim.attempt))

    async def cancelled(self, claim: Claim) -> Job:
        """The attempt ended because the job is CANCELLING: CANCELLED."""
        return await self._end(claim, Stopped(claim.attempt))

    async def _act(self, claim: Claim, event: Event) -> Job:
        try:
            job = await self._apply(claim.tenant, claim.job.id, event)
        except Fenced:
            self._held_until_s.pop(claim.attempt, None)
            raise
        if job is None:
            raise Fenced(claim.attempt)
        return job

    async def _end(self, claim: Claim, event: Event) -> Job:
        job = await self._act(claim, event)
        self._held_until_s.pop(claim.attempt, None)
        return job

    def _hold(self, attempt: str, begun_s: float) -> None:
        # Counted from before the call: the server's lease cannot end earlier than this.
        self._held_until_s[attempt] = begun_s + self._policy.lease_ms / 1000

    def _forget_expired(self, now_s: float) -> None:
        """Attempts that were dropped leave their last lease behind."""
        for attempt in [name for name, end_s in self._held_until_s.items() if end_s < now_s]:
            del self._held_until_s[attempt]

    def _publish_now(self, claim: Claim, manifest: model_pb2.Manifest) -> record_pb2.JobOutcome:
        job = claim.job
        attempt = publish.Attempt(
            claim.tenant, job.id, claim.attempt, job.attempt_count, job.eviction_count
        )

        def may_decide() -> bool:
            return self._clock.monotonic_s() < self._held_until_s.get(claim.attempt, 0)

        return publish.publish(self._store, self._clock, attempt, manifest, may_decide=may_decide)

    async def _wait_for_entry(self, tenant: str, worker: str, block_s: float) -> Entry | None:
        until_s = self._clock.monotonic_s() + block_s
        while True:
            left_s = max(0.0, until_s - self._clock.monotonic_s())
            entry = await self._queue.next_entry(tenant, worker, left_s)
            if entry is not None or left_s <= BLOCK_LIMIT_S:
                return entry

    async def _begin_held(self, tenant: str, worker: str) -> Claim | None:
        """The claim of what was given to us before: nobody else will get it in its lease.

        The answer was lost, or the job could not begin. A bad job must not hold the worker, so it
        goes on to others. A store that is away makes every job look bad: then one that took job
        after job would keep them from workers whose store is there.
        """
        setbacks = Setbacks()
        for entry in await self._queue.held_entries(tenant, worker):
            with setbacks.of(entry.job):
                claim = await self._begin(tenant, worker, entry)
                if claim is not None:
                    return claim
        setbacks.raise_passing(_STUCK_LIMIT)
        return None

    async def _begin(self, tenant: str, worker: str, entry: Entry) -> Claim | None:
        """The claim of a received entry; None where it stands for nothing, or the job is over."""
        fault("ledger.received")
        found = await self._off_loop(self._look_up, tenant, entry.job)
        if isinstance(found, Verdict):
            await self._apply(tenant, entry.job, Decided(found))
            await self._queue.drop(tenant, entry.id)
            _log.info("an entry stood for nothing", extra={"job": entry.job, "entry": entry.id})
            return None
        attempt, begun_s = self._ulid(), self._clock.monotonic_s()
        job = await self._apply(tenant, entry.job, Claimed(entry.id, attempt, worker))
        fault("ledger.claimed")
        if job is None or job.attempt != attempt:
            return None
        self._forget_expired(begun_s)
        self._hold(attempt, begun_s)
        record, resume_path = found
        return Claim(tenant, job, record, attempt, resume_path)

    def _look_up(
        self, tenant: str, job_id: str
    ) -> tuple[record_pb2.JobRecord, str | None] | Verdict:
        """What to train and the checkpoint to resume from; how it ended where it is over."""
        verdict = self._standing_verdict(tenant, job_id)
        if verdict is not None:
            return verdict
        try:
            record = self._read_record(tenant, job_id)
        except (NotFound, Corrupt) as error:
            _log.exception("a job's record is lost", extra={"job": job_id, "error": error.message})
            lost = failed(Reason.JOB_REASON_STORE, "the job's record is lost")
            proposed = outcome_of(replace(lost, end_ms=self._clock.time_ms()))
            return verdict_of(publish.decide_outcome(self._store, tenant, job_id, proposed))
        return record, newest_checkpoint(self._store, tenant, job_id)


def newest_checkpoint(store: Store, tenant: str, job_id: str) -> str | None:
    """The key of the checkpoint with the most steps, the youngest attempt's of equal ones."""
    best: tuple[int, str, str] | None = None
    for attempt in begun_attempts(store, tenant, job_id):
        folder = keys.attempt_checkpoints(tenant, job_id, attempt)
        for name in store.names(folder):
            found = _CHECKPOINT.fullmatch(name)
            if found:
                best = max(best or (-1, "", ""), (int(found[1]), attempt, f"{folder}/{name}"))
    return best[2] if best else None


def _require_held(job: Job | None, claim: Claim) -> Job:
    if job is None or job.is_terminal or job.attempt != claim.attempt:
        raise Fenced(claim.attempt)
    return job


def _describe_signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    return f"the training process died by signal {number} ({name})"

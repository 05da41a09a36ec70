"""Rebuilding the queue from the store: after a wipe, a failover, or a crash between two steps.

The store says which jobs there are and which have ended. A job that the queue does not know is made
again; one that the queue takes for live although it ended is ended there too. Any number may do
this at once, beside workers at work: each step is one of the usual changes or an exclusive create.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twofold import identity, keys, names
from twofold.errors import Corrupt, InvalidField, NotFound, Unimplemented
from twofold.faults import fault
from twofold.jobs import Job, Verdict, new_job
from twofold.lifecycle.core import Core, begun_attempts
from twofold.lifecycle.setbacks import Setbacks
from twofold.queue import Origin
from twofold.transitions import Created, Restored, decide

#: Jobs looked at in one round trip: the event loop stands still while their changes are packed.
_CHUNK = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found and done, in jobs."""

    jobs: int = 0
    #: Made again in the queue, or put back to where they must stand in it.
    enqueued: int = 0
    #: Taken for live by the queue, although they had ended.
    ended: int = 0

    def __add__(self, other: "Reconciled") -> "Reconciled":
        return Reconciled(
            self.jobs + other.jobs, self.enqueued + other.enqueued, self.ended + other.ended
        )


class Reconciler(Core):
    """Compares store and queue; see Ledger."""

    async def recover(self) -> Reconciled | None:
        """Reconciles if the server may have lost data since anyone last did; None: it has not.

        A server that restarted, was replaced or emptied may have. One round trip else.
        """
        done = Reconciled()
        lost = False
        for tenant in self._tenants:
            origin = await self._queue.origin(tenant, self._ulid)
            if origin.is_checked:
                continue
            lost = True
            done += await self._compare(tenant, origin)
        return done if lost else None

    async def reconcile(self) -> Reconciled:
        """Makes the queue know every job of the store as it must; idempotent."""
        done = Reconciled()
        for tenant in self._tenants:
            origin = await self._queue.origin(tenant, self._ulid)
            done += await self._compare(tenant, origin)
        return done

    async def pair(self) -> None:
        """Makes a queue that belongs to no store this store's; every process does so first.

        Raises:
            UnusableSettings: it belongs to another.
        """
        of_store = await self._off_loop(identity.make, self._store, self._ulid())
        for tenant in self._tenants:
            identity.check(of_store, await self._queue.belong(tenant, of_store))

    async def _compare(self, tenant: str, origin: Origin) -> Reconciled:
        await self.pair()  # what was lost may include whose the queue is
        done = await self._reconcile(tenant)
        # Of the origin from before: what was lost meanwhile is found by the next look.
        await self._queue.set_checked(tenant, origin)
        return done

    async def _reconcile(self, tenant: str) -> Reconciled:
        done, setbacks = Reconciled(), Setbacks()
        found = await self._off_loop(self._store.names, keys.jobs(tenant))
        for begin in range(0, len(found), _CHUNK):
            done += await self._reconcile_chunk(tenant, found[begin : begin + _CHUNK], setbacks)
        setbacks.raise_passing()  # not compared: a job whose folder was not read may be missing
        _log.info("reconciled", extra={"jobs": done.jobs, "enqueued": done.enqueued})
        return done

    async def _reconcile_chunk(
        self, tenant: str, job_ids: Sequence[str], setbacks: Setbacks
    ) -> Reconciled:
        # The queue first: what it then says of a job is at most older than what the store says.
        known = await self._read_known(tenant, job_ids, setbacks)
        queued = {job.id: job for job in known.values() if job is not None}
        unsure = [job_id for job_id in known if not _has_ended(queued.get(job_id))]
        ended, open_jobs = await self._off_loop(self._read_states, tenant, unsure, setbacks)
        fault("reconcile.read")
        missing = [job for job_id, job in open_jobs.items() if job_id not in queued]
        made = await self._enqueue_all(tenant, missing, setbacks)
        stale = {job_id: verdict for job_id, verdict in ended.items() if job_id in queued}
        done = await self._end_all(tenant, stale, setbacks)
        letting_go = [job for job in done if job is not None and not job.is_terminal]
        live = [queued[job_id] for job_id in open_jobs if job_id in queued]
        restored = await self._restore(tenant, [*live, *letting_go], setbacks)
        return Reconciled(len(job_ids), made + restored, len(done) - len(letting_go))

    async def _read_known(
        self, tenant: str, job_ids: Sequence[str], setbacks: Setbacks
    ) -> dict[str, Job | None]:
        """What the queue says of each job; those of which it says what we cannot read are left."""
        try:
            found = await self._queue.read_many(tenant, job_ids)
            return dict(zip(job_ids, found, strict=True))
        except (Unimplemented, ValueError):  # one of them: which?
            known: dict[str, Job | None] = {}
            for job_id in job_ids:
                with setbacks.of(job_id):
                    known[job_id], _ = await self._queue.read(tenant, job_id)
            return known

    def _read_states(
        self, tenant: str, job_ids: Sequence[str], setbacks: Setbacks
    ) -> tuple[dict[str, Verdict], dict[str, Job]]:
        """Of the jobs: the verdicts of those that ended; the others, as good as new."""
        ended: dict[str, Verdict] = {}
        open_jobs: dict[str, Job] = {}
        for job_id in job_ids:
            with setbacks.of(job_id):
                try:
                    state = self._read_state(tenant, job_id)
                except (Corrupt, InvalidField, NotFound) as error:
                    _log.warning("not a job", extra={"job": job_id, "why": error.message})
                    continue
                if isinstance(state, Verdict):
                    ended[job_id] = state
                else:
                    open_jobs[job_id] = state
        return ended, open_jobs

    def _read_state(self, tenant: str, job_id: str) -> Verdict | Job:
        names.check_ulid("job", job_id)
        parts = self._store.names(keys.job(tenant, job_id))
        if "outcome" in parts or "cancel" in parts:
            verdict = self._standing_verdict(tenant, job_id)
            if verdict is not None:
                return verdict
        job = new_job(job_id, self._read_record(tenant, job_id))
        begun = begun_attempts(self._store, tenant, job_id) if len(parts) > 1 else []
        return job._replace(attempt_count=len(begun))

    async def _enqueue_all(self, tenant: str, jobs: Sequence[Job], setbacks: Setbacks) -> int:
        """Makes jobs that the queue does not know; how many of them are new to it."""
        if not jobs:
            return 0
        now_ms = await self._queue.time_ms()
        created = [decide(None, Created(job), now_ms, self._policy).job for job in jobs]
        fresh = [(job, self._ulid()) for job in created if job]
        made = await self._queue.create_all(tenant, fresh)
        fault("reconcile.enqueued")
        # Who ended a job meanwhile did not find it in the queue.
        ends = await self._off_loop(self._ends_of, tenant, [job.id for job in jobs], setbacks)
        await self._end_all(tenant, ends, setbacks)
        return sum(job is not None for job in made)

    def _ends_of(
        self, tenant: str, job_ids: Sequence[str], setbacks: Setbacks
    ) -> dict[str, Verdict]:
        found: dict[str, Verdict] = {}
        for job_id in job_ids:
            with setbacks.of(job_id):
                if self._store.exists(keys.job_outcome(tenant, job_id)):
                    verdict = self._standing_verdict(tenant, job_id)
                    if verdict is not None:
                        found[job_id] = verdict
        return found

    async def _end_all(
        self, tenant: str, verdicts: Mapping[str, Verdict], setbacks: Setbacks
    ) -> list[Job | None]:
        """Ends jobs in the queue, as they then are: some, their workers have yet to let go."""
        done: list[Job | None] = []
        for job_id, verdict in verdicts.items():
            with setbacks.of(job_id):
                done.append(await self._apply_verdict(tenant, job_id, verdict))
        return done

    async def _restore(self, tenant: str, live: Sequence[Job], setbacks: Setbacks) -> int:
        """Puts live jobs back into the stream or the delayed ones, where they are missing there."""
        lost = await self._queue.lost_members(tenant, live)
        for job in lost:
            _log.warning("a live job stood nowhere", extra={"job": job.id})
            with setbacks.of(job.id):
                await self._apply(tenant, job.id, Restored(job.change))
        return len(lost)


def _has_ended(job: Job | None) -> bool:
    return job is not None and job.is_terminal

"""What keeps jobs moving when their workers do not: lost leases, due jobs; and figures."""

from twofold.lifecycle.core import Core
from twofold.lifecycle.setbacks import Setbacks
from twofold.queue import Depth, Entry
from twofold.transitions import Decided, Due, LeaseLost

#: The consumer that takes over abandoned entries; it holds none for longer than one call.
_REAPER = "reaper"
#: Workers are gone for a day before they are forgotten.
_FORGET_INTERVAL_S = 600.0


class Patrol(Core):
    """What every worker does now and then, safe to run in any number; see Ledger."""

    #: Monotonic second from which on consumers are looked at again. Owned by the loop's thread.
    _forget_at_s = float("-inf")

    async def reap(self) -> int:
        """Moves jobs on whose lease is lost; how many.

        Does nothing until server and network have been up for a lease: right after an outage every
        lease looks lost, and there are at least three heartbeats in a lease to show that it is not.
        For the same reason one below half a lease makes no living worker lose its own.

        Raises:
            StoreError, Conflict: some job has to wait for another look; the others moved on.
        """
        lease_ms = self._policy.lease_ms
        if not await self._queue.is_steady(lease_ms, lease_ms // 2):
            return 0
        count, setbacks = 0, Setbacks()
        for tenant in self._tenants:
            # All are the reaper's now: one that was passed over would wait for another lease.
            for entry in await self._queue.idle_entries(tenant, _REAPER, self._policy.lease_ms):
                with setbacks.of(entry.job):
                    count += await self._reap_entry(tenant, entry)
        await self._forget_workers()
        setbacks.raise_passing()
        return count

    async def _forget_workers(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._forget_at_s:
            return
        self._forget_at_s = now_s + _FORGET_INTERVAL_S
        for tenant in self._tenants:
            await self._queue.forget_workers(tenant)

    async def promote(self) -> int:
        """Queues delayed jobs that are due; how many. Raises as `reap`."""
        count, setbacks = 0, Setbacks()
        for tenant in self._tenants:
            for job_id in await self._queue.due_jobs(tenant):
                with setbacks.of(job_id):
                    count += await self._promote_job(tenant, job_id)
        setbacks.raise_passing()
        return count

    async def depth(self) -> Depth:
        """How many jobs wait, are delayed, run, and were given up, over all tenants."""
        depths = [await self._queue.depth(tenant) for tenant in self._tenants]
        return sum(depths, Depth())

    async def _promote_job(self, tenant: str, job_id: str) -> bool:
        """Whether there is such a job."""
        job = await self._apply(tenant, job_id, Due())
        if job is None:
            await self._queue.forget_delayed(tenant, job_id)
        return job is not None

    async def _reap_entry(self, tenant: str, entry: Entry) -> bool:
        """Whether the entry's job moved on."""
        verdict = await self._off_loop(self._standing_verdict, tenant, entry.job)
        event = LeaseLost(entry.id) if verdict is None else Decided(verdict)
        job = await self._apply(tenant, entry.job, event)
        if verdict is not None:
            await self._queue.drop(tenant, entry.id)
        return job is not None and job.entry != entry.id

"""Removing from the store what `twofold.collector` says may go: one way for all who collect."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from twofold import collector, inventory, keys, locks, versions
from twofold.collector import Inventory, Policy, Removal
from twofold.errors import Conflict, Corrupt, Unavailable
from twofold.jobs import Job
from twofold.seams import World
from twofold.store import Store

_log = logging.getLogger(__name__)
_BUSY = "another process collects this store; try again later"
#: Jobs asked for at once.
_CHUNK = 500


class JobQueue(Protocol):
    """What is asked of the queue; twofold.queue.RedisQueue has it."""

    async def read_many(self, tenant: str, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs, in order; None for those that are unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """One tenant's part of a store, and the queue of its jobs."""

    store: Store
    queue: JobQueue
    world: World
    tenant: str


async def survey(place: Place, policy: Policy) -> list[Removal]:
    """What may go now. While the queue is away nothing that live jobs wrote is among it."""
    found = await place.world.off_loop(inventory.read, place.store, place.tenant)
    try:
        attempts = await _attempts(place, found)
    except Unavailable as error:
        _log.warning("live jobs' files stay", extra={"reason": error.message})
        attempts = dict[str, str]()
    now_ms = place.world.clock.time_ms()
    return collector.plan(replace(found, attempts=attempts), policy, now_ms)


async def collect(place: Place, policy: Policy) -> list[Removal]:
    """Removes what may go; what went.

    Raises:
        Conflict: another process collects.
        StoreError: the store cannot be used; what went before stays gone.
    """
    place.store.temporary()  # makes the folder of the lock
    lock = place.store.path(keys.collector_lock(place.tenant))
    # One collector at a time, from reading to removing: what one saw must not be removed by
    # another and made again by a user before the first removes it.
    with locks.held(lock, _BUSY):
        planned = await survey(place, policy)
        return [one for one in planned if await place.world.off_loop(_remove, place, policy, one)]


async def _attempts(place: Place, found: Inventory) -> dict[str, str]:
    """The attempt that holds each live job with files, "" for none; absent: not known."""
    live = [job.id for job in found.jobs if job.ending is None and job.folders]
    attempts: dict[str, str] = {}
    for begin in range(0, len(live), _CHUNK):
        chunk = live[begin : begin + _CHUNK]
        jobs = await place.queue.read_many(place.tenant, chunk)
        attempts |= {job.id: job.attempt for job in jobs if job is not None}
    return attempts


def _remove(place: Place, policy: Policy, removal: Removal) -> bool:
    """Whether it went; blocks."""
    if removal.kind == "upload":
        is_gone = _remove_upload(place, policy, removal)
    else:
        is_gone = _remove_keys(place, removal)
    if is_gone:
        extra = {"kind": removal.kind, "resource": removal.name, "reason": removal.why}
        _log.info("removed from the store", extra=extra)
    return is_gone


def _remove_keys(place: Place, removal: Removal) -> bool:
    hidden = keys.version_manifest(place.tenant, *removal.hides) if removal.hides else ""
    for key in removal.keys:
        place.store.remove(key)
        if key == hidden and removal.hides and _is_named(place, *removal.hides):
            # Whoever set the alias looked for the manifest after that, we for the alias after
            # removing the manifest: at least one of us has seen the other.
            place.store.link(keys.version_staged(place.tenant, *removal.hides), hidden)
            return False
    return True


def _is_named(place: Place, model: str, number: int) -> bool:
    """Whether an alias names the version; aliases that cannot be read may."""
    try:
        return number in versions.read_aliases(place.store, place.tenant, model).values()
    except Corrupt:
        return True


def _remove_upload(place: Place, policy: Policy, removal: Removal) -> bool:
    """Removes bytes without a record, unless somebody is at them or was meanwhile."""
    store, tenant = place.store, place.tenant
    sha256 = removal.name.removeprefix("uploads/")
    try:
        with locks.held(store.path(keys.upload_lock(tenant, sha256)), "an upload is under way"):
            changed_ms = inventory.upload_changed_ms(store, tenant, sha256)
            if place.world.clock.time_ms() - changed_ms < policy.grace_ms:
                return False
            part, data = removal.keys
            store.remove(part)
            if not store.exists(keys.dataset_record(tenant, sha256)):
                store.remove(data)
            return True
    except Conflict:
        return False

"""Removing from the store what `twofold.collector` says may go: one way for all who collect."""

import asyncio
import errno
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from twofold import collector, inventory, keys, locks, series_files, versions
from twofold.collector import Policy, Removal
from twofold.errors import Conflict, Corrupt, Unavailable
from twofold.jobs import Job
from twofold.seams import World
from twofold.store import Store, StoreError

_log = logging.getLogger(__name__)
_BUSY = "another process collects this store; try again later"
#: Jobs asked for at once.
_CHUNK = 500


class JobQueue(Protocol):
    """What is asked of the queue; twofold.queue.RedisQueue has it."""

    async def read_many(self, tenant: str, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs, in order; None for those that are unknown."""
        ...

    async def time_ms(self) -> int:
        """The server's clock."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """One tenant's part of a store, and the queue of its jobs."""

    store: Store
    queue: JobQueue
    world: World
    tenant: str


@dataclass(frozen=True, slots=True)
class _Told:
    """What the queue says before the store is read."""

    #: The attempt that holds each live job with files, "" for none; absent: not known.
    attempts: Mapping[str, str]
    #: No later than it is by the queue's clock, unless `is_sure` is False.
    now_ms: int
    is_sure: bool


async def survey(place: Place, policy: Policy) -> list[Removal]:
    """What may go now.

    While the queue is away neither bindings nor jobs are among it, nor what live jobs wrote.
    """
    told = await _ask(place)
    return await place.world.off_loop(_plan, place, policy, told)


async def collect(place: Place, policy: Policy) -> list[Removal]:
    """Removes what may go; what went. What cannot be removed keeps nothing else from going.

    If it is cancelled, it ends once what is being removed is gone.

    Raises:
        Conflict: another process collects.
        StoreError: the store cannot be used, or something could not be removed; what went stays
            gone.
    """
    told, is_over = await _ask(place), threading.Event()
    going = asyncio.create_task(place.world.off_loop(_collect, place, policy, told, is_over))
    try:
        return await asyncio.shield(going)
    except asyncio.CancelledError:
        # The thread goes on, and holds the lock until it is done.
        is_over.set()
        await asyncio.gather(going, return_exceptions=True)
        raise


async def _ask(place: Place) -> _Told:
    live = await place.world.off_loop(inventory.live_jobs, place.store, place.tenant)
    local_ms = place.world.clock.time_ms()
    try:
        attempts = await _attempts(place, live)
        queue_ms = await place.queue.time_ms()
    except Unavailable as error:
        _log.warning("bindings, jobs and live jobs' files stay", extra={"reason": error.message})
        return _Told({}, local_ms, is_sure=False)
    # Of what others wrote, by clocks of their own, nothing goes early because ours is ahead.
    return _Told(attempts, min(local_ms, queue_ms), is_sure=True)


async def _attempts(place: Place, live: Sequence[str]) -> dict[str, str]:
    attempts: dict[str, str] = {}
    for begin in range(0, len(live), _CHUNK):
        chunk = live[begin : begin + _CHUNK]
        jobs = await place.queue.read_many(place.tenant, chunk)
        attempts |= {job.id: job.attempt for job in jobs if job is not None}
    return attempts


def _plan(place: Place, policy: Policy, told: _Told) -> list[Removal]:
    """What may go; blocks."""
    # An attempt that began after the queue was asked has folders that are too young to go.
    found = replace(inventory.read(place.store, place.tenant), attempts=told.attempts)
    planned = collector.plan(found, policy, told.now_ms)
    return [one for one in planned if told.is_sure or one.kind not in ("request", "job")]


def _collect(place: Place, policy: Policy, told: _Told, is_over: threading.Event) -> list[Removal]:
    """See `collect`; blocks. Ends early once `is_over`."""
    place.store.temporary()  # makes the folder of the lock
    lock = place.store.path(keys.collector_lock(place.tenant))
    # One collector at a time, from reading to removing: what one saw must not be removed by
    # another and made again by a user before the first removes it.
    with locks.held(lock, _BUSY):
        gone: list[Removal] = []
        failed: list[tuple[Removal, StoreError]] = []
        needed: set[str] = set()
        for removal in _plan(place, policy, told):
            if is_over.is_set():
                break
            # A repeat that still finds its binding must find the job as well, or it remakes it.
            if removal.name in needed:
                continue
            try:
                if _remove(place, policy, told.now_ms, removal):
                    gone.append(removal)
            except StoreError as error:
                failed.append((removal, error))
                needed.add(removal.binds)
    _report(failed)
    return gone


def _report(failed: Sequence[tuple[Removal, StoreError]]) -> None:
    """Raises the first failure, after one log line that names what it was about."""
    if failed:
        first, error = failed[0]
        extra = {"resource": first.name, "count": len(failed)}
        _log.warning("not all could be removed from the store", extra=extra)
        raise error


def _remove(place: Place, policy: Policy, now_ms: int, removal: Removal) -> bool:
    """Whether it went; blocks."""
    if removal.kind == "upload":
        is_gone = _remove_upload(place, now_ms - policy.grace_ms, removal)
    elif removal.kind == "job":
        is_gone = _remove_job(place, removal)
    elif removal.kind == "scratch":
        is_gone = _remove_scratch(place, removal)
    else:
        is_gone = _remove_keys(place, removal)
    if is_gone:
        extra = {"kind": removal.kind, "resource": removal.name, "reason": removal.why}
        _log.info("removed from the store", extra=extra)
    return is_gone


def _remove_scratch(place: Place, removal: Removal) -> bool:
    """Removes what an attempt wrote. The worker that ended the job may have died before this."""
    job_id = removal.name.split("/")[1]
    if place.store.exists(keys.job_outcome(place.tenant, job_id)):
        series_files.keep(place.store, place.tenant, job_id)
    return _remove_keys(place, removal)


def _remove_job(place: Place, removal: Removal) -> bool:
    """Removes a job's record, if it had one, then the rest, unless a record has come meanwhile.

    A request writes its binding first, then the record. A repeat of one that was cut off in between
    reads the binding, maybe a moment before it goes, and writes the record at any time after: then
    it says OK. So a record that was not planned to go is never removed: neither by name, nor with
    the folder, which goes only if it is empty. Whoever writes a record into a folder that is gone
    fails, or makes it anew, and either is fine.
    """
    store, (*records, folder) = place.store, removal.keys
    for key in records:
        store.remove(key)
    # The outcome last: what still has one does not train again.
    for name in sorted(store.names(folder), key=lambda name: (name == "outcome", name)):
        if store.exists(f"{folder}/spec.pb"):
            return False
        if name != "spec.pb" and inventory.is_ours(name):
            store.remove(f"{folder}/{name}")
    return _remove_empty(store, folder)


def _remove_empty(store: Store, folder: str) -> bool:
    try:
        store.path(folder).rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise StoreError("a folder cannot be removed now; try again later") from error
    store.sync_folder(folder.rpartition("/")[0])
    return True


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


def _remove_upload(place: Place, old_ms: int, removal: Removal) -> bool:
    """Removes bytes without a record, unless somebody is at them or was after `old_ms`."""
    store, tenant = place.store, place.tenant
    sha256 = removal.name.removeprefix("uploads/")
    try:
        with locks.held(store.path(keys.upload_lock(tenant, sha256)), "an upload is under way"):
            if inventory.upload_changed_ms(store, tenant, sha256) > old_ms:
                return False
            part, data = removal.keys
            store.remove(part)
            if not store.exists(keys.dataset_record(tenant, sha256)):
                store.remove(data)
            return True
    except Conflict:
        return False

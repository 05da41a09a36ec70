"""What the store and the queue hold when a run is over, as plain data for the checker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from google.protobuf.message import DecodeError

from twofold import keys, manifest, publish, versions
from twofold.errors import Corrupt, NotFound
from twofold.internal.v1 import record_pb2
from twofold.jobs import Job, Phase, State
from twofold.queue import codec, schema
from twofold.queue.connection import Commands, NoGroup, Reply
from twofold.store import Store
from twofold.v1 import model_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinal:
    """A job. States are names such as "SUCCEEDED"; "" where there is none."""

    id: str
    model: str = "m"
    request_id: str = ""
    #: How it ended, by the store; "" while that is undecided.
    outcome: str = ""
    #: The version that the outcome names; 0: none.
    version: int = 0
    #: What the queue's record says; "" where the queue does not know the job.
    live: str = ""
    live_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFinal:
    """A version that readers see."""

    model: str
    number: int
    #: The job that its manifest names.
    job: str
    #: Whether every file passes its digest.
    is_intact: bool = True


@dataclass(frozen=True, slots=True)
class Final:
    """All of it."""

    jobs: Sequence[JobFinal] = ()
    versions: Sequence[VersionFinal] = ()
    #: What should have gone: entries that stand for nothing, keys that never expire ...
    leaks: Sequence[str] = ()
    #: Temporary files of the store; those of killed processes stay until they are swept.
    temporaries: Sequence[str] = ()


async def read(
    store: Store, commands: Commands, tenant: str, temporaries: Sequence[str] = ()
) -> Final:
    """Reads it from both; nothing may be running any more.

    `temporaries` are the names below the store's folder of temporary files.
    """
    live = await _live(commands, tenant)
    jobs = [_job(store, tenant, job_id, live.get(job_id)) for job_id in _ids(store, tenant, live)]
    visible = [
        _version(store, tenant, model, state.number)
        for model in versions.model_names(store, tenant)
        for state in versions.visible_versions(store, tenant, model)
    ]
    leaks = [*await _immortal(commands, tenant, live), *await _astray(commands, tenant, live)]
    return Final(jobs, visible, leaks, temporaries)


def _ids(store: Store, tenant: str, live: dict[str, Job | None]) -> list[str]:
    return sorted({*store.names(keys.jobs(tenant)), *live})


def _job(store: Store, tenant: str, job_id: str, live: Job | None) -> JobFinal:
    data = store.read(keys.job_spec(tenant, job_id))
    try:
        record = record_pb2.JobRecord.FromString(data or b"")
        outcome = publish.read_outcome(store, tenant, job_id)
    except (DecodeError, Corrupt):
        return JobFinal(id=job_id, outcome="UNREADABLE")
    return JobFinal(
        id=job_id,
        model=record.spec.model,
        request_id=record.request_id,
        outcome=state_name(outcome.state) if outcome else "",
        version=outcome.version if outcome else 0,
        live=state_name(live.state) if live else "",
        live_version=live.version if live else 0,
    )


def state_name(state: int) -> str:
    """The name of a job's state, without its prefix."""
    return State.Name(State.ValueType(state)).removeprefix("JOB_STATE_")


def _version(store: Store, tenant: str, model: str, number: int) -> VersionFinal:
    try:
        found, _ = versions.read_manifest(store, tenant, model, number)
    except (Corrupt, NotFound):
        return VersionFinal(model=model, number=number, job="", is_intact=False)
    job = found.lineage.job.removeprefix("jobs/")
    intact = _has_files(store, tenant, found)
    return VersionFinal(model=model, number=number, job=job, is_intact=intact)


def is_intact(store: Store, tenant: str, model: str, number: int) -> bool:
    """Whether a visible version has a sound manifest and every file passes its digest."""
    try:
        found, _ = versions.read_manifest(store, tenant, model, number)
    except (Corrupt, NotFound):
        return False
    return _has_files(store, tenant, found)


def _has_files(store: Store, tenant: str, found: model_pb2.Manifest) -> bool:
    folder = keys.version(tenant, found.model, found.version)
    try:
        for file in found.files:
            manifest.verify_file(file, store.digest(f"{folder}/{file.name}"))
    except Corrupt:
        return False
    return True


async def _live(commands: Commands, tenant: str) -> dict[str, Job | None]:
    prefix = schema.job(tenant, "")
    found = sorted(await _keys(commands, prefix))
    replies = await commands.call_all([("HGETALL", key) for key in found]) if found else []
    return {
        key.removeprefix(prefix): codec.restored(reply)
        for key, reply in zip(found, replies, strict=True)
    }


async def _keys(commands: Commands, prefix: str) -> list[str]:
    # A pattern's special characters do not occur in our keys; braces are none.
    reply = await commands.call("KEYS", f"{prefix}*")
    return [key.decode() for key in cast("list[bytes]", reply)]


async def _immortal(commands: Commands, tenant: str, live: dict[str, Job | None]) -> list[str]:
    """Keys without a life-time that are not declared permanent."""
    prefix = schema.job(tenant, "").removesuffix("job:")
    found = sorted(await _keys(commands, prefix))
    lives = await commands.call_all([("PTTL", key) for key in found]) if found else []
    leaks: list[str] = []
    for key, life_ms in zip(found, lives, strict=True):
        rest = key.removeprefix(prefix)
        job = live.get(rest.partition(":")[2])
        must_expire = not rest.startswith(schema.PERMANENT) or (
            job is not None and job.is_terminal and rest.startswith(("job:", "events:"))
        )
        if life_ms == -1 and must_expire:
            leaks.append(f"key without a life-time: {rest}")
    return leaks


async def _astray(commands: Commands, tenant: str, live: dict[str, Job | None]) -> list[str]:
    """Entries, and members of the delayed set, that stand for nothing."""
    leaks: list[str] = []
    entries = cast(
        "list[list[Reply]]", await commands.call("XRANGE", schema.queue(tenant), "-", "+")
    )
    for entry_id, fields in entries:
        name = cast("bytes", entry_id).decode()
        job = live.get(codec.pairs(fields)["job"].decode())
        if job is None or job.entry != name:
            leaks.append(f"an entry that stands for nothing: {name}")
    delayed = await commands.call("ZRANGE", schema.delayed(tenant), 0, -1)
    for member in cast("list[bytes]", delayed):
        job = live.get(member.decode())
        if job is None or job.phase not in {Phase.JOB_PHASE_DELAYED, Phase.JOB_PHASE_RETRY_WAIT}:
            leaks.append(f"a delayed job that is none: {member.decode()}")
    return [*leaks, *await _held(commands, tenant, {cast("bytes", entry[0]) for entry in entries})]


async def _held(commands: Commands, tenant: str, entries: set[bytes]) -> list[str]:
    """Pending entries that the stream does not have any more."""
    try:
        reply = await commands.call(
            "XPENDING", schema.queue(tenant), schema.GROUP, "-", "+", 10_000
        )
    except NoGroup:
        return []
    pending = cast("list[list[Reply]]", reply)
    return [
        f"a pending entry that is gone: {cast('bytes', entry[0]).decode()}"
        for entry in pending
        if entry[0] not in entries
    ]

"""What stands in the store, as `twofold.collector` wants to know it. Every call blocks."""

import re
from collections.abc import Iterator

from google.protobuf.message import DecodeError

from twofold import formats, keys, names, publish, versions
from twofold.collector import (
    UNKNOWN_MS,
    Ending,
    Folder,
    Inventory,
    Job,
    Model,
    Request,
    Scratch,
    Upload,
    Version,
)
from twofold.errors import Corrupt, InvalidField
from twofold.internal.v1 import record_pb2
from twofold.lifecycle.attempts import newest_checkpoint
from twofold.store import Store, split_key
from twofold.v1 import training_pb2

_TEMPORARY = re.compile(r"[0-9a-f]{32}")
_KINDS: tuple[Scratch, ...] = ("checkpoints", "artifacts")
#: What a version's folder has beside its files.
_MARKS = frozenset({"claim", "withdrawn.json"})


def read(store: Store, tenant: str) -> Inventory:
    """Everything of one tenant; what cannot be read is left out, or marked as such.

    Raises:
        StoreError: the store cannot be used.
    """
    # In this order: a job is made before the versions, and bindings, that name it stand, so none
    # of those that were seen can seem to be of a job that is gone.
    requests, models = tuple(_requests(store, tenant)), tuple(_models(store, tenant))
    return Inventory(
        tenant=tenant,
        models=models,
        requests=requests,
        jobs=tuple(
            _job(store, tenant, name) for name in store.names(keys.jobs(tenant)) if _is_ulid(name)
        ),
        uploads=tuple(_uploads(store, tenant)),
        temporary=_temporary(store),
    )


def live_jobs(store: Store, tenant: str) -> list[str]:
    """Jobs without an outcome of which attempts have written something.

    Raises:
        StoreError: the store cannot be used.
    """
    ids = filter(_is_ulid, store.names(keys.jobs(tenant)))
    found = {job_id: set(store.names(keys.job(tenant, job_id))) for job_id in ids}
    return [
        job_id
        for job_id, present in found.items()
        if "outcome" not in present and present.intersection(_KINDS)
    ]


def changed_ms(store: Store, key: str) -> int | None:
    """When a file, or the names in a folder, changed last; None where nothing is there.

    UNKNOWN_MS where the disk does not say: what it hides may be young.
    """
    try:
        return store.path(key).lstat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return None
    except OSError:
        return UNKNOWN_MS


def is_ours(name: str) -> bool:
    """Whether a name in a folder can be part of a key; file managers and NFS leave others."""
    try:
        split_key(name)
    except ValueError:
        return False
    return True


def _age_of(store: Store, key: str) -> int:
    """Like `changed_ms`, for what was there a moment ago: its age is not known if it is gone."""
    found = changed_ms(store, key)
    return UNKNOWN_MS if found is None else found


def _is_ulid(name: str) -> bool:
    try:
        names.check_ulid("job", name)
    except InvalidField:
        return False
    return True


def _models(store: Store, tenant: str) -> Iterator[Model]:
    for name in store.names(keys.models(tenant)):
        try:
            names.check_name("model", name)
            aliased = frozenset(versions.read_aliases(store, tenant, name).values())
            numbers = versions.numbers(store.names(keys.model(tenant, name)))
            found = tuple(_version(store, tenant, name, number) for number in numbers)
        except (Corrupt, InvalidField):
            continue  # not ours, or not readable: all of it stays
        yield Model(name, found, aliased)


def _version(store: Store, tenant: str, model: str, number: int) -> Version:
    folder = keys.version(tenant, model, number)
    present = store.names(folder)
    withdrawal = versions.read_withdrawal(store, tenant, model, number)
    claim = _claim(store, keys.version_claim(tenant, model, number))
    times = (_age_of(store, folder), claim.create_time.ToMilliseconds())
    return Version(
        number=number,
        job=claim.job.removeprefix("jobs/"),
        has_claim="claim" in present,
        is_visible="manifest.json" in present,
        withdrawn_ms=withdrawal.create_time.ToMilliseconds() if withdrawal else None,
        files=tuple(name for name in present if name not in _MARKS and is_ours(name)),
        changed_ms=max(times),
    )


def _claim(store: Store, key: str) -> record_pb2.VersionClaim:
    """A claim; an empty one where there is none that this release can read."""
    try:
        claim = record_pb2.VersionClaim.FromString(store.read(key) or b"")
    except (Corrupt, DecodeError):
        claim = record_pb2.VersionClaim()
    return claim if claim.format_version == formats.CLAIM else record_pb2.VersionClaim()


def _job(store: Store, tenant: str, job_id: str) -> Job:
    present = store.names(keys.job(tenant, job_id))
    has_record, changed = "spec.pb" in present, _age_of(store, keys.job(tenant, job_id))
    try:
        outcome = publish.read_outcome(store, tenant, job_id) if "outcome" in present else None
    except Corrupt:
        return Job(id=job_id, has_record=has_record, is_readable=False)
    # Once it has ended no attempt resumes.
    is_resumable = outcome is None and "checkpoints" in present
    newest = newest_checkpoint(store, tenant, job_id) if is_resumable else None
    return Job(
        id=job_id,
        has_record=has_record,
        ending=None if outcome is None else _ending(outcome),
        folders=tuple(_folders(store, tenant, job_id)),
        newest_checkpoint=newest.split("/")[-2] if newest else "",
        changed_ms=changed,
    )


def _ending(outcome: record_pb2.JobOutcome) -> Ending:
    is_refused = outcome.reason == training_pb2.JOB_REASON_NOT_BLESSED
    return Ending(
        outcome.end_time.ToMilliseconds(),
        outcome.model,
        outcome.version,
        outcome.attempt if is_refused else "",
    )


def _folders(store: Store, tenant: str, job_id: str) -> Iterator[Folder]:
    for kind in _KINDS:
        for attempt in store.names(f"{keys.job(tenant, job_id)}/{kind}"):
            if _is_ulid(attempt):
                folder = f"{keys.job(tenant, job_id)}/{kind}/{attempt}"
                yield Folder(kind, attempt, _age_of(store, folder))


def _requests(store: Store, tenant: str) -> Iterator[Request]:
    for name in store.names(keys.requests(tenant)):
        try:
            key = keys.request(tenant, names.check_request_id("request", name))
            record = record_pb2.RequestRecord.FromString(store.read(key) or b"")
        except (Corrupt, DecodeError, InvalidField):
            continue
        if record.format_version == formats.REQUEST:
            # Whose clock was behind when it wrote the binding must not make it end early.
            create_ms = max(record.create_time.ToMilliseconds(), _age_of(store, key))
            yield Request(name, record.job.removeprefix("jobs/"), create_ms)


def _uploads(store: Store, tenant: str) -> Iterator[Upload]:
    """Parts, and data sets' bytes that no record makes visible."""
    pattern = re.compile(re.escape(tenant) + r"\.([0-9a-f]{64})\.(part|lock)")
    parts = {match[1] for name in store.names("tmp") if (match := pattern.fullmatch(name))}
    for sha256 in sorted(parts | set(store.names(keys.datasets(tenant)))):
        try:
            names.check_sha256("dataset", sha256)
        except InvalidField:
            continue
        if sha256 in parts or not store.exists(keys.dataset_record(tenant, sha256)):
            yield Upload(sha256, upload_changed_ms(store, tenant, sha256))


def upload_changed_ms(store: Store, tenant: str, sha256: str) -> int:
    """When bytes came last for a data set without a record; 0 where none are there.

    So of what only a lock is left: it is removed by whoever holds it.
    """
    places = (
        keys.upload_part(tenant, sha256),
        keys.dataset_file(tenant, sha256),
        f"{keys.datasets(tenant)}/{sha256}",
    )
    return max(changed_ms(store, key) or 0 for key in places)


def _temporary(store: Store) -> dict[str, int]:
    """The store's own temporary files; any file there may be another tenant's part."""
    found = filter(_TEMPORARY.fullmatch, store.names("tmp"))
    return {name: _age_of(store, f"tmp/{name}") for name in found}

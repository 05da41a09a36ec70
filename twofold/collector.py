"""What may leave the store. Pure: an inventory and a policy in, removals out, in order.

What is not understood stays, and so does all that a live job, an alias or a reader may still need.
Version numbers are never reused: the folder with a model's highest number always stays, with its
claim, and whoever takes a number looks again for a higher one (see `twofold.publish`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from twofold import keys

#: A repeat within this time finds the first job, so no binding goes before.
REQUEST_LIFE_MS = 24 * 3_600_000
#: The time of what has none that is known: it lies in the future, and so is never old.
UNKNOWN_MS = 1 << 62

Scratch = Literal["checkpoints", "artifacts"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator sets."""

    #: The newest visible versions of a model that stay; 0: all.
    keep_versions: int = 0
    #: How long jobs stay that have ended.
    keep_jobs_ms: int = 30 * 86_400_000
    #: How long something must have been of no use, or untouched, before it goes.
    grace_ms: int = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A folder with a number. Times are milliseconds since the epoch."""

    number: int
    #: The job that claimed it; "" where there is no claim that can be read.
    job: str = ""
    has_claim: bool = True
    is_visible: bool = False
    withdrawn_ms: int | None = None
    #: Everything beside the claim and the withdrawal.
    files: tuple[str, ...] = ()
    changed_ms: int = 0

    @property
    def is_removed(self) -> bool:
        """Whether it was visible and has been taken away, as `publish.complete` sees it."""
        return not self.is_visible and (self.withdrawn_ms is not None or not self.has_claim)


@dataclass(frozen=True, slots=True)
class Model:
    """A model's folder."""

    name: str
    versions: tuple[Version, ...]
    #: Versions that an alias names.
    aliased: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Ending:
    """A job's outcome; `version` is 0 where it published none."""

    end_ms: int
    model: str = ""
    version: int = 0
    #: The attempt whose artifact a gate refused: it is kept to be looked at.
    refused_attempt: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """What one attempt wrote."""

    kind: Scratch
    attempt: str
    changed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job's folder."""

    id: str
    has_record: bool = True
    #: None: it has not ended, as far as the store knows.
    ending: Ending | None = None
    #: False: something of it cannot be read, and all of it stays.
    is_readable: bool = True
    folders: tuple[Folder, ...] = ()
    #: The attempt whose checkpoint the next one resumes from.
    newest_checkpoint: str = ""
    changed_ms: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A binding of a request to a job."""

    id: str
    job: str
    create_ms: int


@dataclass(frozen=True, slots=True)
class Upload:
    """Bytes without a record: of a cut upload, or of one whose server died before the record."""

    sha256: str
    changed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What stands in one tenant's part of the store, and in the folder of temporary files."""

    tenant: str
    models: tuple[Model, ...] = ()
    jobs: tuple[Job, ...] = ()
    requests: tuple[Request, ...] = ()
    uploads: tuple[Upload, ...] = ()
    #: Temporary files by name, and when they changed.
    temporary: Mapping[str, int] = field(default_factory=dict[str, int])
    #: Live jobs that the queue was asked about, and the attempt that holds each, "" for none.
    attempts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing to remove: its keys one after the other, each gone durably before the next."""

    kind: Literal["request", "version", "job", "scratch", "upload", "temporary"]
    name: str
    why: str
    keys: tuple[str, ...]
    #: The visible version that this hides: an alias that was set meanwhile keeps it.
    hides: tuple[str, int] | None = None
    #: What this binding names, which must not go as long as the binding stands.
    binds: str = ""


def plan(inventory: Inventory, policy: Policy, now_ms: int) -> list[Removal]:
    """What may go now. Bindings of requests come before jobs: a repeat must not remake a job."""
    aged = _Aged(inventory, policy, now_ms)
    return [*aged.requests(), *aged.versions(), *aged.jobs(), *aged.uploads(), *aged.temporary()]


class _Aged:
    """An inventory, seen at a time."""

    def __init__(self, inventory: Inventory, policy: Policy, now_ms: int) -> None:
        self._inventory = inventory
        self._tenant = inventory.tenant
        self._policy = policy
        self._now_ms = now_ms
        self._jobs = {job.id: job for job in inventory.jobs}
        # Versions that are there, or may yet become visible: one look per job, of which a model
        # may have as many as versions.
        self._standing = {
            (model.name, version.number)
            for model in inventory.models
            for version in model.versions
            if not version.is_removed
        }

    def requests(self) -> Iterator[Removal]:
        for one in self._inventory.requests:
            if self._is_expired(one):
                key, why = keys.request(self._tenant, one.id), "older than 24 hours"
                yield Removal("request", f"requests/{one.id}", why, (key,), binds=f"jobs/{one.job}")

    def _is_expired(self, request: Request) -> bool:
        return self._now_ms - request.create_ms >= REQUEST_LIFE_MS

    def versions(self) -> Iterator[Removal]:
        for model in self._inventory.models:
            top = max((version.number for version in model.versions), default=0)
            kept = self._kept(model)
            for version in model.versions:
                why = "" if version.number in kept else self._why(version, model)
                is_top = version.number == top
                if why and (version.files or not is_top):
                    yield _version_removal(self._tenant, model.name, version, why, is_top=is_top)

    def _kept(self, model: Model) -> set[int]:
        """Visible versions that stay whatever their age."""
        served = sorted(
            version.number
            for version in model.versions
            if version.is_visible and version.withdrawn_ms is None
        )
        aliased = {one.number for one in model.versions if one.number in model.aliased}
        # Of n the last is the one served by default, so that one always stays.
        return {*served[-self._policy.keep_versions :], *aliased}

    def _why(self, version: Version, model: Model) -> str:
        """Why a version that is not kept may go; "" where it may not, or not yet."""
        since_ms = version.changed_ms
        if not version.is_visible:
            why = self._why_hidden(version, model)
        elif version.withdrawn_ms is None:
            return f"not one of the newest {self._policy.keep_versions}, no alias"
        else:
            why, since_ms = "withdrawn", version.withdrawn_ms
        return why if self._is_old(since_ms) else ""

    def _why_hidden(self, version: Version, model: Model) -> str:
        job = self._jobs.get(version.job)
        if version.is_removed:
            return "left behind by a removal that did not end"
        if job is None:
            return "its job is gone" if version.job else ""
        if not job.is_readable or job.ending is None:
            return ""
        # A version that was decided on but is not visible yet is completed, not removed.
        decided = (job.ending.model, job.ending.version) == (model.name, version.number)
        return "" if decided else "its job ended otherwise"

    def jobs(self) -> Iterator[Removal]:
        bound = {one.job for one in self._inventory.requests if not self._is_expired(one)}
        for job in self._inventory.jobs:
            if not job.is_readable:
                continue
            why = "" if job.id in bound else self._why_job(job)
            if why:
                folder = keys.job(self._tenant, job.id)
                # The record first: without it the folder is no job, so that none comes alive again
                # if its outcome goes and the rest stays. One that has come since is no target.
                spec = (keys.job_spec(self._tenant, job.id),) if job.has_record else ()
                yield Removal("job", f"jobs/{job.id}", why, (*spec, folder))
            else:
                yield from self._scratch(job)

    def _why_job(self, job: Job) -> str:
        if not job.has_record:
            last_ms = max(job.changed_ms, job.ending.end_ms if job.ending else 0)
            return "a folder without a record" if self._is_old(last_ms) else ""
        if job.ending is None or self._now_ms - job.ending.end_ms < self._policy.keep_jobs_ms:
            return ""
        has_version = (job.ending.model, job.ending.version) in self._standing
        return "" if has_version else "ended long ago, its version is gone"

    def _scratch(self, job: Job) -> Iterator[Removal]:
        holder = self._inventory.attempts.get(job.id)
        if job.ending is None and holder is None:
            return  # live, and the queue did not say which attempt holds it
        for folder in job.folders:
            if not _is_needed(job, folder, holder) and self._is_old(folder.changed_ms):
                name = f"jobs/{job.id}/{folder.kind}/{folder.attempt}"
                why = "its job has ended" if job.ending else "of an attempt that is over"
                yield Removal("scratch", name, why, (f"{self._tenant}/{name}",))

    def uploads(self) -> Iterator[Removal]:
        for upload in self._inventory.uploads:
            if self._is_old(upload.changed_ms):
                # Executed under the upload's lock, which is looked for by this name.
                data = f"{keys.datasets(self._tenant)}/{upload.sha256}"
                part = keys.upload_part(self._tenant, upload.sha256)
                yield Removal("upload", f"uploads/{upload.sha256}", "never completed", (part, data))

    def temporary(self) -> Iterator[Removal]:
        for name, changed_ms in self._inventory.temporary.items():
            if self._is_old(changed_ms):
                yield Removal("temporary", f"tmp/{name}", "left behind", (f"tmp/{name}",))

    def _is_old(self, since_ms: int) -> bool:
        return self._now_ms - since_ms >= self._policy.grace_ms


def _is_needed(job: Job, folder: Folder, holder: str | None) -> bool:
    if job.ending is not None:
        return folder.kind == "artifacts" and folder.attempt == job.ending.refused_attempt
    is_resumed = folder.kind == "checkpoints" and folder.attempt == job.newest_checkpoint
    return folder.attempt == holder or is_resumed


def _version_removal(
    tenant: str, model: str, version: Version, why: str, *, is_top: bool
) -> Removal:
    """Removes one version: of the highest only the files, or its number could be taken again.

    The claim goes before the manifest (of the highest, the withdrawal stands instead), so that
    nobody who completes an outcome makes the version visible again.
    """
    number = version.number
    folder = keys.version(tenant, model, number)
    visible = keys.version_manifest(tenant, model, number)
    staged = keys.version_staged(tenant, model, number)
    if is_top:
        found = {f"{folder}/{name}" for name in version.files}
        first = [key for key in (visible, staged) if key in found]
        targets = [*first, *sorted(found.difference(first))]
    else:
        targets = [keys.version_claim(tenant, model, number), visible, staged, folder]
    hides = (model, number) if version.is_visible else None
    return Removal("version", f"models/{model}/versions/{number}", why, tuple(targets), hides)

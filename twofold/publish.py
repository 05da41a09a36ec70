"""Publishing: from an attempt's files to a version that readers see, exactly once per job.

The steps, each durable before the next: claim a number (exclusive create), link the files and stage
the manifest beside them, decide (exclusive create of the job's outcome: one file, one winner,
whoever races), make visible (link the staged manifest to manifest.json). Anyone who reads the
outcome may complete the last step. Nothing is renamed; numbers may have gaps and are never reused:
the folder of a model's highest number is never removed, and who claims a lower one gives it up.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from twofold import formats, keys, manifest, names, versions
from twofold.errors import Corrupt
from twofold.faults import fault
from twofold.internal.v1 import record_pb2
from twofold.jobs import Fenced, Reason, State
from twofold.seams import Clock
from twofold.store import Store
from twofold.v1 import model_pb2

__all__ = [
    "Attempt",
    "Fenced",
    "complete",
    "decide_outcome",
    "publish",
    "read_outcome",
    "standing_outcome",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who publishes, with the job's counts as they are recorded in its outcome."""

    tenant: str
    job: str
    attempt: str
    attempt_count: int
    eviction_count: int


def publish(
    store: Store,
    clock: Clock,
    attempt: Attempt,
    trained: model_pb2.Manifest,
    *,
    may_decide: Callable[[], bool],
) -> record_pb2.JobOutcome:
    """Publishes what `attempt` exported and returns the job's outcome, maybe another's.

    `trained` lists the files in the attempt's artifact folder; its model names where to publish.
    May be repeated after any failure: an outcome that stands is completed and returned.

    Raises:
        Fenced: `may_decide()` was false just before the decision; nothing of it is visible.
        Corrupt: a file of the attempt is missing or differs from `trained`.
        StoreError: the store failed; repeat.
    """
    standing = standing_outcome(store, attempt.tenant, attempt.job)
    if standing is not None:
        complete(store, attempt.tenant, standing)
        return standing
    number = _claim(store, clock, attempt, trained.model)
    fault("publish.claimed")
    _link_files(store, attempt, trained, number)
    fault("publish.linked")
    staged = _stage(store, clock, attempt, trained, number)
    fault("publish.staged")
    if not may_decide():
        _sweep(store, attempt.tenant, trained, number)
        raise Fenced(attempt.attempt)
    winner = _decide(store, clock, attempt, trained.model, (number, manifest.sha256_hex(staged)))
    fault("publish.decided")
    complete(store, attempt.tenant, winner)
    fault("publish.visible")
    if (winner.state, winner.version) != (State.JOB_STATE_SUCCEEDED, number):
        _sweep(store, attempt.tenant, trained, number)
    return winner


def read_outcome(store: Store, tenant: str, job: str) -> record_pb2.JobOutcome | None:
    """How a job ended; None while that is undecided; raises Corrupt."""
    data = store.read(keys.job_outcome(tenant, job))
    return None if data is None else _parsed(data, job)


def standing_outcome(store: Store, tenant: str, job: str) -> record_pb2.JobOutcome | None:
    """Like `read_outcome`, for whoever acts on it: a crash cannot take it back any more."""
    data = store.read_durable(keys.job_outcome(tenant, job))
    return None if data is None else _parsed(data, job)


def _parsed(data: bytes, job: str) -> record_pb2.JobOutcome:
    try:
        outcome = record_pb2.JobOutcome.FromString(data)
    except DecodeError as error:
        raise Corrupt("the job's outcome cannot be read", resource=f"jobs/{job}") from error
    if outcome.format_version != formats.OUTCOME:
        raise Corrupt(
            f"the job's outcome is of format {outcome.format_version}; this release reads "
            f"{formats.OUTCOME}",
            resource=f"jobs/{job}",
        )
    return outcome


def decide_outcome(
    store: Store, tenant: str, job: str, outcome: record_pb2.JobOutcome
) -> record_pb2.JobOutcome:
    """Makes `outcome` the job's, unless one stands already; returns the one that stands."""
    data = outcome.SerializeToString(deterministic=True)
    if store.create(keys.job_outcome(tenant, job), data):
        return outcome
    standing = read_outcome(store, tenant, job)
    if standing is None:
        raise Corrupt("the job's outcome vanished", resource=f"jobs/{job}")
    return standing


def complete(store: Store, tenant: str, outcome: record_pb2.JobOutcome) -> None:
    """Makes the version that `outcome` names visible; anyone may, any number of times.

    One that was visible and has been removed since stays removed.

    Raises:
        Corrupt: the staged manifest is missing or is not the one that was decided on.
    """
    if outcome.state != State.JOB_STATE_SUCCEEDED:
        return
    visible = keys.version_manifest(tenant, outcome.model, outcome.version)
    if store.exists(visible):
        # Another may have linked it a moment ago and not be durable yet.
        store.sync_folder(keys.version(tenant, outcome.model, outcome.version))
        return
    if _is_removed(store, tenant, outcome):
        return
    staged = keys.version_staged(tenant, outcome.model, outcome.version)
    data = store.read(staged, manifest.LIMIT_BYTES)
    if data is None or manifest.sha256_hex(data) != outcome.manifest_sha256:
        resource = f"models/{outcome.model}/versions/{outcome.version}"
        raise Corrupt("the staged manifest is not the one decided on", resource=resource)
    store.link(staged, visible)


def _is_removed(store: Store, tenant: str, outcome: record_pb2.JobOutcome) -> bool:
    """Whether a version without a manifest had one: a collector removes claim, then manifest.

    Of the highest number it leaves the claim, but removes that one only when it is withdrawn.
    """
    withdrawn = keys.version_withdrawn(tenant, outcome.model, outcome.version)
    claim = keys.version_claim(tenant, outcome.model, outcome.version)
    return store.exists(withdrawn) or not store.exists(claim)


def _claim(store: Store, clock: Clock, attempt: Attempt, model: str) -> int:
    """Takes the next number of the model; after a failure, the one that was taken before it."""
    names.check_name("model", model)
    number = max(1, _highest(store, attempt.tenant, model))
    if _is_claimed_by(store, attempt, model, number):
        return number
    claim = record_pb2.VersionClaim(
        format_version=formats.CLAIM, job=f"jobs/{attempt.job}", attempt=attempt.attempt
    )
    claim.create_time.FromMilliseconds(clock.time_ms())
    data = claim.SerializeToString(deterministic=True)
    while True:
        key = keys.version_claim(attempt.tenant, model, number)
        # The highest is without a claim where a failure came between its folder and that.
        if not store.exists(key) and store.create(key, data):
            # Were we stopped for long before this, the number may have been another's, and its
            # folder removed since. Then a higher one stands now.
            if _highest(store, attempt.tenant, model) == number:
                return number
            store.remove(key)
        number = max(number, _highest(store, attempt.tenant, model)) + 1


def _is_claimed_by(store: Store, attempt: Attempt, model: str, number: int) -> bool:
    """Whether an earlier try took the number; else a full store would get fuller with each."""
    data = store.read_durable(keys.version_claim(attempt.tenant, model, number))
    try:
        claim = record_pb2.VersionClaim.FromString(data or b"")
    except DecodeError:
        return False
    return (claim.job, claim.attempt) == (f"jobs/{attempt.job}", attempt.attempt)


def _highest(store: Store, tenant: str, model: str) -> int:
    """The highest number that anyone claimed; 0 for none."""
    return max(versions.numbers(store.names(keys.model(tenant, model))), default=0)


def _link_files(store: Store, attempt: Attempt, trained: model_pb2.Manifest, number: int) -> None:
    """Links the attempt's files into the version's folder, each checked against its digest."""
    artifact = keys.attempt_artifact(attempt.tenant, attempt.job, attempt.attempt)
    folder = keys.version(attempt.tenant, trained.model, number)
    for file in trained.files:
        if not manifest.is_file_name(file.name):
            raise Corrupt("the attempt's manifest names a file that cannot be part of a version")
        manifest.verify_file(file, store.digest(f"{artifact}/{file.name}"))
        store.link(f"{artifact}/{file.name}", f"{folder}/{file.name}")


def _stage(
    store: Store, clock: Clock, attempt: Attempt, trained: model_pb2.Manifest, number: int
) -> bytes:
    """The staged manifest's bytes, of an earlier try where that came so far."""
    data = _staged(clock, attempt, trained, number)
    key = keys.version_staged(attempt.tenant, trained.model, number)
    if store.create(key, data):
        return data
    standing = store.read(key, manifest.LIMIT_BYTES)
    if standing is None:
        raise Corrupt("the staged manifest vanished", resource=f"jobs/{attempt.job}")
    return standing


def _staged(clock: Clock, attempt: Attempt, trained: model_pb2.Manifest, number: int) -> bytes:
    """The manifest's bytes with what only the publisher knows."""
    staged = model_pb2.Manifest()
    staged.CopyFrom(trained)
    staged.format_version = manifest.FORMAT_VERSION
    staged.version = number
    staged.lineage.job = f"jobs/{attempt.job}"
    staged.lineage.attempt = attempt.attempt
    staged.create_time.FromMilliseconds(clock.time_ms())
    data = manifest.encode(staged)
    manifest.decode(data)  # what readers would refuse is refused before it is decided on
    return data


def _decide(
    store: Store, clock: Clock, attempt: Attempt, model: str, version: tuple[int, str]
) -> record_pb2.JobOutcome:
    """Proposes SUCCEEDED with this version, or CANCELLED where that was asked for; the winner."""
    number, sha256 = version
    outcome = record_pb2.JobOutcome(
        format_version=formats.OUTCOME,
        state=State.JOB_STATE_SUCCEEDED,
        model=model,
        version=number,
        manifest_sha256=sha256,
        attempt=attempt.attempt,
        attempt_count=attempt.attempt_count,
        eviction_count=attempt.eviction_count,
    )
    outcome.end_time.FromMilliseconds(clock.time_ms())
    if store.exists(keys.job_cancel(attempt.tenant, attempt.job)):
        outcome.state = State.JOB_STATE_CANCELLED
        outcome.reason = Reason.JOB_REASON_USER
        outcome.ClearField("version")
        outcome.ClearField("manifest_sha256")
    return decide_outcome(store, attempt.tenant, attempt.job, outcome)


def _sweep(store: Store, tenant: str, trained: model_pb2.Manifest, number: int) -> None:
    """Removes what a losing attempt wrote; its claim stays, or the number could be taken again."""
    folder = keys.version(tenant, trained.model, number)
    store.remove(keys.version_staged(tenant, trained.model, number))
    for file in trained.files:
        store.remove(f"{folder}/{file.name}")
    _log.info("a version was given up", extra={"model": trained.model, "version": number})

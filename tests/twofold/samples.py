"""Small but whole manifests, records and attempts."""

import hashlib

from twofold import keys
from twofold.internal.v1 import record_pb2
from twofold.publish import Attempt
from twofold.store import Store
from twofold.v1 import model_pb2

TENANT = "local"
JOB = "01J00000000000000000000000"
FILES = {"graph.pb": b"graph", "weights.safetensors": b"weights", "golden.safetensors": b"golden"}


def sample_manifest(version: int = 1) -> model_pb2.Manifest:
    """A manifest that decodes."""
    manifest = trained_manifest()
    manifest.version = version
    return manifest


def trained_manifest(model: str = "digits") -> model_pb2.Manifest:
    """What a training process says of FILES."""
    manifest = model_pb2.Manifest(format_version=1, model=model)
    for name, data in FILES.items():
        sha256 = hashlib.sha256(data).hexdigest()
        manifest.files.add(name=name, size_bytes=len(data), sha256=sha256)
    manifest.metrics["accuracy"] = 0.1 + 0.2
    manifest.lineage.epoch = 7
    return manifest


def sample_attempt(number: int = 1, job: str = JOB) -> Attempt:
    """An attempt at `job`."""
    return Attempt(TENANT, job, f"01J000000000000000000000A{number}", number, 0)


def export(store: Store, attempt: Attempt) -> None:
    """Writes FILES where the attempt's training process would."""
    folder = keys.attempt_artifact(attempt.tenant, attempt.job, attempt.attempt)
    for name, data in FILES.items():
        store.create(f"{folder}/{name}", data)


def sample_record(model: str = "digits", request_id: str = "") -> record_pb2.JobRecord:
    """What the API makes of a request."""
    record = record_pb2.JobRecord(request_id=request_id, request_sha256="a" * 64)
    record.spec.model = model
    record.spec.data.dataset = "xor"
    record.spec.limits.max_retries = 2
    return record

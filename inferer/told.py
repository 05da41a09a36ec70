"""What an answer tells beside its outputs: the names of its parameters, and their values. Pure.

Strings and int64 alone: clients that were made from the protocol's first protos know no other kind.
"""

from functools import lru_cache

from inferer.wire import int64_parameter
from twofold.v1 import model_pb2

VERSION = "twofold_version"
DIGEST = "twofold_manifest_sha256"
JOB = "twofold_job"
QUEUE_US = "twofold_queue_us"
COMPUTE_US = "twofold_compute_us"
BATCH_ROWS = "twofold_batch_rows"

_queue_us = int64_parameter(QUEUE_US)
_compute_us = int64_parameter(COMPUTE_US)
_batch_rows = int64_parameter(BATCH_ROWS)


def constants(manifest: model_pb2.Manifest, manifest_sha256: str) -> dict[str, str | int]:
    """What is the same in every answer of a version."""
    return {VERSION: manifest.version, DIGEST: manifest_sha256, JOB: manifest.lineage.job}


def varying(queue_ns: int, compute_ns: int, batch_rows: int) -> bytes:
    """What is an answer's own: how long it waited, how long its batch ran, and of how many rows."""
    return _queue_us(queue_ns // 1000) + _of_batch(compute_ns // 1000, batch_rows)


@lru_cache(256)
def _of_batch(compute_us: int, batch_rows: int) -> bytes:
    """The same for all requests of a batch."""
    return _compute_us(compute_us) + _batch_rows(batch_rows)

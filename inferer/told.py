"""What an answer tells beside its outputs: the names of its parameters, and their values. Pure.

Strings and int64 alone: clients that were made from the protocol's first protos know no other kind.
"""

from collections.abc import Mapping

from twofold.v1 import model_pb2

VERSION = "twofold_version"
DIGEST = "twofold_manifest_sha256"
JOB = "twofold_job"
QUEUE_US = "twofold_queue_us"
COMPUTE_US = "twofold_compute_us"
BATCH_ROWS = "twofold_batch_rows"

#: Of an inferer that is told to keep it to itself.
NOTHING: Mapping[str, int] = {}


def constants(manifest: model_pb2.Manifest, manifest_sha256: str) -> dict[str, str | int]:
    """What is the same in every answer of a version."""
    return {VERSION: manifest.version, DIGEST: manifest_sha256, JOB: manifest.lineage.job}


def varying(queue_ns: int, compute_ns: int, batch_rows: int) -> dict[str, int]:
    """What is an answer's own: how long it waited, how long its batch ran, and of how many rows."""
    return {
        QUEUE_US: queue_ns // 1000,
        COMPUTE_US: compute_ns // 1000,
        BATCH_ROWS: batch_rows,
    }

"""Twofold's side of bench.training: jobs on a cluster, and what their records say of them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from twofold.client import Client
from twofold.v1 import spec_pb2, training_pb2

#: Part of the rows of the large jobs that is held out: evaluated after every epoch, which no other
#: way does.
HELD_OUT = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """What one large job came to."""

    #: Training rows per second from the end of the first epoch to the end of the last, by the times
    #: of the job's metric series: with evaluations, reports and checkpoints.
    wall: float
    #: As the last progress says.
    reported: float
    #: From the submission to the version: with reading, preparing, checking and publishing.
    job_s: float
    #: From the attempt's beginning to the first step: reading, preparing, compiling.
    before_s: float
    #: Training rows.
    rows: int
    choices: spec_pb2.Choices


def large(
    client: Client,
    dataset: str,
    epochs: int,
    training: Mapping[str, object],
    held_out: float = HELD_OUT,
) -> Run:
    """Trains the large network for two epochs or more; `training` is the rest of [training]."""
    spec = {
        "model": "large",
        "data": {"dataset": dataset, "validation_fraction": held_out},
        "network": {"family": "mlp", "hidden": [256, 256]},
        "training": {"optimizer": "adamw", "epochs": epochs, **training},
    }
    submitted_s, begun_s = time.perf_counter(), 0.0
    handle = client.train(spec)  # pyright: ignore[reportArgumentType] - nested values
    for event in handle.watch():
        if event.job.state == training_pb2.JOB_STATE_RUNNING:
            begun_s = begun_s or event.time.timestamp()
    progress = handle.wait().progress
    job_s = time.perf_counter() - submitted_s
    points = handle.metrics()
    first, last = points[0], points[-1]
    epoch_s = (last.time_s - first.time_s) / (last.epoch - first.epoch)
    rows = client.models.version("large", handle.version).manifest.lineage.training_row_count
    return Run(
        wall=rows / epoch_s,
        reported=progress.rows_per_second,
        job_s=job_s,
        before_s=max(0.0, first.time_s - begun_s - epoch_s),
        rows=rows,
        choices=progress.choices,
    )


@dataclass(frozen=True, slots=True)
class Small:
    """A job of which the service should hardly be noticed."""

    epochs: int
    batch_size: int
    network: Mapping[str, object]
    learning_rate: float


SMALL: Mapping[str, Small] = {
    "xor": Small(400, 1024, {"hidden": [8]}, 0.05),
    "digits": Small(50, 64, {"hidden": [128, 64]}, 0.002),
}
#: Stages of a small job, in order: the submission is answered, an attempt has it, its model is
#: trained and checked, it is published.
STAGES = ("accepted", "running", "trained", "succeeded")


def small_ms(client: Client, name: str, dataset: str) -> dict[str, float]:
    """Milliseconds from the submission to each of STAGES, as the client sees them."""
    job = SMALL[name]
    spec = {
        "model": name,
        "data": {"dataset": dataset},
        "network": {"family": "mlp", **job.network},
        "training": {
            "epochs": job.epochs,
            "batch_size": job.batch_size,
            "learning_rate": job.learning_rate,
        },
    }
    begun_s = time.perf_counter()
    handle = client.train(spec)  # pyright: ignore[reportArgumentType] - nested values
    seen = {"accepted": _since_ms(begun_s)}
    for event in handle.watch():
        if event.job.state == training_pb2.JOB_STATE_RUNNING:
            seen.setdefault("running", _since_ms(begun_s))
        if event.job.phase == training_pb2.JOB_PHASE_PUBLISHING:
            seen.setdefault("trained", _since_ms(begun_s))
    seen["succeeded"] = _since_ms(begun_s)
    handle.wait()
    return seen


def _since_ms(begun_s: float) -> float:
    return (time.perf_counter() - begun_s) * 1000

"""Specs and small steps that the end-to-end tests share."""

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from tests.waiting import until
from twofold.client import Client, JobHandle
from twofold.toml_spec import Tree
from twofold.v1 import training_pb2

ROWS: Final = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR: Final = ["0", "1", "1", "0"]


def xor(model: str, **training: object) -> Tree:
    """An MLP that learns XOR exactly."""
    options = {"epochs": 400, "learning_rate": 0.05, "seed": 1, **training}
    network = {"family": "mlp", "hidden": [8], "activation": "tanh"}
    return {"model": model, "data": {"dataset": "xor"}, "network": network, "training": options}  # pyright: ignore[reportReturnType] - options of any kind


def long(model: str, epochs: int = 1_000_000) -> Tree:
    """A job that takes a while and writes a checkpoint after every epoch or so."""
    return xor(model, epochs=epochs, checkpoint_interval=0.05)


#: By then a job of `seconds_long` has written a checkpoint.
CHECKPOINTED_EPOCH: Final = 2_000


def seconds_long(model: str) -> Tree:
    """A job that trains for some seconds and learns XOR."""
    return xor(model, epochs=12_000, checkpoint_interval=0.05)


def until_epoch(handle: JobHandle, epoch: int) -> training_pb2.TrainingJob:
    """The job once it has trained `epoch` epochs."""
    return until_job(handle, lambda job: job.progress.epoch >= epoch)


def until_job(
    handle: JobHandle, is_so: Callable[[training_pb2.TrainingJob], bool]
) -> training_pb2.TrainingJob:
    """The job at its first event that is as wanted."""
    for event in handle.watch(timeout_s=60):
        if is_so(event.job):
            return event.job
    raise AssertionError(f"it never came to it: {handle.job}")


def versions(client: Client, model: str) -> list[int]:
    """The numbers of a model's visible versions, ascending."""
    return sorted(found.manifest.version for found in client.models.versions(model))


def until_served(client: Client, model: str, number: int, timeout_s: float = 10) -> None:
    """Returns once the inferer answers for that version."""

    async def is_ready() -> bool:
        return client.inference.is_model_ready(model, str(number))

    asyncio.run(until(is_ready, timeout_s))

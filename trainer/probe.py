"""Tries batch sizes in a process that may run out of memory: `python -m trainer.probe FD`.

Real steps of the spec's training over made-up rows, optimizer state included. One size at a time,
each a message on the socket; a process that dies says that the size did not fit.
"""
# pyright: reportUnknownMemberType=false

import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import machine, memory, recipe
from trainer.child import die_with_parent
from trainer.cuda_step import WARM_UP_STEPS
from trainer.loop import Loop
from trainer.prepared import Prepared
from trainer.steps import is_out_of_memory
from trainer.wire import read_message, write_message
from twofold.internal.v1 import child_pb2
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

#: The last of them records the step where it is a CUDA graph, which takes as long as many steps.
_WARM_UP_STEPS = WARM_UP_STEPS + 1
#: Steps are measured for this long, and at least this often.
_MEASURED_S = 0.3
_MEASURED_STEPS = 3


def made_up(features: model_pb2.FeatureSpec, count: int, *, scaling: bool) -> Prepared:
    """Rows of the shape of `features`, all of them for training."""
    generator = np.random.default_rng(0)
    width, sizes = (
        len(features.numeric_columns),
        [len(column.vocabulary) for column in features.category_columns],
    )
    x = generator.standard_normal((count, width), dtype=np.float32) if width else None
    category = (
        np.stack([generator.integers(0, size, count) for size in sizes], 1) if sizes else None
    )
    if features.task == spec_pb2.TASK_CLASSIFICATION:
        target = generator.integers(0, len(features.labels), count)
    elif features.task == spec_pb2.TASK_MULTILABEL:
        target = generator.integers(0, 2, (count, len(features.labels))).astype(np.float32)
    else:
        shape = (count, len(features.targets) or 1)
        target = generator.standard_normal(shape, dtype=np.float32)
    arrays = {spec.name: _made_up(spec, count, generator) for spec in features.array_columns}
    has_scale = scaling and width
    return Prepared(
        features=features,
        x_ND=x,
        category_NK=category,
        categories=(),
        target_N=target,
        training_rows=np.arange(count),
        validation_rows=np.arange(0),
        mean_D=np.zeros(width, np.float32) if has_scale else None,
        deviation_D=np.ones(width, np.float32) if has_scale else None,
        arrays=arrays,
        scales_arrays=scaling and any(array.dtype == np.float32 for array in arrays.values()),
    )


def _made_up(
    spec: graph_pb2.TensorSpec, count: int, generator: np.random.Generator
) -> NDArray[np.float32] | NDArray[np.int64]:
    """Rows of an array; identifiers are 0, which is one of any vocabulary."""
    shape = (count, *spec.shape[1:])
    if spec.data_type == graph_pb2.DATA_TYPE_INT64:
        return np.zeros(shape, dtype=np.int64)
    return generator.standard_normal(shape, dtype=np.float32)


def measure(request: child_pb2.ProbeRequest) -> child_pb2.Probed:
    """Trains a few steps of one size. Raises what training raises."""
    spec, size = request.spec, request.batch_size
    prepared = made_up(request.features, size, scaling=spec.data.standardize)
    device = machine.choose_device(request.device)
    made = recipe.make(spec, prepared, device, request.threads)
    # Nothing is compiled here: what is compared are sizes.
    eager = spec_pb2.TrainingSpec()
    eager.CopyFrom(spec)
    eager.training.compile = False
    loop = Loop(replace(made, spec=eager))
    loop.recipe.net.train()
    rows = torch.randperm(size).to(device)
    for _ in range(_WARM_UP_STEPS):
        loop.step(rows)
    count, begun_s = 0, _now_s(loop)
    while count < _MEASURED_STEPS or _now_s(loop) - begun_s < _MEASURED_S:
        loop.step(rows)
        count += 1
    speed = size * count / (_now_s(loop) - begun_s)
    return child_pb2.Probed(
        batch_size=size, rows_per_second=speed, peak_bytes=_peak_bytes(device), fits=True
    )


def answer(request: child_pb2.ProbeRequest) -> child_pb2.Probed:
    """As `measure`; a size that finds no memory does not fit."""
    try:
        return measure(request)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return child_pb2.Probed(batch_size=request.batch_size)


def _now_s(loop: Loop) -> float:
    """The time when all steps are done."""
    loop.total.item()
    return time.perf_counter()


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return memory.peak_bytes()


def volunteer() -> None:
    """Where the machine runs out of memory, Linux ends this process before any other."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def main(arguments: list[str]) -> None:
    """Serves the socket whose number is the first argument until it ends."""
    die_with_parent(os.getppid())
    volunteer()
    machine.allow_determinism()
    with socket.socket(fileno=int(arguments[0])) as stream:
        while (request := read_message(stream, child_pb2.ProbeRequest)) is not None:
            write_message(stream, answer(request))


if __name__ == "__main__":
    main(sys.argv[1:])

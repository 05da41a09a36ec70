"""From a trained network to the files of a version, and what the manifest says of them."""
# pyright: reportUnknownMemberType=false

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as serialize
from torch import Tensor

from trainer import durable
from trainer.prepared import Prepared
from trainer.recipe import Recipe
from twofold import __version__, features, tensors
from twofold.golden import LEAST_RANGE
from twofold.manifest import FORMAT_VERSION, sha256_hex
from twofold.names import TRUTH_TABLES
from twofold.nets import registry
from twofold.nets.net import load
from twofold.v1 import model_pb2

GRAPH, WEIGHTS, GOLDEN = "graph.pb", "weights.safetensors", "golden.safetensors"
#: Enough to see every label of most data sets, small enough to replay at each load.
GOLDEN_ROWS = 16
#: Bytes of golden inputs, unless one row has more: every load reads them.
GOLDEN_BYTES = 64 << 20
EXAMPLE_ROWS = 3
#: Numbers of an array that people are shown; larger ones are left out of the examples.
EXAMPLE_NUMBERS = 64
#: (device, precision) -> parts of the largest output by which an answer may be off. fp32 sums of a
#: wide layer in another order differ by about 1e-6 of it; bf16 keeps 8 bits.
_TOLERANCES: Mapping[tuple[str, str], float] = {
    ("cpu", "fp32"): 1e-5,
    ("cuda", "fp32"): 1e-4,
    ("cpu", "bf16"): 3e-2,
    ("cuda", "bf16"): 3e-2,
}
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Trained:
    """What training ended with."""

    recipe: Recipe
    prepared: Prepared
    #: The published state, on any device.
    state: Mapping[str, Tensor]
    metrics: Mapping[str, float]
    epoch: int


def export(trained: Trained, folder: Path) -> model_pb2.Manifest:
    """Writes the three files durably into `folder`; the manifest but for model, version and job.

    Expected answers are computed as every inferer will: by twofold.nets.net from the very bytes
    that were written, in float32, eagerly, on the CPU.
    """
    graph = trained.recipe.graph
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.state.items()}
    inputs = _golden_inputs(trained)
    outputs = registry.answers(load(graph, state), trained.prepared.features, inputs)
    golden = {f"input.{name}": _stored(array) for name, array in inputs.items()}
    golden |= {f"output.{name}": _stored(array) for name, array in outputs.items()}
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        WEIGHTS: serialize(state),
        GOLDEN: serialize(golden),
    }
    for name, data in files.items():
        durable.write_bytes(folder / name, data)
    manifest = _manifest(trained, files)
    manifest.tolerances.extend(_tolerances(outputs))
    shown = [
        name
        for name, array in inputs.items()
        if name not in trained.prepared.arrays or array[0].size <= EXAMPLE_NUMBERS
    ]
    manifest.examples.extend(_examples({name: inputs[name] for name in shown}))
    return manifest


def _manifest(trained: Trained, files: Mapping[str, bytes]) -> model_pb2.Manifest:
    recipe, prepared = trained.recipe, trained.prepared
    score_count = len(prepared.features.labels) or len(prepared.features.targets) or 1
    inputs, outputs = features.signature(prepared.features, score_count, recipe.graph)
    dataset = recipe.spec.data.dataset
    is_builtin = dataset in TRUTH_TABLES
    return model_pb2.Manifest(
        format_version=FORMAT_VERSION,
        model=recipe.spec.model,
        files=[
            model_pb2.File(name=name, size_bytes=len(data), sha256=sha256_hex(data))
            for name, data in files.items()
        ],
        inputs=inputs,
        outputs=outputs,
        features=prepared.features,
        metrics=dict(trained.metrics),
        lineage=model_pb2.Lineage(
            dataset=f"builtin/{dataset}" if is_builtin else f"datasets/{dataset}",
            spec_sha256=sha256_hex(recipe.spec.SerializeToString(deterministic=True)),
            code_version=__version__,
            torch_version=torch.__version__,
            device=recipe.device.type,
            epoch=trained.epoch,
            training_row_count=len(prepared.training_rows),
            validation_row_count=len(prepared.validation_rows),
            choices=recipe.choices,
        ),
    )


def _golden_inputs(trained: Trained) -> Arrays:
    """Up to GOLDEN_ROWS raw rows, evenly spread over the held-out ones, else the training ones."""
    prepared = trained.prepared
    rows = prepared.validation_rows if len(prepared.validation_rows) else prepared.training_rows
    row_bytes = sum(array[:1].nbytes for array in prepared.arrays.values())
    most = max(1, min(GOLDEN_ROWS, GOLDEN_BYTES // max(row_bytes, 1)))
    count = min(most, len(rows))
    chosen = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    return prepared.raw_inputs(chosen)


def _stored(array: NDArray[np.generic]) -> Tensor:
    """The array as safetensors can hold it: text in the wire's form, as bytes."""
    if array.dtype.kind == "O":
        return torch.frombuffer(bytearray(tensors.to_raw(array)), dtype=torch.uint8)
    return torch.from_numpy(np.ascontiguousarray(array))


def _tolerances(outputs: Arrays) -> list[model_pb2.Tolerance]:
    """One per device and precision; the absolute part scales with the largest expected number."""
    numbers = [array for array in outputs.values() if array.dtype.kind == "f"]
    largest = max((float(np.abs(array).max()) for array in numbers), default=1.0)
    return [
        model_pb2.Tolerance(
            device=device,
            precision=precision,
            absolute=part * max(largest, LEAST_RANGE),
            relative=part,
        )
        for (device, precision), part in _TOLERANCES.items()
    ]


def _examples(inputs: Arrays) -> list[str]:
    """A few raw rows as JSON, for people."""
    count = min((EXAMPLE_ROWS, *(len(array) for array in inputs.values()))) if inputs else 0
    return [
        json.dumps({name: _plain(array[row]) for name, array in inputs.items()})
        for row in range(count)
    ]


def _plain(cells: NDArray[np.generic]) -> list[object]:
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells.tolist()]

"""How fast steps run on a GPU, without queue and services: `make bench-gpu`, `python -m bench.gpu`.

Needs torch, numpy, safetensors and protobuf alone; uses the trainer's own loop, recipe and steps.
Three parts, of which `--only` chooses:

steps: rows per second of MLPs at batches from 1,000 to 1,048,576 rows, against an eager loop and
against Lightning and Hugging Face's Trainer where they can be imported; model FLOP utilisation
against the rate of a large bf16 product, measured here.
epoch: an epoch over 10,500,000 rows of 28 numbers (as many as Higgs has), 500,000 held out.
resume: with training.deterministic, 2N steps equal N, a checkpoint, and N more, to the bit.

`--device cpu --quick` runs the same code in seconds.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import argparse
import importlib.util
import itertools
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.peers import gpu_app
from trainer import checkpoint, machine, recipe
from trainer.loop import Loop
from trainer.prepared import Prepared
from twofold import spec, toml_spec
from twofold.toml_spec import Value
from twofold.v1 import dataset_pb2, model_pb2, spec_pb2

_WIDTH = 28
_BOUNDS = spec.Bounds(max_parameters=10**10, max_memory_bytes=1 << 60)
#: Steps before the time runs: eager ones, recording, one replay.
_WARM_UP_STEPS = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is."""

    nets: Sequence[Sequence[int]]
    batches: Sequence[int]
    #: Rows that the steps gather from, at least.
    rows: int
    #: Measured seconds per case.
    seconds: float
    #: Edge of the product that says what the device can do.
    product: int
    #: Whether some nets are compiled, too; it takes longer than all else.
    compiles: bool
    epoch_rows: int
    epoch_held_out: int
    epoch_batch: int

    def is_end(self, hidden: Sequence[int]) -> bool:
        """Whether it is the first or the last of the nets: what is slow is measured of these."""
        return hidden in (self.nets[0], self.nets[-1])


FULL = Scale(
    nets=((256, 256), (512, 512), (1024, 1024, 1024), (2048, 2048, 2048, 2048)),
    batches=(1_000, 8_192, 65_536, 1_048_576),
    rows=1_048_576,
    seconds=1.0,
    product=8192,
    compiles=True,
    epoch_rows=10_500_000,
    epoch_held_out=500_000,
    epoch_batch=65_536,
)
QUICK = Scale(
    nets=((16, 16),),
    batches=(64, 256),
    rows=1024,
    seconds=0.01,
    product=512,
    compiles=False,
    epoch_rows=2000,
    epoch_held_out=200,
    epoch_batch=256,
)
#: The service's ways, and whether they compile.
OWN: Mapping[str, bool] = {"twofold": False, "twofold compiled": True}
#: Others that may not be there, by the module that each needs.
_FRAMEWORKS: Mapping[str, tuple[tuple[str, ...], Callable[..., float]]] = {
    "Lightning": (("lightning", "pytorch_lightning"), gpu_app.lightning),
    "HF Trainer": (("transformers",), gpu_app.hf_trainer),
}
#: Rows that a framework handles per case, about: each collates its rows one by one.
_FRAMEWORK_ROWS = 100_000
_FRAMEWORK_STEPS = 4


def prepared(rows: int, held_out: int = 0) -> Prepared:
    """Made-up rows of two classes; the last `held_out` of them are for evaluation."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, _WIDTH), dtype=np.float32)
    names = [f"f{index}" for index in range(_WIDTH)]
    return Prepared(
        features=model_pb2.FeatureSpec(
            numeric_columns=names, labels=["0", "1"], task=spec_pb2.TASK_CLASSIFICATION
        ),
        x_ND=x,
        category_NK=None,
        categories=(),
        target_N=(x[:, :4].sum(axis=1) > 0).astype(np.int64),
        training_rows=np.arange(rows - held_out),
        validation_rows=np.arange(rows - held_out, rows),
        mean_D=np.zeros(_WIDTH, np.float32),
        deviation_D=np.ones(_WIDTH, np.float32),
    )


def asked(hidden: Sequence[int], training: Mapping[str, Value], rows: int) -> spec_pb2.TrainingSpec:
    """A completed spec of such an MLP."""
    names = [f"f{index}" for index in range(_WIDTH)]
    tree: dict[str, Value] = {
        "model": "bench",
        "data": {"dataset": "0" * 64, "target": "label", "task": "classification"},
        "network": {"family": "mlp", "hidden": list(hidden)},
        "training": {"optimizer": "adamw", **training},
    }
    real, whole = dataset_pb2.COLUMN_KIND_REAL, dataset_pb2.COLUMN_KIND_INTEGER
    columns = [dataset_pb2.Column(name=name, kind=real, distinct_count=1000) for name in names]
    columns.append(dataset_pb2.Column(name="label", kind=whole, distinct_count=2))
    return spec.complete(toml_spec.from_dict(tree), columns, rows, _BOUNDS)


def make_loop(
    hidden: Sequence[int], training: Mapping[str, Value], data: Prepared, device: torch.device
) -> Loop:
    """The trainer's loop, as a job would have it."""
    rows = len(data.training_rows) + len(data.validation_rows)
    threads = torch.get_num_threads()
    return Loop(recipe.make(asked(hidden, training, rows), data, device, threads))


def flops_per_row(hidden: Sequence[int]) -> int:
    """Of the products of a step: forward, gradients of weights, gradients of inputs but the first.

    Each takes 2 operations per weight.
    """
    widths = [_WIDTH, *hidden, 2]
    products = [a * b for a, b in itertools.pairwise(widths)]
    return 6 * sum(products) - 2 * products[0]


def matmul_rate(edge: int, device: torch.device, seconds: float) -> float:
    """Operations per second of a square bf16 product of random numbers."""
    a, b = (torch.randn(edge, edge, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(a)

    def step() -> None:
        torch.mm(a, b, out=product)

    return 2 * edge**3 / gpu_app.timed(step, device, seconds)


def own_speed(loop: Loop, device: torch.device, seconds: float) -> float:
    """Rows per second of the loop's step over batches that are gathered anew."""
    size, count = loop.recipe.choices.batch_size, len(loop.recipe.training)
    parts = [part for part in torch.randperm(count).to(device).split(size) if len(part) == size]
    loop.recipe.net.train()
    turn = 0

    def step() -> None:
        nonlocal turn
        loop.step(parts[turn % len(parts)] if size < count else None)
        turn += 1

    for _ in range(_WARM_UP_STEPS):
        step()
    return size / gpu_app.timed(step, device, seconds)


def _frameworks() -> dict[str, Callable[..., float]]:
    return {
        name: way
        for name, (modules, way) in _FRAMEWORKS.items()
        if any(importlib.util.find_spec(module) for module in modules)
    }


def _of_frameworks(
    hidden: Sequence[int], batch: int, scale: Scale, device: torch.device
) -> dict[str, float]:
    """Rows per second of those that are there."""
    if not scale.is_end(hidden):
        return {}
    steps = max(_FRAMEWORK_STEPS, min(_FRAMEWORK_ROWS, scale.rows) // batch)
    data = prepared(max(batch * 2, min(_FRAMEWORK_ROWS, scale.rows)))
    assert data.x_ND is not None  # noqa: S101 - made just now
    tensors = (torch.from_numpy(data.x_ND), torch.from_numpy(data.target_N))
    found: dict[str, float] = {}
    for name, way in _frameworks().items():
        found[name] = way(tensors, list(hidden), batch, device, steps)
        gpu_app.clear(device)
    return found


def steps_part(scale: Scale, device: torch.device) -> str:
    """A table of rows per second, in Markdown."""
    peak = matmul_rate(scale.product, device, scale.seconds)
    others = ["eager loop", *_frameworks()]
    intro = (
        f"Rows per second in bf16, AdamW. A bf16 product of {scale.product} x {scale.product} runs "
        f"at {peak / 1e12:,.1f} TFLOP/s here; MFU is the better Twofold way's part of that.\n"
    )
    lines = [
        f"## Steps\n\n{intro}",
        f"| hidden | batch | {' | '.join([*OWN, *others])} | MFU | of the eager loop | execution |",
        "| --- | --- | " + "--- | " * (len(OWN) + len(others)) + "--- | --- | --- |",
    ]
    for hidden in scale.nets:
        for batch in scale.batches:
            lines.append(_steps_line(hidden, batch, scale, device, peak))
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"


def _steps_line(
    hidden: Sequence[int], batch: int, scale: Scale, device: torch.device, peak: float
) -> str:
    data = prepared(max(scale.rows, batch))
    own: dict[str, float] = {}
    execution = ""
    for name, compiles in OWN.items():
        if compiles and not (scale.compiles and scale.is_end(hidden)):
            continue
        options: dict[str, Value] = {"precision": "bf16", "compile": compiles, "batch_size": batch}
        loop = make_loop(hidden, options, data, device)
        own[name] = own_speed(loop, device, scale.seconds)
        choices = loop.choices
        pieces = choices.micro_batch_size
        execution = f"{choices.execution}, {choices.precision}"
        execution += f", in pieces of {pieces:,} rows" if pieces < batch else ""
        del loop
        gpu_app.clear(device)
    assert data.x_ND is not None  # noqa: S101 - made just now
    tensors = (torch.from_numpy(data.x_ND), torch.from_numpy(data.target_N))
    eager = gpu_app.eager(tensors, list(hidden), batch, device, scale.seconds)
    gpu_app.clear(device)
    theirs = _of_frameworks(hidden, batch, scale, device)
    speeds = [own.get(name, 0.0) for name in OWN]
    speeds += [eager, *(theirs.get(name, 0.0) for name in _frameworks())]
    best = max(own.values())
    shown = " | ".join(f"{speed:,.0f}" if speed else "" for speed in speeds)
    return (
        f"| {' x '.join(map(str, hidden))} | {batch:,} | {shown} | "
        f"{best * flops_per_row(hidden) / peak:.1%} | {best / eager:.2f} x | {execution} |"
    )


def epoch_part(scale: Scale, device: torch.device) -> str:
    """Seconds of an epoch with its evaluation, by the trainer's loop."""
    begun_s = time.perf_counter()
    data = prepared(scale.epoch_rows, scale.epoch_held_out)
    made_s = time.perf_counter() - begun_s
    intro = (
        f"{scale.epoch_held_out:,} held out; batches of {scale.epoch_batch:,}, AdamW, bf16; the "
        f"rows were made up in {made_s:.1f} s.\n"
    )
    lines = [
        f"## An epoch of {scale.epoch_rows:,} rows x {_WIDTH}\n\n{intro}",
        "| hidden | to the device | first epoch | second epoch | rows/s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for hidden in (scale.nets[0], scale.nets[-1]):
        options: dict[str, Value] = {
            "precision": "bf16",
            "batch_size": scale.epoch_batch,
            "epochs": 2,
        }
        begun_s = time.perf_counter()
        loop = make_loop(hidden, options, data, device)
        gpu_app.settle(device)
        taken_s = [time.perf_counter() - begun_s]
        while not loop.is_done:
            begun_s = time.perf_counter()
            loop.run_epoch(lambda: False)
            taken_s.append(time.perf_counter() - begun_s)
        speed = len(loop.recipe.training) / taken_s[-1]
        shown = " | ".join(f"{one:.2f} s" for one in taken_s)
        lines.append(f"| {' x '.join(map(str, hidden))} | {shown} | {speed:,.0f} |")
        del loop
        gpu_app.clear(device)
    return "\n".join(lines) + "\n"


def resume_part(scale: Scale, device: torch.device) -> str:
    """Whether training that was resumed equals training that was not; raises SystemExit if not."""
    machine.allow_determinism()
    rows, batch = min(scale.rows, 20_000), min(scale.batches[0], 1000)
    options: dict[str, Value] = {
        "deterministic": True,
        "batch_size": batch,
        "epochs": 4,
        "ema_decay": 0.9,
        "clip_norm": 1.0,
    }
    lines = ["## Resuming with training.deterministic\n"]
    for name in ("fp32", "bf16"):
        different = resume_differences({**options, "precision": name}, rows, scale, device)
        if different:
            raise SystemExit(f"resumed {name} training differs in {', '.join(different)}")
        lines.append(f"- {name}: 2 epochs, a checkpoint, and 2 more equal 4 epochs to the bit.")
    return "\n".join(lines) + "\n"


def resume_differences(
    options: Mapping[str, Value], rows: int, scale: Scale, device: torch.device
) -> list[str]:
    """In what training that was resumed half-way differs: weights, position, surroundings."""
    data, hidden = prepared(rows, rows // 10), scale.nets[0]
    whole = make_loop(hidden, options, data, device)
    while not whole.is_done:
        whole.run_epoch(lambda: False)
    half = make_loop(hidden, options, data, device)
    while half.position.epoch < whole.position.epoch // 2:
        half.run_epoch(lambda: False)
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.write(Path(folder), half)
        resumed = make_loop(hidden, options, data, device)
        different = checkpoint.read(path, resumed)
    if resumed.position != half.position:
        different.append("its position")
    while not resumed.is_done:
        resumed.run_epoch(lambda: False)
    expected = whole.recipe.net.weights()
    found = resumed.recipe.net.weights()
    return different + [name for name in expected if not torch.equal(expected[name], found[name])]


PARTS: Mapping[str, Callable[[Scale, torch.device], str]] = {
    "steps": steps_part,
    "epoch": epoch_part,
    "resume": resume_part,
}


def _machine(device: torch.device) -> str:
    card = "the CPU"
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        card = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, sm_{found.major}{found.minor}"
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    versions += [f"CUDA {torch.version.cuda}"] if torch.version.cuda else []
    versions += [f"numpy {np.__version__}", f"{torch.get_num_threads()} CPU threads"]
    return f"{card}; {', '.join(versions)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser("python -m bench.gpu")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    parser.add_argument("--quick", action="store_true", help="tiny: to try the bench itself")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    scale = QUICK if options.quick else FULL
    machine.allow_determinism()
    device = machine.choose_device(options.device)
    text = f"# The trainer's steps on a device\n\n{_machine(device)}.\n"
    print(text, flush=True)
    for name in options.only.split(","):
        if name not in PARTS:
            raise SystemExit(f"--only: there is no {name!r}; there are {', '.join(PARTS)}")
        part = PARTS[name](scale, device)
        print(part, flush=True)
        text += f"\n{part}"
        if options.output:  # after every part: the next one may run out of time
            options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

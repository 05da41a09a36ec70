"""How long the engine takes for a batch, without network: `python -m bench.engine [--rounds 15]`.

CPU microseconds of one batch of one-row requests, from their arrays to their answers, eager and in
the forms that measuring chose, in turns: medians, and the least and the most of all rounds.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import argparse
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from inferer.forms.choice import Choice
from inferer.forms.eager import EagerForm
from inferer.forms.offers import CpuOffers
from inferer.preparation import Preparation, Structure
from inferer.program import NetProgram
from twofold.features import Features
from twofold.golden import Golden
from twofold.nets import trace
from twofold.nets.net import Net, load
from twofold.tensors import Array
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

ROWS: Final = (1, 4, 16, 64)
_CLASSES: Final = 10
_GOLDEN_ROWS: Final = 16
#: Batches of a round take about this long.
_ROUND_S: Final = 0.02
_TOLERANCE: Final = model_pb2.Tolerance(absolute=1e-4, relative=1e-4)


class Encoder(nn.Module):
    """Two layers of a transformer over 16 steps of 64 numbers."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.output = nn.Linear(64, _CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the mean over all steps."""
        return self.output(self.encoder(x).mean(1))


def mlp() -> nn.Module:
    """The MLP of the serving bench."""
    hidden = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(128, _CLASSES))


def norm_mlp() -> nn.Module:
    """The same with batch normalisation."""
    first = [nn.BatchNorm1d(64), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU()]
    second = [nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU()]
    return nn.Sequential(*first, *second, nn.Linear(128, _CLASSES))


def cnn() -> nn.Module:
    """Two blocks over images of 3 x 16 x 16."""
    first = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(512, _CLASSES))


CASES: Final = {
    "MLP 64-128-128-10": (mlp, (64,)),
    "MLP with batch norm": (norm_mlp, (64,)),
    "CNN 16-32": (cnn, (3, 16, 16)),
    "transformer, 2 layers": (Encoder, (16, 64)),
}


def net_of(module: nn.Module, shape: Sequence[int]) -> Net:
    """A module as it is loaded."""
    traced = trace(module, torch.randn(2, *shape))
    traced.graph.head = graph_pb2.HEAD_SOFTMAX
    return load(traced.graph, dict(traced.state))


def program_of(net: Net, rows: Array, *, may_choose: bool) -> NetProgram:
    """A program that is ready: eager, or in whatever forms are fastest."""
    spec = model_pb2.FeatureSpec(
        target="y", task=spec_pb2.TASK_CLASSIFICATION, labels=map(str, range(_CLASSES))
    )
    spec.array_columns.append(net.graph.inputs[0])
    features, name = Features(spec, net.graph), net.graph.inputs[0].name
    eager = EagerForm(net, torch.device("cpu"))
    fixed = None if may_choose else Choice((("eager", 1),), "asked for")
    structure = Structure(features, lambda _: None, time.thread_time, fixed)
    program = NetProgram(features, eager, Preparation(structure, eager, CpuOffers(net)))
    examples = Golden({name: rows}, program.answer({name: rows}))
    program.replay(examples, _TOLERANCE)
    program.warm_up(examples)
    return program


def measure(
    programs: Mapping[str, NetProgram], parts: list[Mapping[str, Array]], rounds: int
) -> dict[str, list[float]]:
    """CPU microseconds per batch of each program, round by round, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            repeats = max(1, int(_ROUND_S / program.expected_s(len(parts))))
            start_s = time.thread_time()
            for _ in range(repeats):
                program.run(parts)
            taken[name].append((time.thread_time() - start_s) / repeats * 1e6)
    return taken


def _shown(taken: Sequence[float]) -> str:
    return f"{statistics.median(taken):8.1f} ({min(taken):.1f} to {max(taken):.1f})"


def lines_of(title: str, rounds: int) -> list[str]:
    """The table of one network."""
    make, shape = CASES[title]
    torch.manual_seed(1)
    net = net_of(make().eval(), shape)
    rows = np.random.default_rng(3).standard_normal((max(ROWS), *shape), dtype=np.float32)
    programs = {
        "eager": program_of(net, rows[:_GOLDEN_ROWS], may_choose=False),
        "chosen": program_of(net, rows[:_GOLDEN_ROWS], may_choose=True),
    }
    name = net.graph.inputs[0].name
    lines = [f"{title}: {programs['chosen'].told['form']}"]
    for count in ROWS:
        parts: list[Mapping[str, Array]] = [{name: rows[at : at + 1]} for at in range(count)]
        taken = measure(programs, parts, rounds)
        ratio = statistics.median(taken["eager"]) / statistics.median(taken["chosen"])
        shown = "  ".join(f"{each} {_shown(found):32}" for each, found in taken.items())
        lines.append(f"  {count:3} rows  {shown} {ratio:5.2f} x")
    return lines


def main() -> None:
    """Measures every network and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds: int = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, one thread")
    for title in CASES:
        print("\n".join(lines_of(title, rounds)), flush=True)


if __name__ == "__main__":
    main()

"""What a version must answer, computed here from the store's own files."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import functools
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from twofold import keys
from twofold.nets.net import Net, load
from twofold.principal import LOCAL
from twofold.store import LocalStore
from twofold.v1 import graph_pb2

#: Inputs of the truth tables, and some between them.
ROWS = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0.3, 0.6], [-1, 2]], np.float32)
#: Between two ways of computing the same in float32; a wrong version is off by far more.
_TOLERANCE = 1e-4


def is_right(root: Path, model: str, number: int, probabilities: NDArray[np.float32]) -> bool:
    """Whether version `number` answers `probabilities` [rows, classes] for ROWS."""
    expected = _expected(root, model, number)
    return probabilities.shape == expected.shape and bool(
        np.allclose(probabilities, expected, atol=_TOLERANCE)
    )


@functools.cache
def _expected(root: Path, model: str, number: int) -> NDArray[np.float32]:
    net = _net(LocalStore(root, read_only=True), model, number)
    with torch.inference_mode():
        return net.head(net(torch.from_numpy(ROWS.copy()))).numpy()


def _net(store: LocalStore, model: str, number: int) -> Net:
    folder = keys.version(LOCAL.tenant, model, number)
    graph = graph_pb2.Graph.FromString(store.read(f"{folder}/graph.pb") or b"")
    weights = store.read(f"{folder}/weights.safetensors") or b""
    return load(graph, safetensors.torch.load(weights))

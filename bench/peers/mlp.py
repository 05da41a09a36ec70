"""The network for other servers, in plain torch: eager, one thread, weights from a file.

Imported by models of other servers, in environments of their own; the file is that of
TWOFOLD_BENCH_WEIGHTS.
"""
# pyright: basic

import os
from collections.abc import Callable

import numpy as np
import torch

torch.set_num_threads(1)


def load() -> Callable[[np.ndarray], np.ndarray]:
    """What answers a float32 array of rows."""
    stored = np.load(os.environ["TWOFOLD_BENCH_WEIGHTS"])
    layers: list[torch.nn.Module] = []
    for place in range(len(stored.files) // 2):
        weights, bias = (torch.from_numpy(stored[f"{kind}{place}"]) for kind in "wb")
        linear = torch.nn.Linear(weights.shape[1], weights.shape[0])
        linear.load_state_dict({"weight": weights, "bias": bias})
        layers += [linear, torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1]).eval()

    def predict(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(rows)).numpy()

    return predict

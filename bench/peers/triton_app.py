"""model.py of Triton's Python backend: the requests of a batch in one forward pass."""
# pyright: basic

import os
import sys

import numpy as np
import triton_python_backend_utils as backend

sys.path.insert(0, os.environ["TWOFOLD_BENCH_PEERS"])
import mlp


class TritonPythonModel:
    """As the backend wants it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the weights."""
        del args
        self._predict = mlp.load()

    def execute(self, requests: list) -> list:
        """Answers a batch."""
        parts = [backend.get_input_tensor_by_name(each, "INPUT").as_numpy() for each in requests]
        answers = self._predict(np.concatenate(parts) if len(parts) > 1 else parts[0])
        responses, start = [], 0
        for part in parts:
            output = backend.Tensor("OUTPUT", answers[start : start + len(part)])
            responses.append(backend.InferenceResponse([output]))
            start += len(part)
        return responses

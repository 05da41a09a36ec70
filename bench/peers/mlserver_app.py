"""A runtime of MLServer: one forward pass per batch that it made."""
# pyright: basic

import os
import sys

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, os.environ["TWOFOLD_BENCH_PEERS"])
import mlp


class Mlp(MLModel):
    """As MLServer wants it."""

    async def load(self) -> bool:
        """Loads the weights."""
        self._predict = mlp.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answers a batch."""
        rows = np.ascontiguousarray(NumpyCodec.decode_input(payload.inputs[0]), dtype=np.float32)
        output = NumpyCodec.encode_output("OUTPUT", self._predict(rows))
        return InferenceResponse(
            model_name=self.name, model_version=self.version, id=payload.id, outputs=[output]
        )

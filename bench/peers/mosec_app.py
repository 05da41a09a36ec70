"""mosec with batches: float32 bytes of rows in, float32 bytes of answers out, over HTTP/1.1."""
# pyright: basic

import os
import sys

import numpy as np
from mosec import Server, Worker

sys.path.insert(0, os.environ["TWOFOLD_BENCH_PEERS"])
import mlp

_WIDTH = 64


class Mlp(Worker):
    """One process that answers batches."""

    def __init__(self) -> None:
        """Loads the weights."""
        super().__init__()
        self._predict = mlp.load()

    def deserialize(self, data: bytes) -> np.ndarray:
        """Rows of one request."""
        return np.frombuffer(bytearray(data), "<f4").reshape(-1, _WIDTH)

    def forward(self, data: list[np.ndarray]) -> list[np.ndarray]:
        """Answers a batch."""
        answers = self._predict(np.concatenate(data))
        return np.split(answers, np.cumsum([len(part) for part in data])[:-1])

    def serialize(self, data: np.ndarray) -> bytes:
        """Bytes of one answer."""
        return data.tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Mlp, num=1, max_batch_size=64, max_wait_time=1)
    server.run()

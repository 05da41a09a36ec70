"""Serves the fakes on free loopback ports."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from tests.twofold.client.fake_inferer import FakeInferer
from tests.twofold.client.registry.service import FakeModels
from tests.twofold.client.service import FakeDatasets, FakeTraining, Script
from twofold.client import Connection, RetryPolicy
from twofold.v1 import dataset_pb2_grpc, model_pb2_grpc, training_pb2_grpc


@dataclass(frozen=True)
class Servers:
    """Both servers and what they play."""

    train: str
    infer: str
    script: Script
    training: FakeTraining
    datasets: FakeDatasets
    models: FakeModels
    inferer: FakeInferer
    stop_infer: Callable[[], object]
    """Ends the inferer at once, with what is under way."""

    def connection(self, attempts: int = 4) -> Connection:
        """How a client reaches them, with delays short enough for tests."""
        policy = RetryPolicy(attempts=attempts, first_delay_s=0.001, longest_delay_s=0.01)
        return Connection(train=self.train, infer=self.infer, retry=policy)


@contextmanager
def serve() -> Generator[Servers]:
    """Fresh fakes, served until the end of the block."""
    script = Script()
    training, datasets = FakeTraining(script), FakeDatasets(script)
    models, inferer = FakeModels(script), FakeInferer(script)
    with ThreadPoolExecutor(8) as pool:
        trainer, infer = grpc.server(pool), grpc.server(pool)
        training_pb2_grpc.add_TrainingServiceServicer_to_server(training, trainer)
        dataset_pb2_grpc.add_DatasetServiceServicer_to_server(datasets, trainer)
        model_pb2_grpc.add_ModelServiceServicer_to_server(models, trainer)
        infer.add_generic_rpc_handlers((inferer.handlers(),))
        ports = [server.add_insecure_port("127.0.0.1:0") for server in (trainer, infer)]
        trainer.start()
        infer.start()
        try:
            train_address, infer_address = (f"127.0.0.1:{port}" for port in ports)
            played = (script, training, datasets, models, inferer)
            yield Servers(train_address, infer_address, *played, lambda: infer.stop(grace=0))
        finally:
            stopped = [server.stop(grace=0) for server in (trainer, infer)]
            for event in stopped:
                event.wait()

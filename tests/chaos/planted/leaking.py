"""Calls whose store or queue fails in unforeseen ways: callers must not be told how."""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import cast

import grpc.aio

from tests.chaos.runs import Result, Tier, Violation
from trainer.api.desk import Desk
from trainer.api.edge import Edge
from trainer.api.training import TrainingApi
from trainer.api.usage import DatasetUsage
from trainer.checker import GraphChecker
from trainer.metrics import Metrics
from twofold.jobs import Policy
from twofold.lifecycle import Ledger
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, World
from twofold.spec import Bounds
from twofold.store import LocalStore
from twofold.v1 import training_pb2

#: Looks like a key of ours.
_HIDDEN = "twofold:{local}:job:secret-8d1f"
#: What libraries raise where nobody thought of it; each text has something that must stay here.
_ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: OSError(5, "Input/output error", f"/srv/{_HIDDEN}"),
    lambda: KeyError(_HIDDEN),
    lambda: RuntimeError(f"WRONGTYPE of {_HIDDEN}"),
    lambda: ValueError(f"not a key: {_HIDDEN}"),
)
_SERVICE = training_pb2.DESCRIPTOR.services_by_name["TrainingService"]
_BOUNDS = Bounds(max_parameters=1, max_memory_bytes=1)
_JOB = "jobs/01J00000000000000000000000"
_REQUESTS = {
    "GetTrainingJob": training_pb2.GetTrainingJobRequest(name=_JOB).SerializeToString(),
    "CancelTrainingJob": training_pb2.CancelTrainingJobRequest(name=_JOB).SerializeToString(),
    "RetryTrainingJob": training_pb2.RetryTrainingJobRequest(name=_JOB).SerializeToString(),
    "ListTrainingJobs": training_pb2.ListTrainingJobsRequest().SerializeToString(),
}


class Failing:
    """A store or a queue of which every method raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., object]:
        def fail(*_: object) -> object:
            raise self._error

        return fail


def run(seed: int) -> Result:
    """One call, one error."""
    begun_s = time.monotonic()
    random = Random(seed)  # noqa: S311 - chance that can be repeated
    rpc, error = random.choice(sorted(_REQUESTS)), random.choice(_ERRORS)()
    told = asyncio.run(_answer(rpc, error))
    found = [Violation("TEXT", f"{rpc} says {told}")] if _HIDDEN in told else []
    return Result(seed, tuple(found), time.monotonic() - begun_s)


async def _answer(rpc: str, error: Exception) -> str:
    """All that a caller is told."""
    failing = Failing(error)
    store = cast("LocalStore", failing)
    ledger = Ledger(store, cast("RedisQueue", failing), World(), Policy())
    desk = Desk(ledger, store, SystemClock(), DatasetUsage(), asyncio.Event())
    server = grpc.aio.server()
    handlers = Edge(Metrics()).handlers(_SERVICE, TrainingApi(desk, _BOUNDS, 1, GraphChecker()))
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        # Bytes in and out, as grpcio takes them without serializers.
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/{_SERVICE.full_name}/{rpc}",
        )
        try:
            await call(_REQUESTS[rpc])
            told = "nothing"
        except grpc.aio.AioRpcError as failed:
            told = f"{failed.code()} {failed.details()} {failed.trailing_metadata()!r}"
    await server.stop(None)
    return told


TIER = Tier("leaking", run, width=1)

"""Batching and admission over real gRPC, in front of a network that runs when a test lets it."""

import asyncio
import contextlib
import statistics
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from inferer.batcher import Limits, QueuePolicy
from inferer.service import SERVICE
from inferer.transport.grpcio import GrpcioServer
from tests.chaos.serving import doubles
from tests.chaos.serving.site import MODEL, Options, Site, infer_request
from tests.waiting import until
from twofold.rpc import DETAILS_KEY
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.tensors import Array

#: As the warm-up measured it: too long for the event loop.
ROW_S = 0.01
#: How soon a full queue says so.
AT_ONCE_S = 0.01
LIMITS = Limits(
    max_batch_size=4,
    max_queue_size=4,
    queues=(QueuePolicy(4), QueuePolicy(4)),
    default_priority_level=2,
)


class Served:
    """An inferer whose batches wait for `go`."""

    def __init__(self, root: Path) -> None:
        self.ran: list[int] = []
        self.go = threading.Event()
        engine = doubles.FakeEngine(self._note, self._run)
        self.site = Site(root, engine, SystemClock(), Options(LIMITS))
        self._channel: grpc.aio.Channel | None = None

    def _note(self, invariant: str, text: str) -> None:
        """Nothing is published here that must not run."""
        raise AssertionError(invariant, text)

    def _run(self, parts: Sequence[Array], row_s: float) -> None:
        """On the engine's thread; the numbers of the requests that run."""
        del row_s
        self.ran += [int(part[0, 0]) for part in parts]
        self.go.wait(20)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """It listens, within."""
        server = GrpcioServer(self.site.service, SystemClock(), 1 << 20)
        address = await server.start("127.0.0.1:0")
        life = asyncio.create_task(self.site.run())
        try:
            async with grpc.aio.insecure_channel(address) as self._channel:
                await until(self._answers)
                yield
        finally:
            self.go.set()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await server.stop(0)
            self.site.engine.close()

    async def _answers(self) -> bool:
        return bool(list(self.site.models))

    def infer(
        self, number: int, rows: int = 1, timeout_s: float = 20, priority: int = 0
    ) -> "asyncio.Task[bytes]":
        """A call whose rows hold its number."""
        assert self._channel is not None
        method = cast(  # grpcio's stubs leave the types of messages open
            "Callable[..., Awaitable[bytes]]", self._channel.unary_unary(SERVICE + "ModelInfer")
        )
        request = infer_request({"x": np.full((rows, 1), number, np.float32)})
        if priority:
            request.parameters["priority"].uint64_param = priority
        call = method(request.SerializeToString(), timeout=timeout_s)
        return asyncio.ensure_future(call)

    async def wait_for(self, queue_rows: int) -> None:
        """Until a batch runs and so many rows wait."""

        async def do() -> bool:
            (served,) = self.site.models
            return bool(self.ran) and served.lane.queue_rows == queue_rows

        await until(do)


@pytest.fixture
def served(store: LocalStore, tmp_path: Path) -> Served:
    doubles.put(store, SystemClock(), MODEL, doubles.files_of(1.0, ROW_S), 1)
    return Served(tmp_path / "store")


async def error_of(call: "asyncio.Task[bytes]") -> tuple[grpc.aio.AioRpcError, status_pb2.Status]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata() or ())
    return caught.value, status_pb2.Status.FromString(cast("bytes", trailers[DETAILS_KEY]))


async def test_a_full_queue_says_at_once_when_to_come_back(served: Served) -> None:
    """Within 10 ms while the engine is busy: of 20 refusals the median, on a busy machine too."""
    took_s: list[float] = []
    async with served.running():
        calls = [served.infer(0)]
        await served.wait_for(0)
        calls.append(served.infer(1, rows=4))
        await served.wait_for(4)
        for number in range(2, 22):
            begin_s = time.perf_counter()
            error, status = await error_of(served.infer(number))
            took_s.append(time.perf_counter() - begin_s)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            retry = error_details_pb2.RetryInfo()
            assert status.details[1].Unpack(retry)
            assert retry.retry_delay.ToMilliseconds() == 4 * ROW_S * 1000
        served.go.set()
        await asyncio.gather(*calls)

    assert statistics.median(took_s) < AT_ONCE_S
    assert served.ran == [0, 1]


async def test_a_request_of_higher_priority_passes_a_full_queue(served: Served) -> None:
    async with served.running():
        calls = [served.infer(0)]
        await served.wait_for(0)
        calls.append(served.infer(1, rows=4))
        await served.wait_for(4)
        calls.append(served.infer(2, rows=2, priority=1))
        await served.wait_for(6)
        served.go.set()
        await asyncio.gather(*calls)

    assert served.ran == [0, 2, 1]


async def test_what_cannot_be_answered_in_time_is_refused_long_before(
    store: LocalStore, tmp_path: Path
) -> None:
    """A row takes a minute: nobody need wait for 20 s to hear that it is too long."""
    doubles.put(store, SystemClock(), MODEL, doubles.files_of(1.0, 60.0), 1)
    served = Served(tmp_path / "store")
    async with served.running():
        begin_s = time.perf_counter()
        error, status = await error_of(served.infer(0, timeout_s=20))
        took_s = time.perf_counter() - begin_s

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "needs at least 6e+04 ms" in status.message
    assert took_s < 10
    assert served.ran == []

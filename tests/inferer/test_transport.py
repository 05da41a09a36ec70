"""The transports over an application of their own."""

import asyncio
import contextlib
import functools
import math
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Literal, cast

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from inferer.transport import Call, Reply, Server
from inferer.transport.grpcio import GrpcioServer
from inferer.transport.native.server import NativeServer
from inferer.transport.tasks import Tasks
from tests.waiting import until
from twofold.errors import QueueFull
from twofold.rpc import DETAILS_KEY, from_rpc_error
from twofold.seams import SystemClock

MAX_MESSAGE_BYTES = 4096


class FakeApplication:
    """Does what the path says."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._tasks = Tasks()

    def begin(self, call: Call, message: bytes, reply: Reply) -> Callable[[], object] | None:
        return self._tasks.begin(self.unary(call, message), reply)

    def kind(self, path: str) -> Literal["unary", "stream"] | None:
        if path.startswith("/a.Stream/"):
            return "stream"
        return "unary" if path.startswith("/a.Unary/") else None

    async def unary(self, call: Call, message: bytes) -> bytes:
        self.calls.append(call)
        await self._act(call.path.rpartition("/")[2])
        return message[::-1]

    async def stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        self.calls.append(call)
        async for message in messages:
            await self._act(message.decode())
            yield message[::-1]

    async def _act(self, what: str) -> None:
        self.begun.set()
        if what == "full":
            raise QueueFull("10 rows wait", retry_after_s=0.25, resource="models/m")
        if what == "break":
            raise RuntimeError("the secret is 42")
        if what == "hang":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise


class Bench:
    def __init__(self, channel: grpc.aio.Channel, server: Server, address: str) -> None:
        self.channel = channel
        self.server = server
        self.address = address
        self.application = FakeApplication()

    async def call(
        self, path: str, message: bytes = b"abc", timeout_s: float | None = 5, **extra: object
    ) -> bytes:
        # grpcio's stubs leave the types of messages open.
        method = cast("Callable[..., Awaitable[bytes]]", self.channel.unary_unary(path))
        return await method(message, timeout=timeout_s, **extra)

    async def stream(self, *messages: bytes) -> list[bytes]:
        method = cast(
            "Callable[..., AsyncIterator[bytes]]", self.channel.stream_stream("/a.Stream/Echo")
        )
        return [answer async for answer in method(iter(messages), timeout=5)]


@contextlib.asynccontextmanager
async def serving(kind: type[GrpcioServer | NativeServer]) -> AsyncGenerator[Bench]:
    application = FakeApplication()
    server = kind(application, SystemClock(), MAX_MESSAGE_BYTES)
    address = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(address) as channel:
        bench = Bench(channel, server, address)
        bench.application = application
        yield bench
    await server.stop(0)


@pytest.fixture(params=[GrpcioServer, NativeServer])
def transport(request: pytest.FixtureRequest) -> type[GrpcioServer | NativeServer]:
    return request.param


@pytest_asyncio.fixture
async def bench(transport: type[GrpcioServer | NativeServer]) -> AsyncGenerator[Bench]:
    async with serving(transport) as made:
        yield made


async def test_a_call_brings_path_metadata_peer_and_deadline(bench: Bench) -> None:
    before_s = SystemClock().monotonic_s()

    answer = await bench.call("/a.Unary/Reverse", metadata=(("key", "value"),))

    call = bench.application.calls[0]
    assert answer == b"cba"
    assert call.path == "/a.Unary/Reverse"
    assert ("key", "value") in call.metadata
    assert call.peer.startswith("ipv4:127.0.0.1:")
    assert before_s + 4 < call.deadline_s < SystemClock().monotonic_s() + 6  # rounded on the wire


async def test_without_a_deadline_it_is_infinite(bench: Bench) -> None:
    await bench.call("/a.Unary/Reverse", timeout_s=None)

    assert bench.application.calls[0].deadline_s == math.inf


async def test_streams_answer_as_they_go(bench: Bench) -> None:
    assert await bench.stream(b"ab", b"cd") == [b"ba", b"dc"]


async def test_an_error_arrives_with_code_reason_and_hint(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.call("/a.Unary/full")

    error = caught.value
    details = dict(error.trailing_metadata() or ())[DETAILS_KEY]
    status = status_pb2.Status.FromString(cast("bytes", details))
    hint = error_details_pb2.RetryInfo()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "10 rows wait"
    assert isinstance(from_rpc_error(error), QueueFull)
    assert any(detail.Unpack(hint) for detail in status.details)
    assert hint.retry_delay.ToMilliseconds() == 250


async def test_an_error_ends_a_stream_with_its_status(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.stream(b"full")

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_defect_tells_the_log_and_not_the_caller(
    bench: Bench, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    call = bench.call("/a.Unary/break") if kind == "unary" else bench.stream(b"break")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call

    text = f"{caught.value.details()}{caught.value.trailing_metadata()}"
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "42" not in text
    assert "RuntimeError" not in text
    assert "the secret is 42" in caplog.text
    assert [record.message for record in caplog.records].count("call failed") == 1


async def test_a_path_that_is_not_served_is_unimplemented(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.call("/other.Service/Method")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_caller_that_leaves_cancels_its_call(bench: Bench) -> None:
    task = asyncio.create_task(bench.call("/a.Unary/hang"))
    await asyncio.wait_for(bench.application.begun.wait(), 5)

    task.cancel()

    await asyncio.wait_for(bench.application.cancelled.wait(), 5)


async def test_a_deadline_cancels_its_call(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.call("/a.Unary/hang", timeout_s=0.1)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(bench.application.cancelled.wait(), 5)


async def test_a_message_above_the_limit_is_refused(bench: Bench) -> None:
    assert len(await bench.call("/a.Unary/Reverse", b"x" * MAX_MESSAGE_BYTES)) == MAX_MESSAGE_BYTES
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.call("/a.Unary/Reverse", b"x" * (MAX_MESSAGE_BYTES + 1))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_above_the_limit_are_refused(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.call("/a.Unary/Reverse", metadata=(("key", "v" * 20_000),))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert bench.application.calls == []


async def test_an_honest_keep_alive_is_no_ping_flood(bench: Bench) -> None:
    options = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_permit_without_calls", 1)]
    async with grpc.aio.insecure_channel(bench.address, options=options) as channel:
        method = cast("Callable[..., Awaitable[bytes]]", channel.unary_unary("/a.Unary/Reverse"))

        assert await method(b"abc") == b"cba"


async def is_refused(address: str) -> bool:
    """Whether a new connection gets no answer any more."""
    async with grpc.aio.insecure_channel(address) as channel:
        method = cast("Callable[..., Awaitable[bytes]]", channel.unary_unary("/a.Unary/Reverse"))
        try:
            await method(b"abc", timeout=5)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAVAILABLE
        return False


async def test_stopping_lets_running_calls_end_and_takes_no_new_ones(
    transport: type[GrpcioServer | NativeServer],
) -> None:
    async with serving(transport) as bench:
        hanging = asyncio.create_task(bench.call("/a.Unary/hang"))
        await asyncio.wait_for(bench.application.begun.wait(), 5)
        stopping = asyncio.create_task(bench.server.stop(0.2))
        await until(functools.partial(is_refused, bench.address))
        assert not bench.application.cancelled.is_set()
        await stopping

        with pytest.raises(grpc.aio.AioRpcError):
            await hanging


async def test_a_port_in_use_is_an_error(transport: type[GrpcioServer | NativeServer]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = transport(FakeApplication(), SystemClock(), MAX_MESSAGE_BYTES)

        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            await server.start(address)
        await server.stop(0)

"""grpcio's two clients behind one set of calls, so that each test runs with both."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, cast

import grpc
import grpc.aio

from tests.inferer.conformance.wire import TIMEOUT_S

Metadata = Sequence[tuple[str, str | bytes]]


class Failure(Exception):
    """A call that ended with another status than OK."""

    def __init__(self, error: "grpc.Call | grpc.aio.AioRpcError") -> None:
        super().__init__(f"{error.code().name}: {error.details()}")
        self.code = str(error.code().name)
        self.details = error.details() or ""
        self.trailers = dict(error.trailing_metadata() or ())
        self.rpc_error = cast("grpc.RpcError", error)


class Caller(Protocol):
    """Calls of bytes over one channel."""

    async def unary(
        self,
        path: str,
        message: bytes = b"abc",
        *,
        timeout_s: float | None = TIMEOUT_S,
        metadata: Metadata = (),
        compression: grpc.Compression | None = None,
    ) -> bytes:
        """The answer; raises Failure."""
        ...

    async def stream(
        self, path: str, messages: Iterable[bytes], *, timeout_s: float = TIMEOUT_S
    ) -> list[bytes]:
        """The answers; raises Failure."""
        ...

    async def talk(self, path: str, first: bytes) -> bytes:
        """Sends one message on a stream, waits for its answer and only then ends the stream."""
        ...

    def begin(self, path: str) -> Callable[[], object]:
        """Starts a call that nobody waits for; returns what cancels it."""
        ...


class AioCaller:
    """grpc.aio; see Caller."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def unary(
        self,
        path: str,
        message: bytes = b"abc",
        *,
        timeout_s: float | None = TIMEOUT_S,
        metadata: Metadata = (),
        compression: grpc.Compression | None = None,
    ) -> bytes:
        # grpcio's stubs leave the types of messages open.
        method = cast("Callable[..., Awaitable[bytes]]", self._channel.unary_unary(path))
        try:
            return await method(
                message, timeout=timeout_s, metadata=metadata, compression=compression
            )
        except grpc.aio.AioRpcError as error:
            raise Failure(error) from error

    async def stream(
        self, path: str, messages: Iterable[bytes], *, timeout_s: float = TIMEOUT_S
    ) -> list[bytes]:
        method = cast("Callable[..., AsyncIterable[bytes]]", self._channel.stream_stream(path))
        try:
            return [answer async for answer in method(iter(messages), timeout=timeout_s)]
        except grpc.aio.AioRpcError as error:
            raise Failure(error) from error

    async def talk(self, path: str, first: bytes) -> bytes:
        method = cast("Callable[..., Any]", self._channel.stream_stream(path))
        call = method(timeout=TIMEOUT_S)
        await call.write(first)
        answer = cast("bytes", await call.read())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        return answer

    def begin(self, path: str) -> Callable[[], object]:
        method = cast("Callable[..., Any]", self._channel.unary_unary(path))
        return cast("Callable[[], object]", method(b"abc").cancel)


class SyncCaller:
    """grpcio's blocking client, in threads; see Caller."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    async def unary(
        self,
        path: str,
        message: bytes = b"abc",
        *,
        timeout_s: float | None = TIMEOUT_S,
        metadata: Metadata = (),
        compression: grpc.Compression | None = None,
    ) -> bytes:
        method = cast("Callable[..., bytes]", self._channel.unary_unary(path))
        try:
            return await asyncio.to_thread(
                method, message, timeout=timeout_s, metadata=metadata, compression=compression
            )
        except grpc.RpcError as error:
            raise Failure(cast("grpc.Call", error)) from error

    async def stream(
        self, path: str, messages: Iterable[bytes], *, timeout_s: float = TIMEOUT_S
    ) -> list[bytes]:
        method = cast("Callable[..., Iterable[bytes]]", self._channel.stream_stream(path))
        try:
            return await asyncio.to_thread(lambda: list(method(iter(messages), timeout=timeout_s)))
        except grpc.RpcError as error:
            raise Failure(cast("grpc.Call", error)) from error

    async def talk(self, path: str, first: bytes) -> bytes:
        return await asyncio.to_thread(self._talk, path, first)

    def _talk(self, path: str, first: bytes) -> bytes:
        method = cast("Callable[..., Iterable[bytes]]", self._channel.stream_stream(path))
        is_answered = threading.Event()

        def requests() -> Iterable[bytes]:
            yield first
            is_answered.wait(TIMEOUT_S)

        received = iter(method(requests(), timeout=TIMEOUT_S))
        answer = next(received)  # the stream is still open
        is_answered.set()
        assert list(received) == []
        return answer

    def begin(self, path: str) -> Callable[[], object]:
        method = cast("Any", self._channel.unary_unary(path))
        return cast("Callable[[], object]", method.future(b"abc").cancel)


@contextlib.asynccontextmanager
async def calling(
    kind: str,
    address: str,
    options: Sequence[tuple[str, int | str]] = (),
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncGenerator[Caller]:
    """A client: "aio" or "sync"; with a connection of its own; with TLS by `credentials`."""
    # Channels of one process share connections to the same address otherwise.
    options = [("grpc.use_local_subchannel_pool", 1), *options]
    if kind == "aio":
        aio = grpc.aio
        async with (
            aio.insecure_channel(address, options=options)
            if credentials is None
            else aio.secure_channel(address, credentials, options=options)
        ) as channel:
            yield AioCaller(channel)
    else:
        with (
            grpc.insecure_channel(address, options=options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options=options)
        ) as channel:
            yield SyncCaller(channel)

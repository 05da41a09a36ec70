"""The asyncio client's I/O: opens channels, sends, waits and repeats. For one event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import BinaryIO, TypeVar

import grpc

from twofold import errors
from twofold.client.calls import datasets
from twofold.client.calls.call import Call, Server
from twofold.client.channels import CLOSED, OPTIONS, Connection, as_is
from twofold.client.downloads import Receiving, Wanted
from twofold.client.following import Following, JobEvent
from twofold.client.retry import DelayAfter, Tries, explain
from twofold.client.uploads import CHUNK_BYTES, Sending, Upload, chunk_message

T = TypeVar("T")
A = TypeVar("A")


class AsyncTransport:
    """Runs calls over channels that open at the first use, on the loop of that use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_closed = False
        # Channels by server; touched on the event loop only.
        self._channels: dict[Server, grpc.aio.Channel] = {}

    async def run(self, call: Call[T], timeout_s: float | None = None) -> T:
        """The answer of a unary call; None: the call's default deadline. Raises TwofoldError."""
        method = self._channel(call.server).unary_unary(call.path, as_is, as_is)
        tries = Tries(self._connection.retry)
        answer = await self._repeat(
            call, timeout_s, lambda left_s: method(call.request, timeout=left_s), tries.delay_s
        )
        return call.decode(answer)

    async def upload(self, call: Call[T], upload: Upload, timeout_s: float | None = None) -> T:
        """The answer of a call whose request is a file's stream. Raises TwofoldError.

        A stream that breaks is followed by one that goes on where the server has got to.
        """
        method = self._channel(call.server).stream_unary(call.path, as_is, as_is)
        sending = Sending(upload, self._connection.retry)

        async def attempt(left_s: float) -> bytes:
            ends_s = self.now_s() + left_s
            if sending.must_ask:
                asked = datasets.committed_size(upload.header.sha256)
                ask = self._channel(call.server).unary_unary(asked.path, as_is, as_is)
                sending.found(asked.decode(await ask(asked.request, timeout=left_s)))
            # Owned here: of a call that failed grpcio leaves the messages where they are.
            with await asyncio.to_thread(upload.open) as file:
                stream = _messages(upload, file, sending.offset)
                return await method(stream, timeout=ends_s - self.now_s())

        return call.decode(await self._repeat(call, timeout_s, attempt, sending.delay_s))

    async def download(
        self, wanted: Wanted, write: Callable[[bytes], object], timeout_s: float | None = None
    ) -> None:
        """Hands a file's bytes to `write` on threads, in order and each once. Raises TwofoldError.

        A stream that breaks is followed by one that goes on where this one has got to.
        """
        receiving = Receiving(wanted, self._connection.retry)

        async def attempt(left_s: float) -> None:
            call = receiving.call()
            method = self._channel(call.server).unary_stream(call.path, as_is, as_is)
            stream = method(call.request, timeout=left_s)
            try:
                async for data in stream:
                    if chunk := receiving.took(call.decode(data)):
                        await asyncio.to_thread(write, chunk)
            finally:
                stream.cancel()
            receiving.check_end()

        await self._repeat(receiving.call(), timeout_s, attempt, receiving.delay_s)

    async def follow(
        self, job: str, cursor: str = "", timeout_s: float | None = None
    ) -> AsyncGenerator[JobEvent]:
        """A job's events over as many streams as it takes. Raises TwofoldError."""
        following = Following(
            job,
            cursor=cursor,
            timeout_s=timeout_s,
            policy=self._connection.retry,
            now_s=self.now_s(),
        )
        while not following.is_done:
            failure: errors.TwofoldError | None = None
            try:
                async with aclosing(self._stream(following)) as events:
                    async for event in events:
                        yield event
            except grpc.aio.AioRpcError as error:
                failure = self._explain(error, "train")
            except asyncio.CancelledError:
                self._check_closed()
                raise
            if not following.is_done:
                uniform = self._connection.randomness.uniform
                delay_s = following.broke(failure, self.now_s(), uniform)
                await self._connection.clock.sleep(delay_s)

    async def close(self) -> None:
        """Closes the channels; calls under way fail."""
        self._is_closed = True
        channels = list(self._channels.values())
        self._channels.clear()
        for channel in channels:
            await channel.close()

    def now_s(self) -> float:
        """The clock that deadlines are told by."""
        return self._connection.clock.monotonic_s()

    async def _stream(self, following: Following) -> AsyncGenerator[JobEvent]:
        call = following.call()
        method = self._channel(call.server).unary_stream(call.path, as_is, as_is)
        stream = method(call.request, timeout=following.stream_s(self.now_s()))
        try:
            async for data in stream:
                yield following.took(call.decode(data), self.now_s())
                if following.is_done:
                    return
        finally:
            stream.cancel()

    async def _repeat(
        self,
        call: Call[T],
        timeout_s: float | None,
        attempt: Callable[[float], Awaitable[A]],
        delay_after: DelayAfter,
    ) -> A:
        ends_s = self.now_s() + (call.timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                return await attempt(max(0.0, ends_s - self.now_s()))
            except grpc.aio.AioRpcError as error:
                failure = self._explain(error, call.server)
            except errors.Unavailable as error:  # of a stream that ended too early
                failure = error
            except asyncio.CancelledError:
                self._check_closed()
                raise
            uniform = self._connection.randomness.uniform()
            delay_s = delay_after(failure, ends_s - self.now_s(), uniform)
            if delay_s is None:
                raise failure
            await self._connection.clock.sleep(delay_s)
            if self._is_closed:
                raise errors.Unavailable(CLOSED)

    def _check_closed(self) -> None:
        """Raises Unavailable where a CancelledError came from closing and not from the caller.

        grpcio ends the calls of a closed channel as if their own tasks were cancelled.
        """
        task = asyncio.current_task()
        if self._is_closed and (task is None or not task.cancelling()):
            raise errors.Unavailable(CLOSED)

    def _explain(self, error: grpc.aio.AioRpcError, server: Server) -> errors.TwofoldError:
        return explain(error, self._connection.peer(server))

    def _channel(self, server: Server) -> grpc.aio.Channel:
        if self._is_closed:
            raise errors.Unavailable(CLOSED)
        if server not in self._channels:
            address = self._connection.address(server)
            self._channels[server] = grpc.aio.insecure_channel(address, OPTIONS)
        return self._channels[server]


async def _messages(upload: Upload, file: BinaryIO, offset: int) -> AsyncIterator[bytes]:
    """Upload.messages, reading the file off the event loop."""
    yield upload.first(offset)
    await asyncio.to_thread(file.seek, offset)
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk_message(chunk)

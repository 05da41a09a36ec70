"""The blocking client's I/O: opens channels, sends, waits and repeats. Safe to share by threads."""

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from twofold import errors
from twofold.client.calls import datasets
from twofold.client.calls.call import Call, Server
from twofold.client.channels import CLOSED, OPTIONS, Connection, as_is
from twofold.client.downloads import Receiving, Wanted
from twofold.client.following import Following, JobEvent
from twofold.client.retry import DelayAfter, Tries, explain
from twofold.client.uploads import Sending, Upload

T = TypeVar("T")
A = TypeVar("A")


class Transport:
    """Runs calls over channels that open at the first use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = threading.Event()
        # Channels by server; _lock guards opening and closing them.
        self._channels: dict[Server, grpc.Channel] = {}
        self._lock = threading.Lock()

    def run(self, call: Call[T], timeout_s: float | None = None) -> T:
        """The answer of a unary call; None: the call's default deadline. Raises TwofoldError."""
        method = self._channel(call.server).unary_unary(call.path, as_is, as_is)
        tries = Tries(self._connection.retry)
        answer = self._repeat(
            call, timeout_s, lambda left_s: method(call.request, timeout=left_s), tries.delay_s
        )
        return call.decode(answer)

    def upload(self, call: Call[T], upload: Upload, timeout_s: float | None = None) -> T:
        """The answer of a call whose request is a file's stream. Raises TwofoldError.

        A stream that breaks is followed by one that goes on where the server has got to.
        """
        method = self._channel(call.server).stream_unary(call.path, as_is, as_is)
        sending = Sending(upload, self._connection.retry)

        def attempt(left_s: float) -> bytes:
            ends_s = self.now_s() + left_s
            if sending.must_ask:
                asked = datasets.committed_size(upload.header.sha256)
                ask = self._channel(call.server).unary_unary(asked.path, as_is, as_is)
                sending.found(asked.decode(ask(asked.request, timeout=left_s)))
            return method(upload.messages(sending.offset), timeout=ends_s - self.now_s())

        return call.decode(self._repeat(call, timeout_s, attempt, sending.delay_s))

    def download(
        self, wanted: Wanted, write: Callable[[bytes], object], timeout_s: float | None = None
    ) -> None:
        """Hands a file's bytes to `write`, in order and each once. Raises TwofoldError.

        A stream that breaks is followed by one that goes on where this one has got to.
        """
        receiving = Receiving(wanted, self._connection.retry)

        def attempt(left_s: float) -> None:
            call = receiving.call()
            method = self._channel(call.server).unary_stream(call.path, as_is, as_is)
            stream = method(call.request, timeout=left_s)
            try:
                for data in stream:
                    if chunk := receiving.took(call.decode(data)):
                        write(chunk)
            finally:
                stream.cancel()
            receiving.check_end()

        self._repeat(receiving.call(), timeout_s, attempt, receiving.delay_s)

    def follow(
        self, job: str, cursor: str = "", timeout_s: float | None = None
    ) -> Iterator[JobEvent]:
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
                yield from self._stream(following)
            except grpc.RpcError as error:
                failure = self._explain(error, "train")
            if not following.is_done:
                uniform = self._connection.randomness.uniform
                self._wait(following.broke(failure, self.now_s(), uniform))

    def close(self) -> None:
        """Closes the channels; calls under way fail."""
        with self._lock:
            self._closed.set()
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    def now_s(self) -> float:
        """The clock that deadlines are told by."""
        return self._connection.clock.monotonic_s()

    def _stream(self, following: Following) -> Iterator[JobEvent]:
        call = following.call()
        method = self._channel(call.server).unary_stream(call.path, as_is, as_is)
        stream = method(call.request, timeout=following.stream_s(self.now_s()))
        try:
            for data in stream:
                yield following.took(call.decode(data), self.now_s())
                if following.is_done:
                    return
        finally:
            stream.cancel()

    def _repeat(
        self,
        call: Call[T],
        timeout_s: float | None,
        attempt: Callable[[float], A],
        delay_after: DelayAfter,
    ) -> A:
        ends_s = self.now_s() + (call.timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                return attempt(max(0.0, ends_s - self.now_s()))
            except grpc.RpcError as error:
                failure = self._explain(error, call.server)
            except errors.Unavailable as error:  # of a stream that ended too early
                failure = error
            uniform = self._connection.randomness.uniform()
            delay_s = delay_after(failure, ends_s - self.now_s(), uniform)
            if delay_s is None:
                raise failure
            self._wait(delay_s)

    def _explain(self, error: grpc.RpcError, server: Server) -> errors.TwofoldError:
        if self._closed.is_set():
            return errors.Unavailable(CLOSED)
        return explain(error, self._connection.peer(server))

    def _channel(self, server: Server) -> grpc.Channel:
        with self._lock:
            if self._closed.is_set():
                raise errors.Unavailable(CLOSED)
            if server not in self._channels:
                address = self._connection.address(server)
                self._channels[server] = grpc.insecure_channel(address, OPTIONS)
            return self._channels[server]

    def _wait(self, delay_s: float) -> None:
        if self._closed.wait(delay_s):
            raise errors.Unavailable(CLOSED)

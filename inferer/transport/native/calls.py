"""One call: takes the pieces of its messages, hands them to the application, takes its answers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from inferer.transport import Application
from inferer.transport.native.framing import Head, Messages, Refused, frame, sole_message
from twofold.errors import DeadlineExceeded, LimitExceeded

#: Bytes of answers of one stream that the caller has not taken yet, at most, before it pauses.
STREAM_QUEUE_BYTES = 1 << 20


class Wire(Protocol):
    """The connection, as a call sees it. Whatever comes for a call that is over is dropped."""

    @property
    def peer(self) -> str:
        """See Call."""
        ...

    def answer(self, stream_id: int, message: bytes) -> None:
        """A whole answer: headers, message, OK."""
        ...

    def begin(self, stream_id: int) -> None:
        """The headers of an answer of several messages."""
        ...

    def send(self, stream_id: int, framed: bytes) -> None:
        """One of them."""
        ...

    def queued(self, stream_id: int) -> int:
        """Bytes of them that wait for the caller."""
        ...

    def when_room(self, call: "StreamCall") -> None:
        """Calls its `flushed` once, when bytes have left."""
        ...

    def end(
        self, stream_id: int, error: Exception | None, *, has_begun: bool, is_read: bool
    ) -> None:
        """The status; `is_read`: all that the caller will send was read."""
        ...

    def take(self, stream_id: int, size: int) -> None:
        """So many bytes were used: the caller may send as many more."""
        ...

    def mark(self) -> None:
        """There may be bytes to write: they leave at the end of this turn of the loop."""
        ...


class Shared(Protocol):
    """What all calls share."""

    application: Application
    max_message_bytes: int

    def buffer(self, size: int) -> None:
        """Counts bytes of messages that are not served yet; raises LimitExceeded for too many."""
        ...

    def watch(self, call: "UnaryCall | StreamCall") -> None:
        """Calls its `expire` when its deadline has passed."""
        ...

    def forget(self, call: "UnaryCall | StreamCall") -> None:
        """It is over. Must be called once for every call that was begun."""
        ...


class _Begun:
    """What is known of a call; the Call of the application."""

    #: Whether all that the caller will send was read.
    is_read = False
    _is_over = False

    def __init__(
        self, wire: Wire, shared: Shared, stream_id: int, head: Head, deadline_s: float
    ) -> None:
        self._wire = wire
        self._shared = shared
        self.stream_id = stream_id
        self._head = head
        self.deadline_s = deadline_s

    @property
    def path(self) -> str:
        """See Call."""
        return self._head.path

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """See Call."""
        return self._head.metadata

    @property
    def peer(self) -> str:
        """See Call."""
        return self._wire.peer


class UnaryCall(_Begun):
    """One message in, one out; the Reply of the application.

    Its attributes begin as those of the class: there are many calls, and most never differ.
    """

    _quiet_sweeps = 0
    _cancel: Callable[[], object] | None = None
    #: Made where the message does not come in one piece.
    _body: "_Body | None" = None

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """Takes a piece of the body."""
        self.is_read = is_last
        if data:
            self._wire.take(self.stream_id, len(data))
        try:
            message = self._message(data, is_last=is_last)
            if message is not None:
                cancel = self._shared.application.begin(self, message, self)
                if not self._is_over:
                    self._cancel = cancel
        except Exception as error:  # noqa: BLE001 - the top of a call
            self.fail(error)

    def _message(self, data: bytes, *, is_last: bool) -> bytes | None:
        """The one message, once the body has ended."""
        if (body := self._body) is None:
            limit = self._shared.max_message_bytes
            if is_last and (message := sole_message(data, limit)) is not None:
                return message
            self._body = body = _Body(self._shared, self._head.encoding)
        self._quiet_sweeps = 0
        return body.feed(data, is_last=is_last)

    def answer(self, message: bytes) -> None:
        """See Reply."""
        if not self._is_over:
            self._end()
            self._wire.answer(self.stream_id, message)

    def fail(self, error: Exception) -> None:
        """See Reply."""
        if not self._is_over:
            self._end()
            self._wire.end(self.stream_id, error, has_begun=False, is_read=self.is_read)

    def expire(self) -> None:
        """The deadline has passed."""
        self.abort(DeadlineExceeded("the deadline passed"))

    def abort(self, error: Exception) -> None:
        """Ends the call from outside."""
        if not self._is_over:
            cancel = self._cancel
            self.fail(error)
            if cancel is not None:
                cancel()

    def leave(self) -> None:
        """The caller is gone."""
        if not self._is_over:
            cancel = self._cancel
            self._end()
            if cancel is not None:
                cancel()

    def sweep(self, limit: float) -> None:
        """Called once a second; ends a call whose message does not come on for `limit` of them."""
        self._quiet_sweeps += not self.is_read
        if self._quiet_sweeps > limit:
            self.abort(DeadlineExceeded("the call's message did not arrive"))

    def _end(self) -> None:
        self._is_over = True
        self._cancel = None  # it holds this call: without it nobody has to look for the circle
        if self._body is not None:
            self._body.drop()
        self._shared.forget(self)


class _Body:
    """The body of a unary call that comes in pieces; what is not complete counts."""

    def __init__(self, shared: Shared, encoding: str) -> None:
        self._shared = shared
        self._messages = Messages(encoding, shared.max_message_bytes)
        self._found: bytes | None = None
        self._counted = 0

    def feed(self, data: bytes, *, is_last: bool) -> bytes | None:
        """The message, once all is there; raises Refused where there is not exactly one."""
        for message in self._messages.feed(data):
            if self._found is not None:
                raise Refused("INTERNAL", "a unary call has more than one message")
            self._found = message
        self._count(len(self._messages) + len(self._found or b""))
        if not is_last:
            return None
        self._count(0)
        if len(self._messages):
            raise Refused("INTERNAL", "the call ended within a message")
        if self._found is None:
            raise Refused("INTERNAL", "a unary call has no message")
        return self._found

    def drop(self) -> None:
        """The call is over."""
        self._count(0)

    def _count(self, size: int) -> None:
        change, self._counted = size - self._counted, size
        self._shared.buffer(change)


class StreamCall(_Begun):
    """Any number of messages in and out, served by a task of its own."""

    def __init__(
        self, wire: Wire, shared: Shared, stream_id: int, head: Head, deadline_s: float
    ) -> None:
        super().__init__(wire, shared, stream_id, head, deadline_s)
        self._messages = Messages(head.encoding, shared.max_message_bytes)
        self._waiting = deque[bytes]()
        self._waiting_bytes = 0
        self._buffered = 0
        self._quiet_sweeps = 0
        # Bytes that were read and that the caller does not know of yet.
        self._held = 0
        self._refusal: Exception | None = None
        self._arrived = asyncio.Event()
        self._has_begun = False
        self._room = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """Takes a piece of the body."""
        self.is_read = is_last
        self._quiet_sweeps = 0
        self._held += len(data)
        if self._refusal is None:
            try:
                self._take(data, is_last=is_last)
            except (Refused, LimitExceeded) as error:
                self._refusal = error
                self._messages = Messages(self._head.encoding, self._shared.max_message_bytes)
                self._count()
        self._let_send()
        self._arrived.set()

    def _take(self, data: bytes, *, is_last: bool) -> None:
        for message in self._messages.feed(data):
            self._waiting.append(message)
            self._waiting_bytes += len(message)
        self._count()
        if is_last and len(self._messages):
            raise Refused("INTERNAL", "the call ended within a message")

    def _count(self) -> None:
        size = 0 if self._is_over else len(self._messages) + self._waiting_bytes
        change, self._buffered = size - self._buffered, size
        self._shared.buffer(change)

    def _let_send(self) -> None:
        """Lets the caller send more, unless the application has enough to do."""
        if self._held and self._waiting_bytes <= STREAM_QUEUE_BYTES:
            self._wire.take(self.stream_id, self._held)
            self._held = 0

    async def _read(self) -> AsyncIterator[bytes]:
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                self._waiting_bytes -= len(message)
                self._count()
                self._let_send()
                self._wire.mark()  # nothing else may come to be written
                yield message
            if self._refusal is not None:
                raise self._refusal
            if self.is_read:
                return
            self._arrived.clear()
            await self._arrived.wait()

    async def _serve(self) -> None:
        try:
            async with aclosing(self._shared.application.stream(self, self._read())) as answers:
                async for answer in answers:
                    await self._send(answer)
        except asyncio.CancelledError:  # by `abort` or `leave`; a task would keep it, and it us
            pass
        except Exception as error:  # noqa: BLE001 - the top of a call
            self._finish(error)
        else:
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if not self._is_over:
            self._end(error)

    async def _send(self, message: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._wire.begin(self.stream_id)
        self._wire.send(self.stream_id, frame(message))
        while self._wire.queued(self.stream_id) > STREAM_QUEUE_BYTES:
            self._room.clear()
            self._wire.when_room(self)
            await self._room.wait()

    def sweep(self, limit: float) -> None:
        """Called once a second; a stream may be silent, but not for `limit` within a message."""
        self._quiet_sweeps += len(self._messages) > 0 and not self._held
        if self._quiet_sweeps > limit:
            self.abort(DeadlineExceeded("the call's message did not arrive"))

    def flushed(self) -> None:
        """Bytes have left: there may be room for more answers."""
        self._room.set()

    def expire(self) -> None:
        """The deadline has passed."""
        self.abort(DeadlineExceeded("the deadline passed"))

    def abort(self, error: Exception) -> None:
        """Ends the call from outside."""
        if not self._is_over:
            self._end(error)
            self._task.cancel()

    def leave(self) -> None:
        """The caller is gone."""
        if not self._is_over:
            self._close()
            self._task.cancel()

    def _end(self, error: Exception | None) -> None:
        self._close()
        self._wire.end(self.stream_id, error, has_begun=self._has_begun, is_read=self.is_read)

    def _close(self) -> None:
        self._is_over = True
        self._refusal = None  # it may hold this call: without it nobody has to look for the circle
        self._count()
        self._shared.forget(self)


#: What is served, and so counted and given up at its deadline.
AnyCall = UnaryCall | StreamCall

"""What the connections of one server share: the application, writes, bounds, deadlines."""

import asyncio
import math
from contextlib import suppress
from typing import Protocol

from inferer.transport import Application
from inferer.transport.native import bounds
from inferer.transport.native.calls import AnyCall
from inferer.transport.native.wheel import Wheel
from twofold.errors import LimitExceeded
from twofold.seams import Clock


class Flushable(Protocol):
    """A connection, as the hub sees it."""

    #: Bytes of answers that its caller has not taken, as `recount` last said.
    backlog: int

    def flush(self) -> None:
        """Writes what there is to write."""
        ...

    def sweep(self, now_s: float) -> None:
        """Looks for what takes too long."""
        ...

    def notice(self, grace_s: float) -> None:
        """Asks the caller to open no more calls; those that are open may go on for `grace_s`."""
        ...

    def finish(self) -> None:
        """Serves no more calls than are open."""
        ...

    def cancel(self) -> None:
        """Ends them."""
        ...

    def abort(self) -> None:
        """Drops the connection."""
        ...


class Hub:
    """Owned by the event loop's thread. The Shared of calls."""

    def __init__(self, application: Application, clock: Clock, max_message_bytes: int) -> None:
        self.application = application
        self.max_message_bytes = max_message_bytes
        self.now_s = clock.monotonic_s
        self.connections: set[Flushable] = set()
        #: Whether the server ends: who was about to connect may go elsewhere at once.
        self.is_closing = False
        self.call_count = 0
        self._buffered = 0
        self._backlog = 0
        self._dirty: list[Flushable] = []
        self._wheel = Wheel()
        self._emptied: asyncio.Event | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s = math.inf

    def admit(self, connection: Flushable) -> bool:
        """Takes a connection; False where there are too many, or none is taken any more."""
        if self.is_closing or len(self.connections) >= bounds.MAX_CONNECTIONS:
            return False
        self.connections.add(connection)
        return True

    def leave(self, connection: Flushable) -> None:
        """It is lost."""
        self.connections.discard(connection)
        connection.backlog = self.recount(connection.backlog, 0)
        if not self.connections and self._emptied is not None:
            self._emptied.set()

    async def emptied(self, until_s: float) -> None:
        """Returns when the last connection is lost, or at `until_s`."""
        self._emptied = asyncio.Event()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), until_s - self.now_s())

    def flush_soon(self, connection: Flushable) -> None:
        """Calls its `flush` once all that is readable now was read."""
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()

    def recount(self, before: int, now: int) -> int:
        """Counts the bytes of answers that one connection's caller has not taken; gives `now`."""
        self._backlog += now - before
        return now

    def begin(self, backlog: int) -> None:
        """Counts a call in, of a caller who has not taken so many bytes of answers.

        Raises LimitExceeded for too many calls, or bytes.
        """
        is_full = self._backlog > bounds.ALL_ANSWERS_BYTES
        if backlog > (0 if is_full else bounds.ANSWERS_BYTES):
            raise LimitExceeded("too many answers wait to be read; read them first")
        if self.call_count >= bounds.MAX_CALLS:
            raise LimitExceeded(f"{bounds.MAX_CALLS} calls are in progress, which is the limit")
        self.call_count += 1

    def forget(self, call: AnyCall) -> None:
        """See Shared."""
        self.call_count -= 1
        if call.deadline_s != math.inf:
            self._wheel.discard(call)

    def buffer(self, size: int) -> None:
        """See Shared."""
        self._buffered += size
        if size > 0 and self._buffered > bounds.MAX_BUFFERED_BYTES:
            raise LimitExceeded("too many messages are on their way; try again")

    def watch(self, call: AnyCall) -> None:
        """See Shared."""
        due_s = self._wheel.add(call)
        if due_s < self._alarm_s:
            self._set_alarm(due_s)

    def _set_alarm(self, due_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_s = None, due_s
        if due_s != math.inf:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(0.0, due_s - self.now_s()), self._expire)

    def _expire(self) -> None:
        for call in self._wheel.take(self.now_s()):
            call.expire()
        self._set_alarm(self._wheel.next_s())

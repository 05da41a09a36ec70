"""A call that is refused by what its headers say, or for lack of room."""

import asyncio
import math

from inferer.transport.native.calls import Wire


class RefusedCall:
    """A call that is not served. Its status waits a moment for the caller's first message.

    grpcio's asyncio client, whose message meets a status that is already there, reports an
    internal error of its own instead of the status.
    """

    PATIENCE_S = 0.05

    deadline_s = math.inf

    def __init__(self, wire: Wire, stream_id: int, error: Exception) -> None:
        self._wire = wire
        self._stream_id = stream_id
        #: None once it is over: its frames hold this call, and nobody else lets go of them.
        self._error: Exception | None = error
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.PATIENCE_S, self.abort, error)

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """Ends the call."""
        if data:
            self._wire.take(self._stream_id, len(data))
        if self._error is not None:
            self._end(self._error, is_read=is_last)

    def abort(self, error: Exception) -> None:
        """Ends the call from outside."""
        self._end(error, is_read=False)

    def leave(self) -> None:
        """The caller is gone."""
        self._timer.cancel()
        self._error = None

    def sweep(self, limit: float) -> None:
        """Nothing: it does not last."""

    def _end(self, error: Exception, *, is_read: bool) -> None:
        self._timer.cancel()
        self._error = None
        self._wire.end(self._stream_id, error, has_begun=False, is_read=is_read)

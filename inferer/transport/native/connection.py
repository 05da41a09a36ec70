"""One HTTP/2 connection: frames to calls, answers to frames, and what a caller may not do.

Source: RFC 9113; the rules for pings are grpcio's (gRFC A8).
"""

import logging
import math
from asyncio import BaseTransport, Protocol, Transport
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, cast

import ngh2

from inferer.transport.native import bounds, greeting
from inferer.transport.native.calls import AnyCall, StreamCall, UnaryCall
from inferer.transport.native.framing import (
    ANSWER,
    ANSWERED,
    Head,
    Headers,
    Refused,
    frame,
    goaway,
    parse_head,
    refusal_of,
    trailers_of,
)
from inferer.transport.native.hub import Hub
from inferer.transport.native.life import Due, Life, Stage
from inferer.transport.native.refusal import RefusedCall
from twofold.errors import TwofoldError, Unavailable

_ERROR = ngh2.ErrorCode
_SETTINGS = {
    ngh2.Setting.MAX_CONCURRENT_STREAMS: bounds.MAX_STREAMS,
    ngh2.Setting.INITIAL_WINDOW_SIZE: bounds.STREAM_WINDOW,
    ngh2.Setting.MAX_HEADER_LIST_SIZE: bounds.METADATA_BYTES,
}
_CONFIGURATION = ngh2.Configuration(
    auto_window_update=False, max_inbound_header_list_size=bounds.HEADERS_BYTES
)

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """The Wire of its calls. Owned by the event loop's thread."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._http2 = ngh2.Connection(ngh2.Role.SERVER, _CONFIGURATION)
        self._transport: Transport | None = None
        self.peer = ""
        self._life = Life(hub.now_s())
        self._calls: dict[int, AnyCall | RefusedCall] = {}
        # Of the last call: most calls of a connection have the same.
        self._headers: Headers = ()
        self._head = Head("", (), math.inf, "identity")
        self._kind: Literal["unary", "stream"] | None = None
        # Streams to reset once their status has left: what the caller still sends is not wanted.
        self._unread: list[int] = []
        self._is_paused = False
        self._is_dirty = False
        #: Bytes of answers that the caller has not taken.
        self.backlog = 0
        self._ping_s, self._strikes = -math.inf, 0
        self._is_greeted = self._is_finishing = False
        # Calls that wait until answers of theirs have left.
        self._blocked: list[StreamCall] = []

    def __repr__(self) -> str:
        return f"<Connection {self.peer} {self._life.stage.name} {len(self._calls)} calls>"

    def connection_made(self, transport: BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("Transport", transport)
        self.peer = greeting.peer(transport.get_extra_info("peername"))
        tls = transport.get_extra_info("ssl_object")
        if not self._hub.admit(self) or (tls and tls.selected_alpn_protocol() != "h2"):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(bounds.WRITE_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._life.stage = Stage.CLOSED
        self._hub.leave(self)
        self._leave_calls()

    def pause_writing(self) -> None:
        """The caller does not take what was written: it is not listened to meanwhile."""
        self._is_paused, self._life.paused_s = True, self._hub.now_s()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused, self._life.paused_s = False, math.inf
        if self._transport is not None and not self._life.is_closed:
            self._transport.resume_reading()
            self.mark()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._life.was_heard = True
        if self._life.stage is Stage.CLOSED or not (self._is_greeted or self._greet(data)):
            return
        try:
            self._http2.receive_data(data)
            for event in self._http2.events():
                if (act := _ACTS.get(type(event))) is not None:
                    act(self, event)
        except ngh2.DenialOfServiceError as error:
            self._abandon(_ERROR.ENHANCE_YOUR_CALM, error)
        except ngh2.NGH2Error as error:
            self._abandon(_ERROR.PROTOCOL_ERROR, error)
        self.mark()

    def _greet(self, data: bytes) -> bool:
        """Begins HTTP/2; not before, for who does not speak it would not understand SETTINGS."""
        if (last_words := greeting.refusal(data)) is not None:
            if self._transport is not None:
                self._transport.write(last_words)
            self.close()
            return False
        self._is_greeted = True
        self._http2.initiate_connection(_SETTINGS)
        self._http2.set_local_window_size(bounds.CONNECTION_WINDOW)
        return True

    def on_request(self, event: ngh2.RequestReceived) -> None:
        """Opens a call."""
        stream_id = event.stream_id
        try:
            if event.headers != self._headers:
                self._read_head(event.headers)
            call = self._begun(stream_id)
        except Exception as error:  # noqa: BLE001 - the top of a call
            call = RefusedCall(self, stream_id, error)
        self._calls[stream_id] = call
        if event.end_stream:
            call.receive(b"", is_last=True)

    def _read_head(self, headers: Headers) -> None:
        """Reads what calls say of themselves, once for all that say the same."""
        self._headers = ()
        self._head = head = parse_head(headers)
        self._kind = self._hub.application.kind(head.path)
        self._headers = headers

    def _begun(self, stream_id: int) -> AnyCall:
        hub, head = self._hub, self._head
        if self._kind is None:
            raise Refused("UNIMPLEMENTED", "there is no such method")
        hub.begin(self._http2.queued_body_size() if self.backlog else 0)
        made = UnaryCall if self._kind == "unary" else StreamCall
        if (timeout_s := head.timeout_s) == math.inf:
            return made(self, hub, stream_id, head, math.inf)
        call = made(self, hub, stream_id, head, hub.now_s() + timeout_s)
        hub.watch(call)
        return call

    def on_data(self, event: ngh2.DataReceived) -> None:
        """Hands a piece of a call's body on."""
        call = self._calls.get(event.stream_id)
        if call is None:
            if event.data:
                self.take(event.stream_id, len(event.data))
        else:
            call.receive(event.data, is_last=event.end_stream)

    def on_trailers(self, event: ngh2.TrailersReceived) -> None:
        """Callers have none to send; the end of their stream counts."""
        if (call := self._calls.get(event.stream_id)) is not None:
            call.receive(b"", is_last=True)

    def on_closed(self, event: ngh2.StreamReset | ngh2.StreamClosed) -> None:
        """The caller gave the call up, or it has ended."""
        if (call := self._calls.pop(event.stream_id, None)) is not None:
            call.leave()

    def on_settings(self, event: ngh2.SettingsReceived) -> None:
        """The caller speaks HTTP/2."""
        del event
        if self._life.stage is Stage.NEW:
            self._life.stage = Stage.OPEN

    def on_ping(self, event: ngh2.PingReceived) -> None:
        """Lets nobody keep the server busy with pings alone."""
        del event
        now_s = self._hub.now_s()
        self._strikes += now_s - self._ping_s < bounds.PING_GAP_S
        self._ping_s = now_s
        if self._strikes > bounds.PING_STRIKES:
            self._http2.send_goaway(_ERROR.ENHANCE_YOUR_CALM, debug_data=b"too_many_pings")
            self.mark()
            self.flush()
            self.close()

    def on_end(self, event: ngh2.ConnectionClosed) -> None:
        """Either side said GOAWAY, and nothing is left to be said."""
        del event
        self.flush()
        self.close()

    def answer(self, stream_id: int, message: bytes) -> None:
        """See Wire."""
        http2 = self._http2
        try:
            http2.send_response(stream_id, ANSWER)
            http2.send_data(stream_id, frame(message))
            http2.send_trailers(stream_id, ANSWERED)
        except ngh2.NGH2Error:  # the caller, or the whole connection, has just gone
            pass
        self._over(stream_id)

    def begin(self, stream_id: int) -> None:
        """See Wire."""
        self._try(lambda: self._http2.send_response(stream_id, ANSWER))

    def send(self, stream_id: int, framed: bytes) -> None:
        """See Wire."""
        self._try(lambda: self._http2.send_data(stream_id, framed))

    def queued(self, stream_id: int) -> int:
        """See Wire."""
        return 0 if self._life.is_closed else self._http2.queued_body_size(stream_id)

    def end(
        self, stream_id: int, error: Exception | None, *, has_begun: bool, is_read: bool
    ) -> None:
        """See Wire."""
        if error is not None and not isinstance(error, Refused | TwofoldError):
            _log.error("call failed", exc_info=error)
        self._try(lambda: self._end(stream_id, error, has_begun=has_begun))
        if not is_read:
            self._unread.append(stream_id)
        self._over(stream_id)

    def _end(self, stream_id: int, error: Exception | None, *, has_begun: bool) -> None:
        http2 = self._http2
        if error is not None and not has_begun:
            http2.send_response(stream_id, refusal_of(error), end_stream=True)
            return
        if not has_begun:
            http2.send_response(stream_id, ANSWER)
        http2.send_trailers(stream_id, ANSWERED if error is None else trailers_of(error))

    def take(self, stream_id: int, size: int) -> None:
        """See Wire."""
        try:  # noqa: SIM105 - for every request, and a context manager costs three times as much
            self._http2.acknowledge_received_data(size, stream_id)
        except ngh2.NGH2Error:  # it is gone
            pass

    def when_room(self, call: StreamCall) -> None:
        """See Wire."""
        self._blocked.append(call)

    def _try(self, act: Callable[[], None]) -> None:
        with suppress(ngh2.NGH2Error):  # the caller, or the whole connection, has just gone
            act()
        self.mark()

    def _over(self, stream_id: int) -> None:
        self._calls.pop(stream_id, None)
        self._strikes = 0
        if not self._is_dirty:
            self.mark()

    def mark(self) -> None:
        """See Wire."""
        if not self._is_dirty:
            self._is_dirty = True
            self._hub.flush_soon(self)

    def flush(self) -> None:
        """Writes what there is to write, as far as the caller takes it."""
        self._is_dirty = False
        if self._transport is None or self._life.stage is Stage.CLOSED:
            return
        try:
            self._write(self._transport)
        except ngh2.NGH2Error as error:
            self._abandon(_ERROR.INTERNAL_ERROR, error)
            return
        if self._blocked:
            blocked, self._blocked = self._blocked, []
            for call in blocked:
                call.flushed()
        # Not before the last step: until then the caller may open calls.
        if self._is_finishing and not self._calls and not self.backlog:
            self.close()

    def _write(self, transport: Transport) -> None:
        http2 = self._http2
        while not self._is_paused and (out := http2.data_to_send(bounds.WRITE_BYTES)):
            is_all = len(out) < bounds.WRITE_BYTES
            if is_all and self._unread and self._reset_unread():
                # In one write with the status, or a caller may take the reset for its answer.
                out += http2.data_to_send()
            transport.write(out)
            if is_all:
                break
        self.backlog = self._hub.recount(self.backlog, http2.queued_body_size())
        if not http2.want_read and not http2.want_write:  # it said GOAWAY by itself
            self.close()

    def _reset_unread(self) -> bool:
        """Tells callers to stop sending, once they have their status; whether there is one."""
        ready = [one for one in self._unread if not self._http2.queued_body_size(one)]
        self._unread = [one for one in self._unread if one not in ready]
        for stream_id in ready:
            with suppress(ngh2.NGH2Error):
                self._http2.reset_stream(stream_id, _ERROR.NO_ERROR)
        return bool(ready)

    def notice(self, grace_s: float = bounds.AGE_GRACE_S) -> None:
        """First step of the end: asks the caller to open no more calls; what it sends is served."""
        if self._life.stage in (Stage.NEW, Stage.OPEN):
            self._life.enter(Stage.CLOSING, self._hub.now_s(), grace_s)
            self._try(self._http2.send_shutdown_notice)

    def finish(self) -> None:
        """Second step: calls that were opened since are not served, and may be made elsewhere."""
        if self._life.stage is Stage.CLOSING and not self._is_finishing:
            self._is_finishing = True
            self._try(self._http2.send_goaway)
            self.flush()  # now: what is read before it leaves would be served, and called elsewhere

    def cancel(self) -> None:
        """Last step: ends the calls that still run."""
        for call in list(self._calls.values()):
            call.abort(Unavailable("the server is shutting down; call again"))
        self.flush()
        self.close()

    def sweep(self, now_s: float) -> None:
        """Looks, once a second, for what takes too long."""
        due = self._life.due(now_s, has_calls=bool(self._calls))
        if (act := _STEPS.get(due)) is not None:
            act(self)
        for call in list(self._calls.values()):
            call.sweep(bounds.STALL_S)

    def _leave_calls(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.leave()

    def _abandon(self, code: ngh2.ErrorCode, error: Exception) -> None:
        """Ends a connection that libnghttp2 has given up."""
        _log.info("connection refused", extra={"peer": self.peer, "reason": str(error)})
        if self._transport is not None and not self._life.is_closed:
            self._transport.write(goaway(code))
        self.close()

    def close(self) -> None:
        """Says that nothing more will come, and drops what the caller still sends.

        Closed at once, over unread bytes, it would be reset, and lose answers on their way.
        """
        if self._life.is_closed or self._transport is None:
            return
        self._life.enter(Stage.CLOSED, self._hub.now_s())
        self._leave_calls()
        if self._is_paused:
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Drops the connection, whatever is on its way."""
        self._life.enter(Stage.CLOSED, self._hub.now_s())
        if self._transport is not None:
            self._transport.abort()


_ACTS: dict[type[ngh2.Event], Callable[[Connection, Any], None]] = {
    ngh2.RequestReceived: Connection.on_request,
    ngh2.DataReceived: Connection.on_data,
    ngh2.TrailersReceived: Connection.on_trailers,
    ngh2.StreamReset: Connection.on_closed,
    ngh2.StreamClosed: Connection.on_closed,
    ngh2.SettingsReceived: Connection.on_settings,
    ngh2.PingReceived: Connection.on_ping,
    ngh2.ConnectionClosed: Connection.on_end,
}
_STEPS: dict[Due, Callable[[Connection], None]] = {
    Due.NOTICE: Connection.notice,
    Due.FINISH: Connection.finish,
    Due.CANCEL: Connection.cancel,
    Due.CLOSE: Connection.close,
    Due.ABORT: Connection.abort,
}

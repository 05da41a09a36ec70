"""One HTTP/2 connection of a load generator: the client's side of gRPC over libnghttp2.

What a request costs here decides how fast a server can be asked. So all of them are made
beforehand, all that are due leave in one write, and all answers of one read are taken together.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ngh2 import (
    Configuration,
    Connection,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    Header,
    NGH2Error,
    ResponseReceived,
    Role,
    Setting,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
)

from twofold.loadgen import status
from twofold.loadgen.network import Channel
from twofold.loadgen.tally import Tally

Headers = Sequence[Header]
#: Bytes that a server may send before it is told to go on: of one answer, and of all together.
_STREAM_WINDOW, _WINDOW = 1 << 24, 1 << 26
#: Requests under way on a connection, where the server allows more.
MOST_CALLS = 1_000
#: A connection has 2^30 requests in it; before they are used up, another takes over.
LAST_STREAM = (1 << 31) - (1 << 24)
#: For requests that are sent as soon as they can be: they begin when they are written.
AT_ONCE = -1
#: Until the server says how many streams it allows, there is no limit, as for gRPC's clients.
_NO_LIMIT = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Work:
    """What the connections of one point have in common."""

    headers: Headers
    bodies: Iterator[bytes]
    """Endless."""
    check: Callable[[bytes], str]
    """What is wrong with an answer; "" where nothing is."""
    tally: Tally
    timeout_ns: int
    now_ns: Callable[[], int]

    @property
    def late(self) -> tuple[str, str]:
        """What is said of requests that took longer than they may."""
        return "DEADLINE_EXCEEDED", f"no answer within {self.timeout_ns / 1e9:g} s"


class Call:
    """A request under way."""

    __slots__ = ("body", "start_ns")

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.body = b""


class Link:
    """Owned by one thread; sends what it is told to, tells the tally what became of it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._http2 = Connection(Role.CLIENT, Configuration(peer_max_concurrent_streams=_NO_LIMIT))
        self._channel: Channel | None = None
        #: By stream, the oldest first.
        self.calls: dict[int, Call] = {}
        self._unsent: list[Call] = []
        #: Requests to keep under way; 0 where others decide when to send.
        self.share = 0
        #: Most calls at once, as far as the server has said.
        self.room = MOST_CALLS
        #: Whether the server has shown that it speaks HTTP/2, and takes requests.
        self.is_open = False
        #: Whether the server wants no more requests here.
        self.is_leaving = False
        #: Why it is lost; "" while it is not.
        self.lost = ""
        # Any: each takes the event that it stands under.
        self._others: dict[type[Event], Callable[[Any], None]] = {
            ResponseReceived: self._on_response,
            StreamClosed: self._on_closed,
            SettingsReceived: self._on_settings,
            GoAwayReceived: self._on_goaway,
        }

    def begin(self, channel: Channel) -> None:
        """Greets the server."""
        self._channel = channel
        self._http2.initiate_connection(
            {Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW}
        )
        self._http2.set_local_window_size(_WINDOW)
        self.flush()

    def start(self, start_ns: int = AT_ONCE) -> None:
        """Makes ready a request that begins then, or when it is written."""
        http2 = self._http2
        stream = http2.send_request(self._work.headers)
        http2.send_data(stream, next(self._work.bodies), end_stream=True)
        call = self.calls[stream] = Call(start_ns)
        self._unsent.append(call)

    def flush(self) -> None:
        """Writes what is ready."""
        data = self._http2.data_to_send()
        if self._unsent:
            now_ns = self._work.now_ns()
            for call in self._unsent:
                if call.start_ns == AT_ONCE:
                    call.start_ns = now_ns
            self._unsent.clear()
        if data and self._channel is not None:
            self._channel.send(data)

    def receive(self) -> None:
        """Takes what has come; what is ready then is to be flushed."""
        if self._channel is None:
            return
        try:
            data = self._channel.receive()
            now_ns = self._work.now_ns()
            self._http2.receive_data(data)
            events = self._http2.events()
        except (OSError, NGH2Error) as error:
            self._lose(getattr(error, "strerror", None) or str(error))
            return
        self._take(events, now_ns)

    def _take(self, events: Sequence[Event], now_ns: int) -> None:
        calls, good = self.calls, list[int]()
        for event in events:
            if isinstance(event, DataReceived):
                if (call := calls.get(event.stream_id)) is not None:
                    call.body += event.data
            elif isinstance(event, TrailersReceived):
                call = calls.pop(event.stream_id, None)
                if call is not None and self._is_good(event.headers, call):
                    good.append(call.start_ns)
            elif (act := self._others.get(type(event))) is not None:
                act(event)
        if good:
            self._work.tally.answered(good, now_ns)

    def _is_good(self, trailers: Headers, call: Call) -> bool:
        if status.OK_TRAILER not in trailers:
            self._fail(call, *status.of_trailers(trailers))
            return False
        if problem := self._work.check(call.body):
            self._fail(call, status.INVALID_ANSWER, problem)
            return False
        return True

    def _on_response(self, event: ResponseReceived) -> None:
        """Headers tell something only where the answer is not the usual one."""
        is_usual = event.headers[0] == status.OK_STATUS
        if is_usual and not event.end_stream:
            return
        if (call := self.calls.pop(event.stream_id, None)) is not None:
            headers = event.headers
            self._fail(call, *(status.of_trailers if is_usual else status.of_http)(headers))

    def _on_closed(self, event: StreamClosed) -> None:
        """An answer's end, after its trailers but for streams that were reset."""
        if (call := self.calls.pop(event.stream_id, None)) is not None:
            self._fail(call, *status.of_reset(event.error_code))

    def _on_settings(self, event: SettingsReceived) -> None:
        self.room = min(MOST_CALLS, event.settings.get(Setting.MAX_CONCURRENT_STREAMS, MOST_CALLS))
        self.is_open = not self.is_leaving

    def _on_goaway(self, _: GoAwayReceived) -> None:
        """Requests that the server has not taken are ended by libnghttp2 itself."""
        self.is_leaving, self.is_open = True, False

    def expire(self, now_ns: int) -> None:
        """Gives up requests that are older than they may be, and a connection that is used up."""
        if self.is_open and self._http2.next_stream_id > LAST_STREAM:
            self.is_leaving, self.is_open = True, False
        latest_ns = now_ns - self._work.timeout_ns
        late: list[int] = []
        for stream, call in self.calls.items():
            if call.start_ns > latest_ns:
                break
            late.append(stream)
        for stream in late:
            self._fail(self.calls.pop(stream), *self._work.late)
            with suppress(NGH2Error):  # it has ended meanwhile
                self._http2.reset_stream(stream, ErrorCode.CANCEL)

    def _fail(self, call: Call, code: str, message: str) -> None:
        self._work.tally.failed(code, message, call.start_ns)

    def _lose(self, reason: str) -> None:
        """Ends the connection, and with it all that is under way."""
        if not (self.is_open or self.is_leaving or self.calls):
            # Nobody answered at all: that is a failure, too, of the request it was opened for.
            self._work.tally.failed("UNAVAILABLE", reason, self._work.now_ns())
        for call in self.calls.values():
            self._fail(call, "UNAVAILABLE", reason)
        self.calls.clear()
        self.is_open, self.lost = False, reason
        self.close()

    def close(self) -> None:
        """Takes leave of the server."""
        if self._channel is None:
            return
        if not self.lost:
            with suppress(NGH2Error):  # the server has taken leave already
                self._http2.terminate_connection()
            self.flush()
        self._channel.close()
        self._channel = None

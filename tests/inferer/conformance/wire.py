"""A client that writes and reads single frames, where h2's own connection would refuse to."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

import grpc
import hpack
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.inferer.conformance import frames
from tests.inferer.conformance.application import UNARY

_HEADER_BYTES = 9
#: Every wait ends; far more than a server on a busy machine needs.
TIMEOUT_S = 10.0
_STATUS_NAMES = {str(code.value[0]): code.name for code in grpc.StatusCode}


@dataclass(slots=True)
class Exchange:
    """What came on one stream."""

    headers: dict[str, str] = field(default_factory=dict[str, str])
    trailers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytearray = field(default_factory=bytearray)
    has_ended: bool = False
    reset: int | None = None

    @property
    def messages(self) -> list[bytes]:
        """The gRPC messages; raises where the last is cut off."""
        found, rest = list[bytes](), bytes(self.body)
        while rest:
            flag, length = struct.unpack_from(">BI", rest)
            assert (flag, len(rest) >= 5 + length) == (0, True)
            found.append(rest[5 : 5 + length])
            rest = rest[5 + length :]
        return found

    @property
    def status(self) -> str:
        """The name of the gRPC status; empty where there is none."""
        number = self.trailers.get("grpc-status", self.headers.get("grpc-status", ""))
        return _STATUS_NAMES.get(number, number)

    @property
    def is_over(self) -> bool:
        return self.has_ended or self.reset is not None

    @property
    def outcome(self) -> str:
        """One word for how it ended: "reset CODE", "http STATUS" or "status NAME".

        Where a whole answer came first, a reset only says that no more of the request is wanted.
        """
        if self.reset is not None and not self.has_ended:
            return f"reset {_code_name(self.reset)}"
        if self.headers.get(":status") != "200":
            return f"http {self.headers.get(':status')}"
        return f"status {self.status}"


class Wire:
    """One connection. Reads only while something is waited for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = hpack.Decoder()
        self._block = bytearray()
        self.exchanges: dict[int, Exchange] = {}
        #: Frames in the order of their arrival, settings and pings too.
        self.seen: list[Frame] = []
        #: What the server lets us send beyond the initial windows, by stream; 0: the connection.
        self.granted: dict[int, int] = {}
        #: What `upload` has sent, likewise.
        self.sent: dict[int, int] = {}
        self.settings: dict[int, int] = {}
        #: SETTINGS sent by `sync` and at the beginning, and how many of them were acknowledged.
        self.greetings = 0
        self.acknowledged = 0
        self.goaways: list[int] = []
        self.is_closed = False
        #: Whether windows are refilled by what arrives.
        self.refills = True
        #: Whether the server's settings are acknowledged.
        self.acknowledges = True

    async def send(self, *parts: bytes) -> None:
        """Writes in one piece; a connection that the server closed takes it silently."""
        if not self._writer.is_closing():
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(TIMEOUT_S):
                    self._writer.write(b"".join(parts))
                    await self._writer.drain()

    def exchange(self, stream: int) -> Exchange:
        return self.exchanges.setdefault(stream, Exchange())

    async def until(self, is_so: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Reads until `is_so` or the connection ends; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not is_so() and not self.is_closed:
                await self._read_frame()

    async def ended(self, stream: int) -> Exchange:
        """Reads to the end of a stream, whole or not."""
        exchange = self.exchange(stream)
        await self.until(lambda: exchange.is_over)
        assert exchange.is_over, f"closed before the end of stream {stream}: {self.goaways}"
        return exchange

    async def outcome(self, stream: int, allowed: Collection[str] = ()) -> str:
        """How a stream or, before it, the connection ended: Exchange.outcome, "goaway", "closed".

        Or "nothing": only where that is `allowed` it is not waited for.
        """
        exchange = self.exchange(stream)
        is_settled = lambda: exchange.is_over or any(self.goaways)  # noqa: E731
        if "nothing" in allowed:
            await self.sync()
        else:
            await self.until(is_settled)
        if exchange.is_over:
            return exchange.outcome
        bad = [code for code in self.goaways if code]
        if bad:
            return f"goaway {_code_name(bad[0])}"
        return "closed" if self.is_closed else "nothing"

    async def call(
        self,
        stream: int,
        path: str,
        content: bytes = b"abc",
        changes: Mapping[str, str | None] | None = None,
    ) -> Exchange:
        """A whole unary call."""
        await self.send(frames.request(stream, path, content, changes))
        return await self.ended(stream)

    def room(self, stream: int) -> int:
        """What `upload` may send now; 0 as stream: on the connection alone."""
        initial = self.settings.get(frames.INITIAL_WINDOW_SIZE, frames.WINDOW_BYTES)
        of_stream = initial + self.granted.get(stream, 0) - self.sent.get(stream, 0)
        of_connection = frames.WINDOW_BYTES + self.granted.get(0, 0) - self.sent.get(0, 0)
        return min(of_stream, of_connection) if stream else of_connection

    async def upload(self, stream: int, payload: bytes, *, end: bool = True) -> None:
        """Sends DATA within the windows, as they come."""
        await self.until(lambda: bool(self.seen))  # the server greets by its settings
        while payload or end:
            await self.until(lambda: self.room(stream) > 0 or self.exchange(stream).is_over)
            size = min(frames.FRAME_BYTES, self.room(stream))
            chunk, payload = payload[:size], payload[size:]
            for window in (0, stream):
                self.sent[window] = self.sent.get(window, 0) + len(chunk)
            is_last = end and not payload
            await self.send(frames.data(stream, chunk, end=is_last))
            if is_last or self.exchange(stream).is_over:
                return

    async def sync(self) -> None:
        """Goes there and back: what was sent before has been read by the server.

        By SETTINGS: pings in quick succession are a flood.
        """
        await self.send(frames.settings())
        self.greetings += 1
        wanted = self.greetings
        await self.until(lambda: self.acknowledged >= wanted)

    def has_ponged(self, payload: bytes) -> bool:
        """Whether a ping of this payload was answered."""
        return any(
            isinstance(seen, PingFrame) and "ACK" in seen.flags and seen.opaque_data == payload
            for seen in self.seen
        )

    async def end(self) -> None:
        """Reads until the server closes the connection."""
        await self.until(lambda: False)

    async def rest(self) -> bytes:
        """All bytes, of whatever protocol, until the server hangs up."""
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                return await self._reader.read()
        return b""

    def hang_up(self) -> None:
        """Says that nothing more will come; the server may still answer."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def abort(self) -> None:
        """Without a farewell."""
        self._writer.transport.abort()

    async def _read_frame(self) -> None:
        try:
            head = await self._reader.readexactly(_HEADER_BYTES)
            found, length = Frame.parse_frame_header(memoryview(head))
            found.parse_body(memoryview(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.is_closed = True
            return
        self.seen.append(found)
        await self._take(found)

    async def _take(self, found: Frame) -> None:
        if isinstance(found, HeadersFrame | ContinuationFrame):
            self._take_headers(found)
        elif isinstance(found, DataFrame):
            await self._take_data(found)
        elif isinstance(found, RstStreamFrame):
            self.exchange(found.stream_id).reset = found.error_code
        elif isinstance(found, GoAwayFrame):
            self.goaways.append(found.error_code)
        elif isinstance(found, WindowUpdateFrame):
            before = self.granted.get(found.stream_id, 0)
            self.granted[found.stream_id] = before + found.window_increment
        elif isinstance(found, SettingsFrame):
            await self._take_settings(found)
        elif "ACK" not in found.flags and isinstance(found, PingFrame):
            await self.send(frames.ping(found.opaque_data, ack=True))

    def _take_headers(self, found: HeadersFrame | ContinuationFrame) -> None:
        exchange = self.exchange(found.stream_id)
        exchange.has_ended |= "END_STREAM" in found.flags
        self._block += found.data
        if "END_HEADERS" not in found.flags:
            return
        pairs = cast("list[tuple[str, str]]", self._decoder.decode(bytes(self._block)))
        self._block.clear()
        target = exchange.trailers if exchange.headers else exchange.headers
        target.update(pairs)

    async def _take_settings(self, found: SettingsFrame) -> None:
        if "ACK" in found.flags:
            self.acknowledged += 1
        else:
            self.settings.update(found.settings)
            if self.acknowledges:
                await self.send(frames.settings_ack())

    async def _take_data(self, found: DataFrame) -> None:
        exchange = self.exchange(found.stream_id)
        exchange.body += found.data
        exchange.has_ended |= "END_STREAM" in found.flags
        if self.refills and found.flow_controlled_length:
            credit = frames.window(0, found.flow_controlled_length)
            if not exchange.has_ended:
                credit += frames.window(found.stream_id, found.flow_controlled_length)
            await self.send(credit)


def _code_name(code: int) -> str:
    return ErrorCodes(code).name if code in list(ErrorCodes) else str(code)


@contextlib.asynccontextmanager
async def connected(
    address: str,
    settings: Mapping[int, int] | None = None,
    *,
    greets: bool = True,
    receive_bytes: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[Wire]:
    """A connection; `greets`: with preface and settings; `receive_bytes`: of the socket."""
    host, _, port = address.rpartition(":")
    plain = socket.socket()
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.setblocking(False)  # noqa: FBT003 - the socket module's own
    try:
        await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    except OSError:
        plain.close()
        raise
    name = None if tls is None else host
    reader, writer = await asyncio.open_connection(sock=plain, ssl=tls, server_hostname=name)
    wire = Wire(reader, writer)
    wire.acknowledges = greets  # it may be no HTTP/2 that is spoken
    try:
        if greets:
            wire.greetings += 1
            await wire.send(frames.PREFACE, frames.settings(settings))
        yield wire
    finally:
        wire.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def is_serving(address: str, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a new connection gets its answer."""
    async with connected(address, tls=tls) as wire:
        exchange = await wire.call(1, UNARY + "Echo", b"still there")
        return exchange.messages == [b"still there"] and exchange.status == "OK"

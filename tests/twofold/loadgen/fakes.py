"""A server in memory, and time that passes only while the load generator waits."""

import heapq
import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ngh2 import Connection, DataReceived, RequestReceived, Role, Setting

from twofold.loadgen import requests
from twofold.loadgen.cost import Used
from twofold.loadgen.link import Link
from twofold.oip import inference_pb2 as pb

MS = 1_000_000
S = 1000 * MS
HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]


def answer(model: str = "m", version: str = "1") -> bytes:
    """A good answer's message."""
    made = pb.ModelInferResponse(model_name=model, model_version=version)
    made.outputs.add(name="y", datatype="FP32", shape=[1, 1])
    made.raw_output_contents.append(struct.pack("<f", 1))
    return made.SerializeToString()


@dataclass(frozen=True)
class Reply:
    """What becomes of one request."""

    after_ns: int = MS
    body: bytes = requests.framed(answer())
    trailers: tuple[tuple[bytes, bytes], ...] = ((b"grpc-status", b"0"),)
    headers: tuple[tuple[bytes, bytes], ...] = tuple(HEADERS)
    reset: int | None = None
    """An error code: the stream is reset instead."""
    is_cut: bool = False
    """The whole connection is lost instead."""
    is_trailers_only: bool = False


NEVER = Reply(after_ns=10_000 * S)
#: What a server does with a request that reached it at this time.
Behaviour = Callable[[int], Reply]


class FakeChannel:
    """See Channel; the server's side of it, too."""

    def __init__(self, network: "FakeNetwork", owner: Link) -> None:
        self.network = network
        self.owner = owner
        self.server = Connection(Role.SERVER)
        self.server.initiate_connection(network.settings)
        self.inbox = b""
        self.lost: OSError | None = None
        self.is_closed = False
        self.paths: dict[int, bytes] = {}
        self.write_count = 0

    def send(self, data: bytes) -> None:
        self.write_count += 1
        if self.lost is not None:
            return
        self.server.receive_data(data)
        for event in self.server.events():
            if isinstance(event, RequestReceived):
                self.paths[event.stream_id] = dict(event.headers)[b":path"]
                self.network.headers = dict(event.headers)
            elif isinstance(event, DataReceived) and event.end_stream:
                self.network.take(self, event.stream_id)
        self.push()

    def reply(self, stream: int, reply: Reply) -> None:
        if self.lost is not None:
            return
        if reply.is_cut:
            self.cut("cut")
        elif reply.reset is not None:
            self.server.reset_stream(stream, reply.reset)
        elif reply.is_trailers_only:
            self.server.send_response(stream, (*reply.headers, *reply.trailers), end_stream=True)
        else:
            self.server.send_response(stream, reply.headers)
            self.server.send_data(stream, reply.body)
            self.server.send_trailers(stream, reply.trailers)
        self.push()

    def cut(self, reason: str) -> None:
        self.lost = ConnectionResetError(104, reason)

    def push(self) -> None:
        if not self.network.is_silent:
            self.inbox += self.server.data_to_send()

    def receive(self) -> bytes:
        if self.lost is not None:
            raise self.lost
        data, self.inbox = self.inbox, b""
        return data

    def close(self) -> None:
        self.is_closed = True


class FakeNetwork:
    """See Network."""

    def __init__(self, behave: Behaviour = lambda _: Reply()) -> None:
        self.behave = behave
        self.time_ns = S
        self.channels: list[FakeChannel] = []
        self.settings: dict[Setting, int] = {}
        #: Of the last request.
        self.headers: dict[bytes, bytes] = {}
        #: When requests reached the server.
        self.arrivals_ns: list[int] = []
        #: Most requests that the server had at once.
        self.most = 0
        self.under_way = 0
        #: Whether new connections are refused.
        self.is_down = False
        #: Whether nothing is ever said.
        self.is_silent = False
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers: Iterator[int] = itertools.count()

    def now_ns(self) -> int:
        return self.time_ns

    def at(self, after_ns: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time_ns + after_ns, next(self._numbers), act))

    def take(self, channel: FakeChannel, stream: int) -> None:
        """A whole request has come."""
        self.arrivals_ns.append(self.time_ns)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        reply = self.behave(self.time_ns)

        def act() -> None:
            self.under_way -= 1
            channel.reply(stream, reply)

        self.at(reply.after_ns, act)

    def open(self, owner: Link) -> FakeChannel:
        channel = FakeChannel(self, owner)
        if self.is_down:
            channel.cut("Connection refused")
        self.channels.append(channel)
        return channel

    def wait(self, timeout_ns: int) -> Sequence[Link]:
        end_ns = self.time_ns + timeout_ns
        while not (found := self._ready()) and self._events and self._events[0][0] <= end_ns:
            self.time_ns, _, act = heapq.heappop(self._events)
            act()
        if not found:
            self.time_ns = end_ns
        return found

    def _ready(self) -> list[Link]:
        return [
            channel.owner
            for channel in self.channels
            if not channel.is_closed and (channel.inbox or channel.lost is not None)
        ]


def no_cost() -> Used:
    """A meter of a machine that costs nothing."""
    return Used(0, 0, 0, None)

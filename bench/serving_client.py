"""A load that reads every answer: `serving_client.py HOST:PORT CONNECTIONS IN_FLIGHT FILE`.

Each version answers its own number, so that an answer tells by itself whether it is that version's.
Says on its output when a version answers for the first time, and ends with its input; FILE then
holds, per answer, when its request began (monotonic clock, ns), its latency (ns) and its version,
and what failed. Waiting requests are answered before the end.
"""

import asyncio
import contextlib
import json
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import ngh2
import numpy as np
import uvloop

from bench.serving_calls import framed
from bench.serving_model import OUTPUTS, request
from bench.serving_servers import PATH
from twofold.oip import inference_pb2 as pb

_PREFIX_BYTES = 5
_HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", PATH.encode()),
    (b":authority", b"bench"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
_END_S = 10.0
#: Failures and mixed answers that are kept in words.
_KEPT = 20


@dataclass(slots=True)
class Seen:
    """What all connections saw."""

    answers: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    failed: list[str] = field(default_factory=list[str])
    mixed: list[str] = field(default_factory=list[str])
    newest: int = 0

    def take_in(self, began_ns: int, message: bytes, at_least: int) -> None:
        """An answer to a request that began when `at_least` had answered already."""
        took_ns = time.monotonic_ns() - began_ns
        response = pb.ModelInferResponse.FromString(message)
        number = int(response.model_version)
        if response.raw_output_contents != [np.full(OUTPUTS, number, "<f4").tobytes()]:
            self.mixed.append(f"version {number} answered {response.raw_output_contents}")
        if number < at_least:
            self.mixed.append(f"version {number} after {at_least}")
        self.answers.append((began_ns, took_ns, number))
        if number > self.newest:
            self.newest = number
            print(number, flush=True)


@dataclass(slots=True)
class _Open:
    began_ns: int
    at_least: int
    body: bytes = b""
    status: bytes = b""


class Connection(asyncio.Protocol):
    """One connection, with so many requests under way."""

    def __init__(self, seen: Seen, body: bytes, width: int) -> None:
        self._seen = seen
        self._body = body
        self._width = width
        self._http2 = ngh2.Connection(ngh2.Role.CLIENT)
        self._open: dict[int, _Open] = {}
        self._transport: asyncio.Transport | None = None
        self.is_ending = False
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # TCP's
        self._http2.initiate_connection()
        for _ in range(self._width):
            self._ask()
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._seen.failed += [f"the connection was lost: {exc}"] * len(self._open)
        self._open.clear()
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._http2.receive_data(data)
        for event in self._http2.events():
            self._take(event)
        self._write()

    def _take(self, event: object) -> None:
        if isinstance(event, ngh2.DataReceived):
            self._open[event.stream_id].body += event.data
        elif isinstance(event, ngh2.TrailersReceived | ngh2.ResponseReceived):
            for header in event.headers:
                if header[0] == b"grpc-status":
                    self._open[event.stream_id].status = bytes(header[1])
        elif isinstance(event, ngh2.StreamClosed):
            self._finish(self._open.pop(event.stream_id))

    def _finish(self, asked: _Open) -> None:
        prefix = asked.body[:_PREFIX_BYTES]
        size = len(asked.body) - _PREFIX_BYTES
        if asked.status == b"0" and prefix == b"\0" + struct.pack(">I", max(size, 0)):
            self._seen.take_in(asked.began_ns, asked.body[_PREFIX_BYTES:], asked.at_least)
        else:
            self._seen.failed.append(f"status {asked.status!r}, {len(asked.body)} bytes")
        if not self.is_ending:
            self._ask()
        elif not self._open:
            self.ended.set()

    def _ask(self) -> None:
        stream = self._http2.send_request(_HEADERS)
        self._http2.send_data(stream, self._body, end_stream=True)
        self._open[stream] = _Open(time.monotonic_ns(), self._seen.newest)

    def _write(self) -> None:
        if self._transport is not None and (data := self._http2.data_to_send()):
            self._transport.write(data)


async def run(address: str, connections: int, in_flight: int, file: Path) -> None:
    """Asks until the input ends."""
    loop = asyncio.get_running_loop()
    seen, body = Seen(), framed(request("x").SerializeToString())
    host, _, port = address.rpartition(":")
    opened: list[Connection] = []
    for place in range(connections):
        width = in_flight // connections + (place < in_flight % connections)
        connection = Connection(seen, body, width)
        await loop.create_connection(lambda made=connection: made, host, int(port))
        opened.append(connection)
    await loop.run_in_executor(None, sys.stdin.read)
    for connection in opened:
        connection.is_ending = True
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(each.ended.wait() for each in opened)), _END_S)
    waiting = [each for each in opened if not each.ended.is_set()]
    _write_seen(seen, file, [f"no answer within {_END_S} s" for _ in waiting])


def _write_seen(seen: Seen, file: Path, late: Sequence[str]) -> None:
    failed = [*seen.failed, *late]
    np.savez(file, answers=np.array(seen.answers, np.int64).reshape(-1, 3))
    told = {
        "failed_count": len(failed),
        "mixed_count": len(seen.mixed),
        "failed": failed[:_KEPT],
        "mixed": seen.mixed[:_KEPT],
    }
    file.with_suffix(".json").write_text(json.dumps(told))


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))

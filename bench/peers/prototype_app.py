"""The least that answers predictions over gRPC: `prototype_app.py STORE MODEL VERSION HOST:PORT`.

libnghttp2 on a uvloop Protocol and the inferer's own engine, with one batch per turn of the event
loop over all connections. No deadline, cancellation, stream, compression, bound, encryption, health
or count: what the inferer's transport and service cost beside the inevitable is the distance to it.
"""
# pyright: basic

import asyncio
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ngh2
import numpy as np
import uvloop

from inferer.engine import Engine
from inferer.lane import Program
from inferer.loading import Loader
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL
from twofold.store import LocalStore

_HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_TRAILERS = [(b"grpc-status", b"0")]
_MAX_CONCURRENT_STREAMS = 3  # RFC 9113, section 6.5.2
_PREFIX_BYTES = 5

Answers = Callable[[Sequence[bytes]], Sequence[bytes]]


class Turn:
    """What one turn of the event loop read, answered as one batch."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._waiting: list[tuple[Connection, int, bytes]] = []

    def add(self, connection: "Connection", stream: int, message: bytes) -> None:
        """Takes a request."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append((connection, stream, message))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        answers = self._answers([message for _, _, message in waiting])
        for (connection, stream, _), answer in zip(waiting, answers, strict=True):
            connection.answer(stream, answer)
        for connection in {connection for connection, _, _ in waiting}:
            connection.write()


class Connection(asyncio.Protocol):
    """HTTP/2 with one caller."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._http2 = ngh2.Connection(ngh2.Role.SERVER)
        self._bodies: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport
        self._http2.initiate_connection({_MAX_CONCURRENT_STREAMS: 1000})
        self.write()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._http2.receive_data(data)
        for event in self._http2.events():
            if type(event) is ngh2.DataReceived:
                body = self._bodies.pop(event.stream_id, b"") + event.data
                size = _PREFIX_BYTES
                if len(body) >= size:
                    size += struct.unpack_from(">I", body, 1)[0]
                if len(body) >= size > _PREFIX_BYTES:
                    self._turn.add(self, event.stream_id, body[_PREFIX_BYTES:])
                else:
                    self._bodies[event.stream_id] = body
        self.write()

    def answer(self, stream: int, message: bytes) -> None:
        """Queues one answer."""
        self._http2.send_response(stream, _HEADERS)
        self._http2.send_data(stream, b"\0" + struct.pack(">I", len(message)) + message)
        self._http2.send_trailers(stream, _TRAILERS)

    def write(self) -> None:
        """Writes what there is to write."""
        if (data := self._http2.data_to_send()) and not self._transport.is_closing():
            self._transport.write(data)


def predictions(program: Program, model: str, version: int) -> Answers:
    """Answers by a program of the engine."""

    def answers(messages: Sequence[bytes]) -> Sequence[bytes]:
        requests = [pb.ModelInferRequest.FromString(message) for message in messages]
        parts = [
            {
                request.inputs[0].name: np.frombuffer(request.raw_input_contents[0], "<f4").reshape(
                    request.inputs[0].shape
                )
            }
            for request in requests
        ]
        return [_message(model, version, result) for result in program.run(parts).results]

    return answers


def _message(model: str, version: int, outputs: Mapping[str, np.ndarray]) -> bytes:
    response = pb.ModelInferResponse(model_name=model, model_version=str(version))
    for name, array in outputs.items():
        response.outputs.add(name=name, datatype="FP32", shape=array.shape)
        response.raw_output_contents.append(array.tobytes())
    return response.SerializeToString()


async def serve(answers: Answers, address: str) -> None:
    """Serves until the process ends."""
    host, _, port = address.rpartition(":")
    turn = Turn(answers)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(turn), host, int(port), backlog=512)
    await server.serve_forever()


def main() -> None:
    """Loads the version as the inferer does, and serves it."""
    store, model, version, address = sys.argv[1:]
    with Engine() as engine:
        loader = Loader(LocalStore(Path(store), read_only=True), engine, 1024)
        job = engine.loader.submit(loader.load, LOCAL.tenant, model, int(version))
        answers = predictions(job.result().program, model, int(version))
        uvloop.run(serve(answers, address))


if __name__ == "__main__":
    main()

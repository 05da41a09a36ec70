"""Single calls of bench.serving: whether a server answers rightly, and what it counted."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import grpc
import numpy as np

from bench.serving_model import MODEL, OUTPUTS, check_equal, request, row
from bench.serving_servers import PATH, Running
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

_READY_S = 90.0
_POLL_S = 0.1
_CALL_S = 5.0
_SERVICE = PATH.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that a server counted since its beginning."""

    successes: int
    failures: int
    #: Forward passes, and their rows.
    batches: int
    rows: int

    def since(self, before: "Counts") -> "Counts":
        """What was counted since then."""
        return Counts(
            self.successes - before.successes,
            self.failures - before.failures,
            self.batches - before.batches,
            self.rows - before.rows,
        )


def framed(message: bytes) -> bytes:
    """A gRPC message with its prefix."""
    return b"\0" + struct.pack(">I", len(message)) + message


def body(server: Running) -> bytes:
    """What a load sends to a server, request by request."""
    name = server.kind.input_name
    return framed(request(name).SerializeToString()) if name else row().tobytes()


def first_answer(server: Running, expected: Array) -> bytes:
    """Waits until a server answers, and checks that; the body of the answer.

    Raises SystemExit where it does not answer, or wrongly.
    """
    until_s = time.monotonic() + _READY_S
    while True:
        server.check_alive()
        try:
            answer = _ask(server)
            break
        except (grpc.RpcError, urllib.error.URLError, OSError) as error:
            if time.monotonic() > until_s:
                raise SystemExit(
                    f"{server.name} does not answer: {error}; {server.log_tail()}"
                ) from error
            time.sleep(_POLL_S)
    if not server.kind.input_name:
        check_equal(server.name, np.frombuffer(answer, "<f4").reshape(1, OUTPUTS), expected)
        return answer
    if server.kind.is_predicting:
        check_equal(server.name, _values(answer), expected)
    return framed(answer)


def _ask(server: Running) -> bytes:
    name = server.kind.input_name
    if not name:
        url = f"http://{server.address}/inference"
        with urllib.request.urlopen(url, row().tobytes(), _CALL_S) as response:
            return response.read()
    return call(server.address, "ModelInfer", request(name).SerializeToString())


def call(address: str, method: str, message: bytes) -> bytes:
    """One call on a connection of its own; raises RpcError."""
    with grpc.insecure_channel(address) as channel:
        # grpcio's stubs leave the types of messages open.
        ask = cast("Callable[..., bytes]", channel.unary_unary(f"{_SERVICE}/{method}"))
        return ask(message, timeout=_CALL_S)


def _values(answer: bytes) -> Array:
    response = pb.ModelInferResponse.FromString(answer)
    (output,) = response.outputs
    if response.raw_output_contents:
        values = np.frombuffer(response.raw_output_contents[0], "<f4")
    else:
        values = np.array(output.contents.fp32_contents, "<f4")
    return values.reshape(tuple(output.shape))


def counts(server: Running) -> Counts:
    """Its own counters of this model."""
    asked = pb.ModelStatisticsRequest(name=MODEL).SerializeToString()
    answer = pb.ModelStatisticsResponse.FromString(call(server.address, "ModelStatistics", asked))
    found = answer.model_stats
    return Counts(
        sum(each.inference_stats.success.count for each in found),
        sum(each.inference_stats.fail.count for each in found),
        sum(each.execution_count for each in found),
        sum(each.inference_count for each in found),
    )

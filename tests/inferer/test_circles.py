"""What failed, was refused or was given up is let go of without the collector.

An error that is kept holds the frames that it came through, with whatever these hold, and the
frames that called them.
"""

import asyncio
import logging
import math
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from typing import cast

import numpy as np
import pytest

from inferer import stream
from inferer.batcher import Limits
from inferer.convert import Inputs
from inferer.forms.form import Columns
from inferer.lane import Answer, Done, Lane
from inferer.pace import Pace
from inferer.program import NetProgram, Preparation
from inferer.transport import Call, PlainCall
from inferer.transport.native.calls import Shared, StreamCall
from inferer.transport.native.framing import Head, Refused, frame, parse_head
from inferer.transport.native.refusal import RefusedCall
from inferer.turns import Turns
from tests.inferer.fakes import never, rows
from tests.inferer.lane_bench import Bench
from tests.waiting import until
from twofold.errors import Internal, NotFound, TwofoldError
from twofold.features import Features
from twofold.oip import inference_pb2 as pb
from twofold.seams import SystemClock
from twofold.tensors import Array
from twofold.v1 import model_pb2, spec_pb2

pytestmark = pytest.mark.usefixtures("without_collector")

MESSAGE = frame(b"message")
HEAD = Head("/x/y", (), math.inf, "identity")
WANTS_STATUS = PlainCall("/x/y", (("triton_grpc_error", "true"),))


class Wire:
    """Takes everything."""

    peer = "peer"

    def __init__(self) -> None:
        self.ended = 0

    def end(
        self, stream_id: int, error: Exception | None, *, has_begun: bool, is_read: bool
    ) -> None:
        del stream_id, error, has_begun, is_read
        self.ended += 1

    def take(self, stream_id: int, size: int) -> None:
        del stream_id, size

    def mark(self) -> None:
        pass

    answer = begin = send = queued = when_room = never


class Application:
    """Reads a stream to its end, then fails."""

    async def stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for _ in messages:
            pass
        if call.path:
            raise NotFound("model m does not exist")
        yield b""


class Counted:
    """The Shared of calls that counts them."""

    max_message_bytes = 100
    application = Application()

    def __init__(self) -> None:
        self.forgotten = 0

    def buffer(self, size: int) -> None:
        del size

    def forget(self, call: object) -> None:
        del call
        self.forgotten += 1


def refused(wire: Wire) -> RefusedCall:
    """As a connection does, whose frame holds the call that it makes."""
    try:
        parse_head(())
    except Refused as error:
        call = RefusedCall(wire, 1, error)
        call.sweep(60.0)
        return call
    raise AssertionError


@pytest.mark.parametrize(
    "end",
    [
        RefusedCall.leave,
        methodcaller("receive", b"", is_last=True),
        methodcaller("abort", Internal()),
    ],
)
async def test_a_call_that_is_refused(end: Callable[[RefusedCall], None]) -> None:
    call = refused(Wire())
    seen = weakref.ref(call)

    end(call)
    del call

    assert seen() is None


async def test_a_call_that_is_refused_before_its_message_comes() -> None:
    wire = Wire()
    seen = weakref.ref(refused(wire))

    async def is_over() -> bool:
        return wire.ended == 1

    await until(is_over)

    assert seen() is None


def ended_stream(call: StreamCall) -> None:
    call.receive(MESSAGE, is_last=True)


def refused_stream(call: StreamCall) -> None:
    call.receive(b"\1" + MESSAGE[1:], is_last=True)


@pytest.mark.parametrize("end", [ended_stream, refused_stream, StreamCall.leave, StreamCall.expire])
async def test_a_stream(end: Callable[[StreamCall], None]) -> None:
    shared = Counted()
    call = StreamCall(Wire(), cast("Shared", shared), 1, HEAD, math.inf)
    seen = weakref.ref(call)
    await asyncio.sleep(0)  # it waits for a message

    end(call)
    del call
    for _ in range(10):
        await asyncio.sleep(0)

    assert shared.forgotten == 1
    assert seen() is None


@pytest.mark.parametrize("message", [b"", b"\xff\xff"])
async def test_the_error_that_is_a_streams_status(message: bytes) -> None:
    """It came out of a request's task, or out of the reading of messages."""
    seen: list[weakref.ref[TwofoldError]] = []

    def noted(error: TwofoldError) -> TwofoldError:
        seen.append(weakref.ref(error))
        return error

    async def infer(request: pb.ModelInferRequest) -> bytes:
        del request
        raise noted(NotFound("model m does not exist"))

    async def messages() -> AsyncIterator[bytes]:
        yield b""
        if message:
            raise noted(Internal())

    async def run() -> None:
        answers = stream.answers(WANTS_STATUS, messages(), infer, asyncio.Event())
        with pytest.raises(TwofoldError):
            async for _ in answers:
                pass

    await asyncio.create_task(run())
    for _ in range(5):
        await asyncio.sleep(0)

    assert [error() for error in seen] == [None] * len(seen)
    assert seen


async def test_a_request_that_failed_and_was_waited_for() -> None:
    bench = Bench()
    inputs = Inputs({"x": rows(-1.0)}, 1)
    seen = weakref.ref(inputs.arrays["x"])
    task = asyncio.create_task(bench.lane.submit(inputs, math.inf))
    del inputs
    await asyncio.wait([task])

    assert isinstance(task.exception(), Internal)
    del task
    assert seen() is None


class Failing:
    """A form that fails on negative numbers, as torch does: from one error comes another."""

    name = "failing"
    most_rows = None

    def put(self, columns: Columns, rows: int) -> Array:
        del rows
        return np.concatenate(columns[0])

    def compute(self, batch: Array) -> Array:
        try:
            return [batch][int((batch < 0).any())]
        except IndexError as error:
            raise RuntimeError("negative") from error


def asked(lane: Lane, value: float, done: Done) -> "weakref.ref[Array]":
    """Queues a request; its row."""
    row = rows(value)
    lane.admit(Inputs({"x": row}, 1), math.inf, done)
    return weakref.ref(row)


@pytest.mark.parametrize("values", [(-1.0,), (-1.0, 1.0)])
@pytest.mark.parametrize("is_inline", [True, False])
async def test_a_batch_that_failed(
    caplog: pytest.LogCaptureFixture, values: tuple[float, ...], *, is_inline: bool
) -> None:
    caplog.set_level(logging.CRITICAL, "inferer.lane")  # what is logged would be kept by pytest
    spec = model_pb2.FeatureSpec(numeric_columns=["a"], target="y", task=spec_pb2.TASK_REGRESSION)
    program = NetProgram(Features(spec), Failing(), cast("Preparation", None))
    program.pace = Pace.through([(1, 1e-5 if is_inline else 1.0)])
    outcomes: list[Answer | TwofoldError] = []
    with ThreadPoolExecutor(1) as thread:
        lane = Lane("m", program, Limits(8, 8), Turns(thread), SystemClock())
        seen = [asked(lane, value, outcomes.append) for value in values]

        async def are_told() -> bool:
            return len(outcomes) == len(values)

        await until(are_told)

    assert isinstance(outcomes[0], Internal)
    assert [array() for array in seen] == [None] * len(seen)

"""ModelStreamInfer: answers in the order of the requests; an error is an answer, not the end.

Up to IN_FLIGHT requests of one stream run at a time, so that they can share a batch. A caller that
sent `triton_grpc_error: true` wants the first error as the stream's status instead.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice

from inferer.convert import parse
from inferer.transport import Call
from inferer.wire import delimited
from twofold.errors import TwofoldError, Unavailable
from twofold.oip import inference_pb2 as pb

#: Requests of one stream that run at a time; what is sent beyond that waits in the transport.
IN_FLIGHT = 64
_REAL_STATUS = ("triton_grpc_error", "true")

Infer = Callable[[pb.ModelInferRequest], Awaitable[bytes]]
_ANSWER = pb.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER
#: Triton's way to say that no other answer to the same request follows; the end of each.
_FINAL = pb.ModelInferResponse(
    parameters={"triton_final_response": pb.InferParameter(bool_param=True)}
).SerializeToString()


async def answers(
    call: Call, messages: AsyncIterator[bytes], infer: Infer, closed: asyncio.Event
) -> AsyncGenerator[bytes]:
    """One answer per message, in order.

    Raises:
        Unavailable: the server drains (`closed`); everything read before was answered.
        TwofoldError: the first error, where the caller wants it as a status.
    """
    wants_status = _REAL_STATUS in call.metadata
    running = deque[asyncio.Task[bytes]]()
    closing = asyncio.create_task(closed.wait())
    reading = asyncio.create_task(_next(messages))
    is_open = True
    try:
        while is_open or running:
            has_room = is_open and len(running) < IN_FLIGHT
            await asyncio.wait(
                [*islice(running, 1), *([reading, closing] if has_room else [])],
                return_when=asyncio.FIRST_COMPLETED,
            )
            if has_room and reading.done() and (message := reading.result()) is not None:
                answer = _answer(message, infer, wants_status=wants_status)
                running.append(asyncio.create_task(answer))
                reading = asyncio.create_task(_next(messages))
            elif has_room and (reading.done() or closing.done()):
                is_open = False
            while running and running[0].done():
                yield running.popleft().result()
        if not reading.done():
            raise Unavailable("the server is shutting down; open the stream again")
    finally:
        _drop([closing, reading, *running])
        del reading  # what it raised may hold this frame, and would not be let go of


def _drop(tasks: "Sequence[asyncio.Task[object]]") -> None:
    """Ends tasks that nobody will ask for their results."""
    for task in tasks:
        if not task.cancel() and not task.cancelled():
            task.exception()  # looked at, or asyncio complains that nobody did


async def _next(messages: AsyncIterator[bytes]) -> bytes | None:
    """The next message; None after the last."""
    return await anext(messages, None)


async def _answer(message: bytes, infer: Infer, *, wants_status: bool) -> bytes:
    request_id = ""
    try:
        request = parse(pb.ModelInferRequest, message)
        request_id = request.id
        return delimited(_ANSWER, await infer(request) + _FINAL)
    except TwofoldError as error:
        if wants_status:
            raise
        refused = pb.ModelStreamInferResponse(error_message=error.message)
        refused.infer_response.id = request_id
        refused.infer_response.MergeFromString(_FINAL)
        return refused.SerializeToString()

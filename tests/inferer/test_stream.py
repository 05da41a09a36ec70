import asyncio
import math
from collections.abc import AsyncIterator, Sequence

import pytest

from inferer import stream
from inferer.transport import PlainCall
from twofold.errors import InvalidField, NotFound, Unavailable
from twofold.oip import inference_pb2 as pb

CALL = PlainCall("/x/y", (), "peer", math.inf)
REAL_STATUS = PlainCall("/x/y", (("triton_grpc_error", "true"),), "peer", math.inf)


def message(request_id: str) -> bytes:
    return pb.ModelInferRequest(id=request_id).SerializeToString()


async def sent(messages: Sequence[bytes]) -> AsyncIterator[bytes]:
    for each in messages:
        yield each


async def for_ever(messages: Sequence[bytes]) -> AsyncIterator[bytes]:
    for each in messages:
        yield each
    await asyncio.Event().wait()


async def infer(request: pb.ModelInferRequest) -> bytes:
    """Early requests take longest; "bad" ones fail."""
    if request.id.startswith("bad"):
        raise NotFound("model m does not exist")
    for _ in range(10 - int(request.id)):
        await asyncio.sleep(0)
    return pb.ModelInferResponse(id=request.id).SerializeToString()


async def collect(answers: AsyncIterator[bytes]) -> list[pb.ModelStreamInferResponse]:
    return [pb.ModelStreamInferResponse.FromString(answer) async for answer in answers]


async def test_answers_come_in_the_order_of_requests() -> None:
    ids = [str(index) for index in range(10)]

    answers = stream.answers(CALL, sent([message(i) for i in ids]), infer, asyncio.Event())
    got = await collect(answers)

    assert [answer.infer_response.id for answer in got] == ids
    assert all(
        answer.infer_response.parameters["triton_final_response"].bool_param for answer in got
    )
    assert not any(answer.error_message for answer in got)


async def test_an_error_is_an_answer_and_the_stream_goes_on() -> None:
    messages = [message("1"), message("bad"), b"\xff\xff", message("2")]

    got = await collect(stream.answers(CALL, sent(messages), infer, asyncio.Event()))

    assert [(answer.infer_response.id, answer.error_message) for answer in got] == [
        ("1", ""),
        ("bad", "model m does not exist"),
        ("", "the message is not a ModelInferRequest"),
        ("2", ""),
    ]


async def test_a_caller_may_ask_for_a_real_status() -> None:
    messages = [message("bad1"), message("bad2"), b"\xff\xff"]

    with pytest.raises(NotFound):
        await collect(stream.answers(REAL_STATUS, sent(messages), infer, asyncio.Event()))
    with pytest.raises(InvalidField):
        await collect(stream.answers(REAL_STATUS, sent(messages[2:]), infer, asyncio.Event()))


async def test_only_so_many_requests_run_at_a_time() -> None:
    running, most = 0, 0

    async def count(request: pb.ModelInferRequest) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(200):
            await asyncio.sleep(0)
        running -= 1
        return pb.ModelInferResponse(id=request.id).SerializeToString()

    messages = [message(str(index)) for index in range(3 * stream.IN_FLIGHT)]
    got = await collect(stream.answers(CALL, sent(messages), count, asyncio.Event()))

    assert len(got) == len(messages)
    assert most == stream.IN_FLIGHT


async def test_draining_finishes_what_was_read_and_then_ends_the_stream() -> None:
    closed = asyncio.Event()
    answers = stream.answers(CALL, for_ever([message("1"), message("2")]), infer, closed)
    await anext(answers)
    closed.set()
    await anext(answers)

    with pytest.raises(Unavailable, match="shutting down"):
        await anext(answers)


async def test_leaving_cancels_what_runs() -> None:
    cancelled: list[str] = []

    async def hang(request: pb.ModelInferRequest) -> bytes:
        if request.id == "1":
            return pb.ModelInferResponse(id="1").SerializeToString()
        try:
            return await asyncio.Event().wait() and b""
        except asyncio.CancelledError:
            cancelled.append(request.id)
            raise

    async def consume() -> None:
        messages = for_ever([message("1"), message("2"), message("3")])
        async for _ in stream.answers(CALL, messages, hang, asyncio.Event()):
            pass

    task = asyncio.create_task(consume())
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)

    assert sorted(cancelled) == ["2", "3"]

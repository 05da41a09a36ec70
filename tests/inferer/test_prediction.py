"""Unary predictions without a task: the same answers as with one, and never none."""

import asyncio
import dataclasses

import numpy as np
import pytest

from inferer.batcher import NO_WISHES
from inferer.health import Health
from inferer.holdings import Served
from inferer.lane import Answer
from inferer.models import Models
from inferer.prediction import Prediction
from inferer.service import InferenceService
from inferer.transport import PlainCall
from inferer.versions import Stored
from tests.inferer.fakes import FakeClock, FakeProgram, FakeThread, rows, served, signature
from tests.inferer.server import SERVICE, infer_request, outputs_of
from twofold.errors import DeadlineExceeded, InvalidTensor
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL
from twofold.versions import VersionState

#: The version that takes two rows at most.
NARROW = 3


class Replies:
    """A Reply that keeps what came."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.errors: list[Exception] = []

    def answer(self, message: bytes) -> None:
        self.answers.append(message)

    def fail(self, error: Exception) -> None:
        self.errors.append(error)


class Bench:
    """A service over model m, of which versions come."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.programs: dict[int, FakeProgram] = {}
        self.models = Models(self._load, self.clock)
        self.service = InferenceService({LOCAL.tenant: self.models}, _missed, Health())
        self.task = asyncio.create_task(self.models.run())

    async def _load(self, name: str, number: int) -> Served:
        program = self.programs.setdefault(number, FakeProgram())
        made = served(name, number, self.clock, program, FakeThread())
        if number == NARROW:
            return dataclasses.replace(made, signature=signature(number, name, max_batch_size=2))
        return made

    async def publish(self, *numbers: int) -> None:
        states = tuple(VersionState(number, withdrawn=False) for number in numbers)
        self.models.update({"m": Stored(states, {})})
        for _ in range(20):
            await asyncio.sleep(0)

    async def infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        replies = Replies()
        call = PlainCall(SERVICE + "ModelInfer")
        self.service.begin(call, request.SerializeToString(), replies)
        for _ in range(5):
            await asyncio.sleep(0)
        assert replies.errors == []
        (answer,) = replies.answers
        return pb.ModelInferResponse.FromString(answer)


async def _missed(name: str) -> bool:
    raise AssertionError(name)


async def test_a_request_like_one_before_gets_the_answer_of_its_own_numbers() -> None:
    bench = Bench()
    await bench.publish(1)

    for value in (1.0, 2.0, 3.0):
        response = await bench.infer(infer_request("m", {"x": rows(value)}))
        assert outputs_of(response)["value"].tolist() == [[2 * value]]
        assert (response.model_version, response.id) == ("1", "")
    bench.task.cancel()


async def test_a_request_like_one_before_goes_to_the_version_that_serves_now() -> None:
    bench = Bench()
    await bench.publish(1)
    request = infer_request("m", {"x": rows(1)})
    assert (await bench.infer(request)).model_version == "1"

    await bench.publish(1, 2)

    for _ in range(3):
        assert (await bench.infer(request)).model_version == "2"
    bench.task.cancel()


async def test_a_request_like_one_before_is_held_to_the_version_that_serves_now() -> None:
    bench = Bench()
    await bench.publish(1)
    request = infer_request("m", {"x": rows(1, 2, 3)})
    await bench.infer(request)
    await bench.publish(1, NARROW)

    replies = Replies()
    message = request.SerializeToString()
    bench.service.begin(PlainCall(SERVICE + "ModelInfer"), message, replies)

    assert [type(error) for error in replies.errors] == [InvalidTensor]
    assert replies.answers == []
    bench.task.cancel()


async def test_what_one_request_says_beside_its_numbers_is_not_another_ones() -> None:
    bench = Bench()
    await bench.publish(1)
    plain, named = (infer_request("m", {"x": rows(1)}) for _ in range(2))
    named.id = "7"

    found = [(await bench.infer(each)).id for each in (plain, named, plain, named)]

    assert found == ["", "7", "", "7"]
    bench.task.cancel()


def test_an_answer_that_cannot_be_encoded_is_an_error_for_its_caller() -> None:
    """Its output has another name than the signature's."""
    replies = Replies()
    loaded = served("m", 1, FakeClock())
    prediction = Prediction(replies, loaded, "", loaded.encoder.everything)

    prediction(Answer({"other": np.ones((1, 1), np.float32)}, 0, 0, 1))

    assert replies.answers == []
    assert [type(error) for error in replies.errors] == [KeyError]


def test_a_lanes_refusal_is_the_callers() -> None:
    replies = Replies()
    loaded = served("m", 1, FakeClock())
    error = DeadlineExceeded("late")

    Prediction(replies, loaded, "", loaded.encoder.everything)(error)

    assert replies.errors == [error]


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_caller_who_leaves_is_taken_out_of_the_queue(*, leaves: bool) -> None:
    replies = Replies()
    program = FakeProgram()
    loaded = served("m", 1, FakeClock(), program, FakeThread())
    prediction = Prediction(replies, loaded, "", loaded.encoder.everything)
    inputs = loaded.decode(infer_request("m", {"x": rows(1)}))
    leave = prediction.begin(inputs, float("inf"), wishes=NO_WISHES)

    if leaves:
        leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert len(replies.answers) == (not leaves)
    assert len(program.batches) == (not leaves)

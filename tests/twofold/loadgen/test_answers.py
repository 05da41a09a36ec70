"""Whether an answer is one."""

import struct
from collections.abc import Callable

import pytest

from twofold.loadgen.answers import SAMPLE, Checker
from twofold.loadgen.requests import framed
from twofold.oip import inference_pb2 as pb

Change = Callable[[pb.ModelInferResponse], object]


def answer(change: Change | None = None) -> pb.ModelInferResponse:
    made = pb.ModelInferResponse(model_name="digits", model_version="3")
    made.outputs.add(name="y", datatype="FP32", shape=[2, 1])
    made.raw_output_contents.append(struct.pack("<2f", 1, 2))
    if change is not None:
        change(made)
    return made


def unchanged(made: pb.ModelInferResponse) -> None:
    del made


def without_outputs(made: pb.ModelInferResponse) -> None:
    made.ClearField("outputs")


def with_more_contents(made: pb.ModelInferResponse) -> None:
    made.raw_output_contents.append(b"")


def typed(*values: float) -> Change:
    def change(made: pb.ModelInferResponse) -> None:
        del made.raw_output_contents[:]
        made.outputs[0].contents.fp32_contents.extend(values)

    return change


def of_type(datatype: str, raw: bytes) -> Change:
    def change(made: pb.ModelInferResponse) -> None:
        made.outputs[0].datatype = datatype
        made.raw_output_contents[0] = raw

    return change


GOOD = framed(answer().SerializeToString())


@pytest.mark.parametrize(
    "change",
    [unchanged, typed(1, 2), of_type("BF16", b"1234"), of_type("BYTES", bytes(8))],
)
def test_good_answers(change: Change) -> None:
    assert not Checker("digits")(framed(answer(change).SerializeToString()))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the answer has no message"),
        (b"\1" + GOOD[1:], "the answer is compressed, which was not asked for"),
        (GOOD[:-1], "the answer is not exactly one message"),
        (GOOD + b"x", "the answer is not exactly one message"),
        (GOOD + GOOD, "the answer is not exactly one message"),
        (framed(b"\xff\xff"), "the answer is no ModelInferResponse"),
        (framed(b""), "the answer is of model , not digits"),
    ],
)
def test_bad_messages_are_found_by_every_look(body: bytes, problem: str) -> None:
    check = Checker("digits")

    assert check(body) == problem  # close
    assert check(body) == problem  # quick


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without_outputs, "the answer has no outputs"),
        (
            with_more_contents,
            "the answer has 1 outputs and 2 raw contents",
        ),
        (of_type("FP32", b"1234"), "output y: 4 bytes, but FP32 [2, 1] needs 8"),
        (typed(1), "output y: 1 values, but shape [2, 1] has 2"),
    ],
)
def test_bad_outputs_are_found_by_a_close_look(change: Change, problem: str) -> None:
    body = framed(answer(change).SerializeToString())
    check = Checker("digits")

    found = [check(body) for _ in range(2 * SAMPLE)]

    assert found[0] == found[SAMPLE] == problem
    assert found.count(problem) == 2


def test_another_model_or_version_is_found() -> None:
    assert Checker("iris")(GOOD) == "the answer is of model digits, not iris"
    assert Checker("digits", "4")(GOOD) == "the answer is of version 3, not 4"
    assert not Checker("digits", "3")(GOOD)
    assert not Checker("digits", ":stable")(GOOD)


def test_model_whose_name_begins_alike_is_found_at_every_look() -> None:
    check = Checker("digit")

    assert [check(GOOD) for _ in range(3)] == ["the answer is of model digits, not digit"] * 3


def test_versions_that_answer_are_counted_in_the_sample() -> None:
    check = Checker("digits")
    for _ in range(3 * SAMPLE):
        check(GOOD)

    assert check.versions == {"3": 3}

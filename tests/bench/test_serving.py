"""bench.serving: what h2load says, which samples count, and when a goal is met."""

from pathlib import Path

import numpy as np
import pytest

from bench import serving_model as model
from bench.serving_calls import Counts
from bench.serving_client import Seen
from bench.serving_h2load import Point, Told, right, told
from bench.serving_report import Goal
from twofold.oip import inference_pb2 as pb
from twofold.store import LocalStore

_SAID = """
finished in 2.01s, 4720.50 req/s, 1.41MB/s
requests: 9441 total, 9457 started, 9441 done, 9441 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 9441 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.81MB (2948664) total, 93.81KB (96058) headers (space savings 90.58%), 2.56MB (500) data
                     min         max         mean         sd        +/- sd
time for request:      131us     26.65ms      3.36ms      2.73ms    83.75%
"""
_POINT = Point(4, 4)


def test_reads_what_h2load_says() -> None:
    found = told("it", _SAID, 2)
    assert (found.answers, found.mean_ms, found.body_bytes) == (9441, 3.36, 500)


def test_refuses_what_h2load_counts_as_failures() -> None:
    with pytest.raises(SystemExit, match="it: h2load had failures"):
        told("it", _SAID.replace("0 failed", "1 failed"), 2)
    with pytest.raises(SystemExit, match="it: h2load had failures"):
        told("it", _SAID.replace("9441", "0"), 2)


def _told(answers: int, body_bytes: int) -> Told:
    return told("it", _SAID.replace("9441", str(answers)).replace("(500)", f"({body_bytes})"), 2)


@pytest.mark.parametrize(
    ("successes", "failures", "body_bytes", "is_right"),
    [
        (1000, 0, 100_000, True),
        (1016, 16, 100_000, True),  # what h2load left open
        (999, 0, 100_000, False),
        (1000, 17, 100_000, False),
        (2000, 0, 100_000, False),  # another's requests
        (1000, 0, 90_000, False),  # answers without bodies
    ],
)
def test_a_server_that_counts_must_have_counted_as_many_successes(
    successes: int, failures: int, body_bytes: int, *, is_right: bool
) -> None:
    counts = Counts(successes, failures, 0, 0)
    assert right(_told(1000, body_bytes), _POINT, 100, counts) is is_right


@pytest.mark.parametrize(
    ("body_bytes", "is_right"), [(100_000, True), (100_100, True), (99_900, False)]
)
def test_each_answer_of_another_must_have_a_body(body_bytes: int, *, is_right: bool) -> None:
    assert right(_told(1000, body_bytes), _POINT, 100, None) is is_right


def test_a_goal_is_met_by_the_median() -> None:
    assert Goal("rate", [1.0, 2.1, 9.0], 2.0).is_met
    assert not Goal("rate", [1.0, 1.9, 9.0], 2.0).is_met
    assert Goal("latency", [0.5, 0.7, 9.0], 0.75, is_most=True).is_met
    assert "MISSED" in Goal("latency", [0.8], 0.75, is_most=True, stretch=0.5).line()


def test_versions_answer_their_numbers(tmp_path: Path) -> None:
    spec, template = model.spec_and_net()
    store = LocalStore(tmp_path)
    assert model.put(store, (spec, template)) == 1
    assert model.put(store, (spec, model.constant(2, template))) == 2
    values = model.answer(spec, model.constant(2, template), {"x": model.row()})["value"]
    assert values.tolist() == [[2.0] * model.OUTPUTS]


def _message(version: int, value: float) -> bytes:
    raw = np.full(model.OUTPUTS, value, "<f4").tobytes()
    return pb.ModelInferResponse(
        model_version=str(version), raw_output_contents=[raw]
    ).SerializeToString()


def test_a_client_tells_mixed_answers_from_right_ones() -> None:
    seen = Seen()
    seen.take_in(0, _message(2, 2), 0)
    seen.take_in(0, _message(1, 1), 0)  # asked for before version 2 had answered
    assert not seen.mixed
    seen.take_in(0, _message(1, 1), 2)
    seen.take_in(0, _message(2, 1), 2)
    assert [text.partition(" ans")[0] for text in seen.mixed] == ["version 1 after 2", "version 2"]

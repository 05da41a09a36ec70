"""The bench of reloads, small: it measures, and tells what is wrong."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from bench import reloads
from bench.reloads import Answers, Figures
from twofold.oip import inference_pb2 as pb


def answer(version: int, value: float) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(model_version=str(version))
    response.outputs.add(name="value", datatype="FP32", shape=[1, 1])
    response.raw_output_contents.append(np.array([value], np.float32).tobytes())
    return response


def test_mixed_answers_and_steps_back_are_told() -> None:
    answers = Answers()
    assert answers.take_in(answer(2, 2.0), 0) == 2
    answers.take_in(answer(3, 2.0), 2)
    answers.take_in(answer(2, 2.0), 3)

    assert answers.mixed == ["version 3 answered {2.0}", "version 2 after 3"]
    assert (answers.count, answers.newest) == (3, 3)
    told = reloads.report(Figures([0.001], [0.003], [0.1], [0.01], {100: 100, 200: 102}), answers)
    assert told[0] == "answers 3, failed 0, mixed 2"
    assert "p99 during reloads / steady: 3.00" in told
    assert "growth since 100 reloads: +2.00 %" in told
    assert told[-1] == "  version 2 after 3"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_small_run_under_load_fails_nothing_and_mixes_nothing(tmp_path: Path) -> None:
    options = reloads.parsed(
        ["--reloads", "8", "--connections", "1", "--each", "2", "--steady-s", "0.2"]
    )
    figures, answers = asyncio.run(reloads.measure(options, tmp_path))

    assert (answers.failures, answers.mixed) == ([], [])
    assert (len(figures.reloads_s), len(figures.rollbacks_s)) == (8, 5)
    assert answers.count > len(figures.steady_s) > 0
    assert figures.resident[8] > 1 << 20

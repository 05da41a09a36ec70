"""What the bench of training says of figures; the figures themselves come from running it."""

from pathlib import Path

import numpy as np
import pytest

from bench import training, training_small, training_speed
from bench.training_own import STAGES, Run
from bench.training_small import Small
from bench.training_speed import OWN, Found, Options
from twofold.v1 import spec_pb2

OPTIONS = Options(2, 1000, 3, 0, 2, ("speed",), ("loop fp32", "Lightning"), None)


def found(fp32: float, bf16: float = 200.0, precision: str = "bf16") -> Found:
    made = Found(OPTIONS, versions={"torch 9"})
    for name in OWN:
        picked = precision if "bf16" in name else "fp32"
        choices = spec_pb2.Choices(threads=1, threads_reason="one core", precision=picked)
        speed = {"twofold fp32": fp32, "twofold bf16 compiled": bf16}.get(name, 50.0)
        run = Run(speed, speed, 9.0, 0.5, 980, choices)
        made.first[name], made.runs[name] = run, [run, run]
        made.speeds[name] = [speed, 2 * speed]
    made.speeds["loop fp32"] = [100.0, 200.0]
    made.speeds["Lightning"] = [20.0, 80.0]
    return made


def goal(text: str, pair: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {pair}"))


def test_ratios_are_those_of_the_rounds_not_of_the_medians() -> None:
    assert training_speed.ratios(found(96.0), "twofold fp32", "loop fp32") == [0.96, 0.96]
    assert training_speed.ratios(found(96.0), "twofold fp32", "Lightning") == [4.8, 2.4]


@pytest.mark.parametrize(("speed", "verdict"), [(96.0, "met"), (94.0, "MISSED")])
def test_a_goal_is_met_or_missed(speed: float, verdict: str) -> None:
    text = training_speed.report(found(speed))

    assert goal(text, "twofold fp32 / loop fp32").endswith(f"at least 0.95: {verdict} |")
    assert "| loop fp32 | 150 | 100 | 200 | 1.00 x |  |" in text
    assert "980 training rows" in text
    assert "torch 9" in text


def test_a_cpu_without_bf16_neither_meets_nor_misses_its_goal() -> None:
    line = goal(
        training_speed.report(found(100.0, 100.0, "fp32")), "twofold bf16 compiled / loop fp32"
    )

    assert line.endswith("at least 1.7: this CPU has no bf16 |")


def test_what_was_not_measured_is_said() -> None:
    some = found(100.0)
    del some.speeds["Lightning"]

    line = goal(training_speed.report(some), "twofold fp32 / Lightning")
    assert line == "| twofold fp32 / Lightning | not measured | | | at least 3.0 |"


@pytest.mark.parametrize(("total", "verdict"), [(249.0, "met"), (251.0, "MISSED")])
def test_what_the_service_adds_to_a_small_job_is_its_end_less_the_bare_loop(
    total: float, verdict: str
) -> None:
    stages = {**dict.fromkeys(STAGES, 5.0), "succeeded": total}

    text = training_small.report({"xor": Small([100.0, 100.0], [stages, stages])})

    over = total - 100
    assert text.splitlines()[-1].endswith(
        f"| {over:.0f} | {over:.0f} | {over:.0f} | at most 150: {verdict} |"
    )


def test_made_up_rows_are_the_same_for_everybody_and_of_two_classes(tmp_path: Path) -> None:
    training_speed.write_rows(tmp_path, 1000)
    x, y = training_speed.made_up(1000)

    assert np.array_equal(np.load(tmp_path / "x.npy"), x)
    assert np.array_equal(np.load(tmp_path / "y.npy"), y)
    assert np.bincount(y).tolist() == [500, 500]


def test_parts_are_chosen_in_their_own_order_and_others_refused() -> None:
    assert training.chosen("--only", "small,speed", training.PARTS) == ("speed", "small")
    with pytest.raises(SystemExit, match="--only: there is no 'fast'; there are speed, small"):
        training.chosen("--only", "fast", training.PARTS)

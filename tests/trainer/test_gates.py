import math
from collections.abc import Mapping

import pytest

from trainer import gates
from trainer.gates import Baseline, NotBlessed
from twofold.v1 import spec_pb2

FIGURES = {"accuracy": 0.9, "macro_f1": 0.8, "loss": 0.4, "rmse": 2.0, "r2": 0.5, "mae": 1.5}


def asked(metric: str, **fields: float | str) -> spec_pb2.Gates:
    return spec_pb2.Gates(metric=metric, **fields)  # pyright: ignore[reportArgumentType]


def test_a_spec_without_gates_lets_everything_pass() -> None:
    assert gates.decide(spec_pb2.Gates(), FIGURES, None) == []


@pytest.mark.parametrize(
    ("metric", "fields", "passes"),
    [
        ("accuracy", {"min_metric": 0.9}, True),
        ("accuracy", {"min_metric": 0.9000001}, False),
        ("r2", {"min_metric": -1.0}, True),
        ("loss", {"max_metric": 0.4}, True),
        ("rmse", {"max_metric": 1.99}, False),
    ],
)
def test_a_threshold_itself_is_good_enough(
    metric: str,
    fields: Mapping[str, float],
    passes: bool,  # noqa: FBT001
) -> None:
    if passes:
        (result,) = gates.decide(asked(metric, **fields), FIGURES, None)
        assert (result.metric, result.value) == (metric, FIGURES[metric])
        assert result.threshold in fields.values()
        return
    with pytest.raises(NotBlessed, match=f"{metric} {FIGURES[metric]:.6g}; needed is at "):
        gates.decide(asked(metric, **fields), FIGURES, None)


@pytest.mark.parametrize(
    ("metric", "theirs", "margin", "passes"),
    [
        ("accuracy", 0.9, 0.0, True),
        ("accuracy", 0.91, 0.0, False),
        ("accuracy", 0.91, 0.02, True),
        ("mae", 1.5, 0.0, True),
        ("mae", 1.4, 0.0, False),
        ("mae", 1.4, 0.1, True),
    ],
)
def test_not_worse_than_a_version(
    metric: str,
    theirs: float,
    margin: float,
    passes: bool,  # noqa: FBT001
) -> None:
    compared = Baseline(7, {metric: theirs})
    wanted = asked(metric, not_worse_than="production", margin=margin)
    if passes:
        (result,) = gates.decide(wanted, FIGURES, compared)
        assert result.baseline_version == 7
        return
    with pytest.raises(NotBlessed, match=f"version 7, production, has {theirs} on the same rows"):
        gates.decide(wanted, FIGURES, compared)


def test_without_a_version_to_compare_with_the_first_result_passes() -> None:
    (result,) = gates.decide(asked("accuracy", not_worse_than="production"), FIGURES, None)

    assert result.baseline_version == 0
    assert "production names no version" in result.message


def test_a_figure_that_is_no_number_never_passes() -> None:
    with pytest.raises(NotBlessed):
        gates.decide(asked("accuracy", min_metric=-1.0), {"accuracy": math.nan}, None)


def test_both_gates_are_told() -> None:
    wanted = asked("accuracy", min_metric=0.5, not_worse_than="best")

    results = gates.decide(wanted, FIGURES, Baseline(2, {"accuracy": 0.7}))

    assert [result.threshold for result in results] == [0.5, 0.7]


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_any_number_is_better_than_that_of_a_version_that_answers_none(metric: str) -> None:
    wanted = asked(metric, not_worse_than="production")
    broken = Baseline(7, {metric: math.nan})

    (result,) = gates.decide(wanted, FIGURES, broken)

    assert (result.value, result.baseline_version) == (FIGURES[metric], 7)
    assert "version 7, production, has nan on the same rows" in result.message
    with pytest.raises(NotBlessed, match="needed is a number"):
        gates.decide(wanted, {metric: math.nan}, broken)

"""Which curves there are, and which were asked for."""

import pytest

from twofold.cli.curves import Chart, Curve, charts, logarithmic
from twofold.errors import InvalidField
from twofold.series import MetricPoint


def point(epoch: int, **figures: float) -> MetricPoint:
    held_out = figures.pop("validation_loss", None)
    rate = figures.pop("learning_rate", None)
    return MetricPoint(
        epoch=epoch,
        step=epoch,
        time_s=0,
        loss=1 / epoch,
        validation_loss=held_out,
        metrics=figures,
        learning_rate=rate,
    )


A = [point(1, validation_loss=2.0), point(2, validation_loss=3.0, accuracy=0.5)]
B = [point(1, learning_rate=0.1), point(4)]


def test_loss_is_both_losses_of_every_job() -> None:
    (chart,) = charts({"a": A, "b": B}, ["loss"])

    assert chart == Chart(
        "loss",
        (
            Curve("a training loss", (1, 2), (1.0, 0.5)),
            Curve("a validation loss", (1, 2), (2.0, 3.0)),
            Curve("b training loss", (1, 4), (1.0, 0.25)),
        ),
    )


@pytest.mark.parametrize(
    ("metric", "curve"),
    [
        ("training_loss", Curve("a training loss", (1, 2), (1.0, 0.5))),
        ("validation_loss", Curve("a validation loss", (1, 2), (2.0, 3.0))),
        ("accuracy", Curve("a accuracy", (2,), (0.5,))),
        ("learning_rate", Curve("b learning rate", (1,), (0.1,))),
    ],
)
def test_a_metric_has_the_epochs_that_know_it(metric: str, curve: Curve) -> None:
    (chart,) = charts({"a": A, "b": B}, [metric])

    assert curve in chart.curves


def test_each_metric_has_a_chart_of_its_own_once() -> None:
    found = charts({"a": A}, ["loss", "accuracy", "loss"])

    assert [chart.metric for chart in found] == ["loss", "accuracy"]


def test_an_unknown_metric_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidField) as caught:
        charts({"a": A, "b": B}, ["loss", "acuracy"])

    assert caught.value.message == (
        "--metric is acuracy; allowed: loss, learning_rate, training_loss, validation_loss, "
        "accuracy"
    )


def test_a_job_without_epochs_says_so() -> None:
    with pytest.raises(InvalidField, match="nothing yet: no epoch has ended"):
        charts({"a": []}, ["loss"])


def test_logarithms_leave_out_what_has_none() -> None:
    chart = Chart("m", (Curve("a", (1, 2, 3), (100.0, 0.0, 0.1)), Curve("b", (1,), (-1.0,))))

    assert logarithmic(chart) == Chart("m", (Curve("a", (1, 3), (2.0, -1.0)),))
    with pytest.raises(InvalidField, match="--log is m; allowed: a metric with values above 0"):
        logarithmic(Chart("m", chart.curves[1:]))

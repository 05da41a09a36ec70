"""Metric series as curves: which there are, and which were asked for. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twofold.errors import InvalidField
from twofold.series import MetricPoint

#: What a series has beside its metrics.
_OWN = ("learning_rate", "rows_per_second", "training_loss", "validation_loss")
#: Stands for both losses, in one chart.
LOSS = "loss"
_LOSSES = ("training_loss", "validation_loss")


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart; epochs rise, values are finite."""

    label: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One pair of axes."""

    metric: str
    curves: tuple[Curve, ...]


def charts(series: Mapping[str, Sequence[MetricPoint]], metrics: Sequence[str]) -> list[Chart]:
    """A chart per metric, with a curve for every job that has it.

    Args:
        series: points by what the job is called.
        metrics: "loss" (training and validation), "training_loss", "validation_loss",
            "learning_rate", "rows_per_second", or one of the points' metrics.

    Raises:
        InvalidField: no job has a metric; names those that there are.
    """
    return [_chart(series, metric) for metric in dict.fromkeys(metrics)]


def _chart(series: Mapping[str, Sequence[MetricPoint]], metric: str) -> Chart:
    parts = _LOSSES if metric == LOSS else (metric,)
    found = [
        curve
        for name, points in series.items()
        for part in parts
        if (curve := _curve(f"{name} {part.replace('_', ' ')}", points, part)).epochs
    ]
    if not found:
        known = ", ".join(_known(series)) or "nothing yet: no epoch has ended"
        raise InvalidField.of("--metric", metric, known)
    return Chart(metric, tuple(found))


def _curve(label: str, points: Sequence[MetricPoint], metric: str) -> Curve:
    pairs = [(one.epoch, value) for one in points if (value := _value(one, metric)) is not None]
    return Curve(label, tuple(epoch for epoch, _ in pairs), tuple(value for _, value in pairs))


def _value(point: MetricPoint, metric: str) -> float | None:
    own = {
        "training_loss": point.loss,
        "validation_loss": point.validation_loss,
        "learning_rate": point.learning_rate,
        "rows_per_second": point.rows_per_second,
    }
    return own[metric] if metric in own else point.metrics.get(metric)


def _known(series: Mapping[str, Sequence[MetricPoint]]) -> list[str]:
    points = [point for found in series.values() for point in found]
    own = [name for name in _OWN if any(_value(point, name) is not None for point in points)]
    if not own:
        return []
    return [LOSS, *own, *sorted({name for point in points for name in point.metrics})]


def logarithmic(chart: Chart) -> Chart:
    """The chart with the decimal logarithms of its values; those up to 0 have none.

    Raises InvalidField where nothing is left.
    """
    kept: list[Curve] = []
    for curve in chart.curves:
        pairs = list(zip(curve.epochs, curve.values, strict=True))
        above = [(epoch, math.log10(value)) for epoch, value in pairs if value > 0]
        epochs, values = (tuple(part) for part in zip(*above, strict=True)) if above else ((), ())
        kept.append(Curve(curve.label, epochs, values))
    shown = tuple(curve for curve in kept if curve.epochs)
    if not shown:
        raise InvalidField.of("--log", chart.metric, "a metric with values above 0")
    return Chart(chart.metric, shown)

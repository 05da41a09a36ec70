"""Whether a trained model is good enough to be published: figures in, results or a refusal out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from twofold.spec_gates import METRICS
from twofold.v1 import model_pb2, spec_pb2


class NotBlessed(Exception):
    """A gate refused the model; the text says which, with the figures."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The version to compare with, and its metrics on the rows that the new model is judged by."""

    version: int
    metrics: Mapping[str, float]


def decide(
    gates: spec_pb2.Gates, metrics: Mapping[str, float], baseline: Baseline | None
) -> list[model_pb2.GateResult]:
    """What every gate of a completed spec saw.

    Args:
        gates: of a completed spec; without any, the answer is empty.
        metrics: of the trained model.
        baseline: None where `gates.not_worse_than` names no version, which every result passes.

    Raises:
        NotBlessed: a gate refuses the model.
    """
    results: list[model_pb2.GateResult] = []
    if gates.HasField("min_metric"):
        results.append(_fixed(gates, metrics, "gates.min_metric", gates.min_metric))
    if gates.HasField("max_metric"):
        results.append(_fixed(gates, metrics, "gates.max_metric", gates.max_metric))
    if gates.not_worse_than:
        results.append(_compared(gates, metrics, baseline))
    return results


def _fixed(
    gates: spec_pb2.Gates, metrics: Mapping[str, float], field: str, threshold: float
) -> model_pb2.GateResult:
    result = _result(gates, metrics, threshold)
    relation = "at least" if METRICS[gates.metric].higher_is_better else "at most"
    return _judged(result, f"{relation} {threshold:.6g} ({field})")


def _compared(
    gates: spec_pb2.Gates, metrics: Mapping[str, float], baseline: Baseline | None
) -> model_pb2.GateResult:
    if baseline is None:
        value = metrics[gates.metric]
        text = (
            f"{gates.metric} {value:.6g}; {gates.not_worse_than} names no version to compare with"
        )
        return model_pb2.GateResult(metric=gates.metric, value=value, message=text)
    theirs = baseline.metrics[gates.metric]
    if math.isnan(theirs):
        return _beside_none(gates, metrics[gates.metric], baseline)
    higher = METRICS[gates.metric].higher_is_better
    threshold = theirs - gates.margin if higher else theirs + gates.margin
    result = _result(gates, metrics, threshold)
    result.baseline_version = baseline.version
    margin = f" and a margin of {gates.margin:.6g}" if gates.margin else ""
    relation = "at least" if higher else "at most"
    who = f"version {baseline.version}, {gates.not_worse_than}, has {theirs:.6g} on the same rows"
    return _judged(result, f"{relation} {threshold:.6g} ({who}{margin})")


def _beside_none(gates: spec_pb2.Gates, value: float, baseline: Baseline) -> model_pb2.GateResult:
    """Of a version that answers what is no number: any number is better."""
    who = f"version {baseline.version}, {gates.not_worse_than}, has nan on the same rows"
    if not math.isfinite(value):
        raise NotBlessed(f"not published: {gates.metric} {value:.6g}; needed is a number ({who})")
    return model_pb2.GateResult(
        metric=gates.metric,
        value=value,
        baseline_version=baseline.version,
        message=f"{gates.metric} {value:.6g}; {who}, which is worse than any number",
    )


def _result(
    gates: spec_pb2.Gates, metrics: Mapping[str, float], threshold: float
) -> model_pb2.GateResult:
    return model_pb2.GateResult(
        metric=gates.metric, value=metrics[gates.metric], threshold=threshold
    )


def _judged(result: model_pb2.GateResult, needed: str) -> model_pb2.GateResult:
    higher = METRICS[result.metric].higher_is_better
    passes = result.value >= result.threshold if higher else result.value <= result.threshold
    text = f"{result.metric} {result.value:.6g}; needed is {needed}"
    if not passes:  # also where a figure is not a number
        raise NotBlessed(f"not published: {text}")
    result.message = text
    return result

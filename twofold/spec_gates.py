"""The gates of a spec, made complete or refused: what metrics there are, which way is better."""

from collections.abc import Mapping
from dataclasses import dataclass

from twofold import names
from twofold.errors import InvalidField
from twofold.v1 import spec_pb2


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that gates can look at."""

    higher_is_better: bool
    #: The tasks that have it; none: every one.
    tasks: tuple[spec_pb2.Task, ...]
    #: Whether two networks' values can be compared.
    is_comparable: bool = True


_REGRESSION, _MULTILABEL = (spec_pb2.TASK_REGRESSION,), (spec_pb2.TASK_MULTILABEL,)
_LABELLED = (spec_pb2.TASK_CLASSIFICATION, spec_pb2.TASK_MULTILABEL)
METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(higher_is_better=True, tasks=_LABELLED),
    "macro_f1": Metric(higher_is_better=True, tasks=_LABELLED),
    "hamming_loss": Metric(higher_is_better=False, tasks=_MULTILABEL),
    "r2": Metric(higher_is_better=True, tasks=_REGRESSION),
    "rmse": Metric(higher_is_better=False, tasks=_REGRESSION),
    "mae": Metric(higher_is_better=False, tasks=_REGRESSION),
    "loss": Metric(higher_is_better=False, tasks=(), is_comparable=False),
}


def complete(spec: spec_pb2.TrainingSpec, *, is_judged: bool = True) -> None:
    """Fills in the metric and the margin where there are gates; the task must be known.

    Args:
        spec: complete but for its gates.
        is_judged: whether the network has metrics of its task; the loss it always has.

    Raises InvalidField for what no result could pass or what says nothing.
    """
    gates = spec.gates
    if not spec.HasField("gates"):
        return
    possible = [
        name
        for name, one in METRICS.items()
        if not one.tasks or (is_judged and spec.data.task in one.tasks)
    ]
    gates.metric = gates.metric or possible[0]
    if gates.metric not in possible:
        raise InvalidField.of("gates.metric", gates.metric, ", ".join(possible))
    metric = METRICS[gates.metric]
    wrong = "max_metric" if metric.higher_is_better else "min_metric"
    if gates.HasField(wrong):
        right = "min_metric" if metric.higher_is_better else "max_metric"
        allowed = f"nothing: of {gates.metric}, " + _words(metric) + f", give gates.{right}"
        shown = gates.max_metric if metric.higher_is_better else gates.min_metric
        raise InvalidField.of(f"gates.{wrong}", shown, allowed)
    if gates.not_worse_than:
        _check_baseline(gates.not_worse_than)
        if not metric.is_comparable:
            others = [name for name in possible if METRICS[name].is_comparable]
            allowed = (" or ".join(others) or "nothing") + " with gates.not_worse_than"
            raise InvalidField.of("gates.metric", gates.metric, allowed)
        if not gates.HasField("margin"):
            gates.margin = 0.0
    elif gates.HasField("margin"):
        raise InvalidField.of("gates.margin", gates.margin, "nothing without gates.not_worse_than")


def _words(metric: Metric) -> str:
    return f"where {'more' if metric.higher_is_better else 'less'} is better"


def _check_baseline(name: str) -> None:
    if name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 19:  # noqa: PLR2004 - 63 bits
        return
    names.check_alias("gates.not_worse_than", name)

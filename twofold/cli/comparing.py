"""Jobs and versions side by side: what differs, and which is the best. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twofold import toml_spec
from twofold.cli import render
from twofold.manifest import sha256_hex
from twofold.series import MetricPoint
from twofold.spec_gates import METRICS
from twofold.toml_spec import Value
from twofold.v1 import graph_pb2, model_pb2, spec_pb2, training_pb2

#: What decides what is predicted; figures of different targets cannot be compared.
_TARGETS = ("data.target", "data.targets", "data.task")
#: What decides which rows a job is measured on; nor can those of different rows.
_ROWS = (
    "data.dataset",
    "data.validation_fraction",
    "data.split",
    "training.seed",
)
#: What decides what a loss means.
_LOSS = (
    "data.weight",
    "training.loss",
    "training.loss_graph",
    "training.label_smoothing",
    "training.focal_gamma",
    "training.huber_delta",
    "training.quantile",
    "training.class_weights",
    "training.balance_classes",
)
#: Keys of a spec that stand among the facts anyway.
_FACTS = ("format_version", "data.dataset")


@dataclass(frozen=True, slots=True)
class Subject:
    """A job, the version it published, or both; the other is None where it is gone."""

    job: training_pb2.TrainingJob | None
    version: model_pb2.ModelVersion | None
    #: The job's metric series.
    points: Sequence[MetricPoint] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one subject; None and empty: it is not."""

    job: str = ""
    version: str = ""
    state: str = ""
    dataset: str = ""
    training_rows: int | None = None
    held_out_rows: int | None = None
    choices: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    #: Of the published epoch, else of the last one.
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    training_loss: float | None = None
    epochs: int | None = None
    published_epoch: int | None = None
    duration_s: float | None = None
    rows_per_second: float | None = None
    #: The completed spec's leaves by their dotted path; None where the job is gone.
    spec: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Subjects side by side, in the order asked for."""

    subjects: tuple[Facts, ...]
    #: Keys that differ between specs -> their values; None where a spec lacks the key.
    differences: Mapping[str, "tuple[Value | None, ...]"]
    #: Metrics -> indices of the best subjects; without those that cannot be compared.
    best: Mapping[str, tuple[int, ...]]
    #: Why nothing is marked as best, or the loss is not; empty: all is.
    note: str


def compare(subjects: Sequence[Subject]) -> Comparison:
    """What `subjects`, two or more, differ in."""
    facts = tuple(map(facts_of, subjects))
    specs = [one.spec for one in facts]
    names = sorted({name for one in facts for name in one.metrics})
    fair, note = _fair(names, specs)
    best = {name: found for name in fair if (found := _best(name, facts))}
    return Comparison(facts, _differences(specs), best, note)


def facts_of(subject: Subject) -> Facts:
    """What is known of a subject."""
    job, version = subject.job, subject.version
    manifest = model_pb2.Manifest() if version is None else version.manifest
    lineage = manifest.lineage
    progress = training_pb2.Progress() if job is None else job.progress
    shown = "" if version is None else render.version_of(version.name)
    asked = lineage.job if job is None else job.name
    return Facts(
        job=asked.removeprefix("jobs/"),
        version=shown or ("" if job is None else render.version_of(job.model_version)),
        state=_state(job, version),
        dataset=lineage.dataset.removeprefix("datasets/") or _dataset(job),
        training_rows=None if version is None else lineage.training_row_count,
        held_out_rows=None if version is None else lineage.validation_row_count,
        choices=_choices(
            lineage.choices if version is not None else progress.choices,
            is_trained=_is_trained(job, version),
        ),
        metrics=_metrics(version, progress),
        training_loss=subject.points[-1].loss if subject.points else None,
        epochs=None if job is None or not job.HasField("progress") else progress.epoch,
        published_epoch=None if version is None else lineage.epoch,
        duration_s=_duration(job),
        rows_per_second=_speed(subject.points),
        spec=None if job is None else leaves(job.spec),
    )


def leaves(spec: spec_pb2.TrainingSpec) -> dict[str, Value]:
    """A spec's values by their dotted paths; a graph stands as the digest of its bytes."""
    found = _leaves(toml_spec.to_dict(spec), "")
    if spec.network.HasField("graph"):
        found["network.graph"] = _digest(spec.network.graph)
    if spec.training.HasField("loss_graph"):
        found["training.loss_graph"] = _digest(spec.training.loss_graph)
    return found


def _digest(graph: graph_pb2.Graph) -> str:
    return sha256_hex(graph.SerializeToString(deterministic=True))


def _leaves(tree: Mapping[str, Value], path: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in tree.items():
        below = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            found |= _leaves(value, below)
        else:
            found[below] = value
    return found


def _state(job: training_pb2.TrainingJob | None, version: model_pb2.ModelVersion | None) -> str:
    if version is not None and version.withdrawn:
        return "WITHDRAWN"
    if job is None:
        return ""
    reason = render.reason(job)
    return f"{render.state(job)} ({reason})" if reason else render.state(job)


def _dataset(job: training_pb2.TrainingJob | None) -> str:
    return "" if job is None else job.spec.data.dataset


def _is_trained(
    job: training_pb2.TrainingJob | None, version: model_pb2.ModelVersion | None
) -> bool:
    """False where weights are published as they came."""
    if version is not None:
        return version.manifest.lineage.epoch > 0
    return job is not None and job.spec.training.epochs > 0


def _choices(choices: spec_pb2.Choices, *, is_trained: bool) -> dict[str, str | int]:
    if not choices.device:
        return {}
    measured: dict[str, str | int] = {"device": choices.device, "precision": choices.precision}
    if not is_trained:
        return measured
    return measured | {
        "execution": choices.execution,
        "optimizer": choices.optimizer,
        "batch_size": choices.batch_size,
    }


def _metrics(
    version: model_pb2.ModelVersion | None, progress: training_pb2.Progress
) -> dict[str, float]:
    if version is not None:
        return dict(version.manifest.metrics)
    if not progress.metrics:
        return {}
    is_held_out = progress.HasField("validation_loss")
    loss = progress.validation_loss if is_held_out else progress.loss
    return {"loss": loss, **progress.metrics}


def _duration(job: training_pb2.TrainingJob | None) -> float | None:
    if job is None or not job.start_time.seconds or not job.end_time.seconds:
        return None
    return (job.end_time.ToMilliseconds() - job.start_time.ToMilliseconds()) / 1000


def _speed(points: Sequence[MetricPoint]) -> float | None:
    """The median over epochs: the first one also warms up."""
    known = [one.rows_per_second for one in points if one.rows_per_second is not None]
    return statistics.median(known) if known else None


def _differences(
    specs: Sequence[Mapping[str, Value] | None],
) -> dict[str, "tuple[Value | None, ...]"]:
    known = [spec for spec in specs if spec is not None]
    keys = dict.fromkeys(key for spec in known for key in spec if key not in _FACTS)
    return {
        key: tuple(None if spec is None else spec.get(key) for spec in specs)
        for key in keys
        if _differs(key, known)
    }


def _differs(key: str, specs: Sequence[Mapping[str, Value]]) -> bool:
    """Whether specs have other values of a key, or below it."""
    first, *others = (
        {path: value for path, value in spec.items() if f"{path}.".startswith(f"{key}.")}
        for spec in specs
    )
    return any(other != first for other in others)


def _fair(
    names: Sequence[str], specs: Sequence[Mapping[str, Value] | None]
) -> tuple[Sequence[str], str]:
    """The metrics that can be compared, and why others cannot."""
    none = "no metric is marked as the best"
    known = [spec for spec in specs if spec is not None]
    if len(known) < len(specs):
        return (), f"{none}: a job is gone, and with it which rows it held out"
    for key in _TARGETS:
        if _differs(key, known):
            return (), f"{none}: {key} differs, so they are of other targets"
    is_split = any(spec.get("data.validation_fraction") for spec in known)
    for key in _ROWS:
        if _differs(key, known) and (is_split or key != "training.seed"):
            return (), f"{none}: {key} differs, so they are of other rows"
    for key in _LOSS:
        if _differs(key, known):
            fair = [name for name in names if name != "loss"]
            return fair, f"no loss is marked as the best: {key} differs"
    return names, ""


def _best(name: str, facts: Sequence[Facts]) -> tuple[int, ...]:
    """Indices of the best values of a metric; none where all are equal, or no way is known."""
    values = {index: one.metrics[name] for index, one in enumerate(facts) if name in one.metrics}
    metric = METRICS.get(name.partition(".")[0])  # that of one target: r2.price
    if metric is None or len(set(values.values())) < 2:  # noqa: PLR2004 - one is no choice
        return ()
    pick = max if metric.higher_is_better else min
    best = pick(values.values())
    return tuple(index for index, value in values.items() if value == best)

"""Every field of a TrainingSpec: what it may be, and what it is when it is left out.

The one table of ranges and defaults: `check` and `fill` act on it, documentation is made from it,
and a test compares its paths with the message's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from twofold.errors import InvalidField
from twofold.v1 import spec_pb2

#: Most labels of a classification, and most values of a column that is taken for labels.
MAX_LABELS = 1000
#: Distinct values are counted up to this, so a category column must have fewer.
DISTINCT_LIMIT = 10_000
#: Most feature columns.
MAX_FEATURES = 65_536
_DAY_S = 86_400
_NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its kind, its range, its default and what it means."""

    kind: Literal["text", "integer", "real", "boolean", "duration", "choice"]
    doc: str
    low: float = 0
    high: float = 0
    #: Whether `low` or `high` itself is refused.
    is_low_open: bool = False
    is_high_open: bool = False
    #: The default, where it is the same for every spec; durations in seconds.
    default: float | None = None
    #: The default in words, where it is not.
    default_rule: str = ""
    #: Most entries, for a list.
    entries: int = 0

    def allowed(self) -> str:
        """The range in words; empty for text and choices, which are checked by meaning."""
        if self.kind not in ("integer", "real", "duration"):
            return ""
        unit = " seconds" if self.kind == "duration" else ""
        opening = "(" if self.is_low_open else "["
        closing = ")" if self.is_high_open else "]"
        kind = "whole number" if self.kind == "integer" else "number"
        return f"{kind} in {opening}{_plain(self.low)}, {_plain(self.high)}{closing}{unit}"

    def default_text(self) -> str:
        """The default in words."""
        if self.default is None:
            return self.default_rule
        if self.kind == "boolean":
            return str(self.default).lower()
        return _plain(self.default)

    def accepts(self, number: float) -> bool:
        """Whether a number lies in the range."""
        above = number > self.low if self.is_low_open else number >= self.low
        below = number < self.high if self.is_high_open else number <= self.high
        return above and below


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.16g}"


def _required(kind: Literal["text", "choice"], doc: str) -> Field:
    return Field(kind, doc, default_rule="required")


#: Every leaf of TrainingSpec, by its dotted path.
FIELDS: Mapping[str, Field] = {
    "format_version": Field("integer", "Version of the spec's format.", 0, 1, default_rule="1"),
    "model": _required("text", "Name of the model to publish."),
    "data.dataset": _required("text", "Identifier of a data set, or and, or, xor."),
    "data.target": Field(
        "text",
        "Column to predict.",
        default_rule="the column target or label, in this order, else the last one",
    ),
    "data.features": Field(
        "text",
        "Feature columns, in order.",
        entries=MAX_FEATURES,
        default_rule="every column but the target",
    ),
    "data.task": Field(
        "choice",
        "What the target is.",
        default_rule="the family's where it does one alone; else classification for text, boolean "
        f"and integer columns of at most {MAX_LABELS:,} values, else regression",
    ),
    "data.validation_fraction": Field(
        "real",
        "Fraction of rows held out for validation.",
        0,
        0.9,
        default_rule="0.2; 0 for tables of fewer than 20 rows",
    ),
    "data.split": Field(
        "choice",
        "How the held-out rows are chosen.",
        default_rule="stratified for classification, else random",
    ),
    "data.standardize": Field(
        "boolean",
        "Whether numeric features are scaled to mean 0 and deviation 1.",
        default_rule="true; false for the truth tables",
    ),
    "network.family": _required("choice", "What is trained."),
    "network.hidden": Field(
        "integer",
        "MLP only: widths of the hidden layers.",
        1,
        65_536,
        entries=64,
        default_rule="[64]",
    ),
    "network.activation": Field(
        "choice",
        "NEURON and MLP only: the activation; STEP for NEURON only.",
        default_rule="sigmoid for a neuron, relu for an MLP",
    ),
    "network.dropout": Field(
        "real", "MLP only: dropout after each hidden activation.", 0, 0.95, default=0.0
    ),
    "training.epochs": Field("integer", "Passes over the training rows.", 1, 10**6, default=100),
    "training.batch_size": Field(
        "integer", "Rows per step; at most the training rows.", 1, 1 << 24, default=1024
    ),
    "training.loss": Field("choice", "The loss.", default_rule="the family's"),
    "training.optimizer": Field(
        "choice", "The optimizer.", default_rule="adam; sgd for the perceptron rule"
    ),
    "training.learning_rate": Field(
        "real",
        "Learning rate.",
        0,
        1000,
        is_low_open=True,
        default_rule="0.001 for adam and adamw, 0.1 for sgd, 1 for sgd with the perceptron rule",
    ),
    "training.weight_decay": Field(
        "real", "L2 penalty, or decoupled decay (adamw).", 0, 10, default_rule="0; 0.01 for adamw"
    ),
    "training.momentum": Field(
        "real", "SGD only: momentum.", 0, 1, is_high_open=True, default_rule="0"
    ),
    "training.nesterov": Field(
        "boolean", "SGD only: Nesterov momentum; needs momentum above 0.", default=False
    ),
    "training.seed": Field(
        "integer",
        "Seed of initial weights, split, shuffling and dropout.",
        0,
        (1 << 63) - 1,
        default=0,
    ),
    "training.tolerance": Field(
        "real",
        "Stop when the training loss changed by less over an epoch.",
        0,
        10**6,
        default_rule="never",
    ),
    "training.patience": Field(
        "integer",
        "Stop after this many epochs without a better loss.",
        1,
        10**6,
        default_rule="never",
    ),
    "training.threads": Field(
        "integer", "CPU threads.", 1, 256, default_rule="1 for small steps, else the worker's"
    ),
    "training.checkpoint_interval": Field(
        "duration", "Seconds between checkpoints.", 0, _DAY_S, default=10
    ),
    "limits.max_duration": Field(
        "duration", "Wall-clock bound of one attempt.", 1, 30 * _DAY_S, default=_DAY_S
    ),
    "limits.progress_timeout": Field(
        "duration", "Give up when no step ends for this long.", 1, _DAY_S, default=600
    ),
    "limits.max_retries": Field(
        "integer", "Repeats of an attempt whose failure may pass.", 0, 100, default=2
    ),
    "limits.retry_user_errors": Field(
        "boolean", "Whether DATA, OOM, DIVERGED and TIMEOUT are repeated too.", default=False
    ),
}


def check(spec: spec_pb2.TrainingSpec) -> None:
    """Raises InvalidField for the first field out of its range."""
    for path, field in FIELDS.items():
        message, name = _parent(spec, path)
        if not is_set(message, name):
            continue
        value = cast("object", getattr(message, name))  # a name of FIELDS
        if field.entries:
            _check_list(path, field, cast("Sequence[object]", value))
        else:
            _check_value(path, field, value)


def fill(spec: spec_pb2.TrainingSpec) -> None:
    """Sets every field that is left out and has a default of its own."""
    for path, field in FIELDS.items():
        message, name = _parent(spec, path)
        if field.default is None or is_set(message, name):
            continue
        if field.kind == "duration":
            cast("Duration", getattr(message, name)).FromSeconds(int(field.default))
        else:
            setattr(message, name, field.default)


def is_set(message: Message, name: str) -> bool:
    """Whether a field was given; one without presence counts as given unless it is zero."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.has_presence:
        return message.HasField(name)
    return bool(getattr(message, name))


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / _NANOS


def _parent(spec: spec_pb2.TrainingSpec, path: str) -> tuple[Message, str]:
    group, _, name = path.rpartition(".")
    parent = cast("Message", getattr(spec, group)) if group else spec  # a name of FIELDS
    return parent, name


def _check_list(path: str, field: Field, entries: Sequence[object]) -> None:
    if len(entries) > field.entries:
        allowed = f"at most {field.entries:,} entries"
        raise InvalidField.of(path, f"{len(entries):,} entries", allowed)
    for index, entry in enumerate(entries):
        _check_value(f"{path}[{index}]", field, entry)


def _check_value(path: str, field: Field, value: object) -> None:
    if isinstance(value, Duration):
        if abs(value.nanos) >= _NANOS or value.seconds * value.nanos < 0:
            shown = f"{value.seconds} s and {value.nanos} ns"
            raise InvalidField.of(path, shown, "seconds and nanoseconds of one sign, below 1 s")
        value = seconds(value)
    if field.allowed() and not field.accepts(cast("float", value)):
        raise InvalidField.of(path, value, field.allowed())


def documentation() -> Iterable[tuple[str, str, str, str]]:
    """Rows for people: path, range, default, meaning."""
    for path, field in FIELDS.items():
        yield path, field.allowed() or field.kind, field.default_text(), field.doc

"""Every field of a TrainingSpec: what it may be, and what it is when it is left out.

The one table of ranges and defaults: `check` and `fill` act on it, documentation is made from it,
and a test compares its paths with the message's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from twofold import training_fields
from twofold.errors import InvalidField
from twofold.field import DAY_S, MAX_LABELS, Field, required
from twofold.nets import catalogue_options
from twofold.v1 import spec_pb2

#: Distinct values are counted up to this, so a category column must have fewer.
DISTINCT_LIMIT = 10_000
#: Most entries of network.frozen.
MAX_FROZEN = 4_096
#: Most feature columns.
MAX_FEATURES = 65_536
_NANOS = 1_000_000_000
#: The catalogue's options that stand before what belongs to modules, as in NetworkSpec.
_FIRST_OPTIONS = ("hidden", "activation", "dropout")
_LATER_OPTIONS = [name for name in catalogue_options.OPTIONS if name not in _FIRST_OPTIONS]


#: Every leaf of TrainingSpec, by its dotted path.
FIELDS: Mapping[str, Field] = {
    "format_version": Field("integer", "Version of the spec's format.", 0, 1, default_rule="1"),
    "model": required("text", "Name of the model to publish."),
    "data.dataset": required("text", "Identifier of a data set, or and, or, xor."),
    "data.target": Field(
        "text",
        "Column to predict.",
        default_rule="the column target or label, in this order, else the last one",
    ),
    "data.features": Field(
        "text",
        "Feature columns, in order.",
        entries=MAX_FEATURES,
        default_rule="every column but targets and weight; of a module what its inputs need",
    ),
    "data.task": Field(
        "choice",
        "What the target is.",
        default_rule="the family's where it does one alone; else classification for text, boolean "
        f"and integer columns of at most {MAX_LABELS:,} values, else regression; of several "
        "columns multilabel where all are boolean or 0 and 1, else regression",
    ),
    "data.validation_fraction": Field(
        "real",
        "Fraction of rows held out for validation.",
        0,
        0.9,
        default_rule="0.2; 0 for tables of fewer than 20 rows, and where epochs is 0",
    ),
    "data.split": Field(
        "choice",
        "How the held-out rows are chosen.",
        default_rule="stratified for classification, else random",
    ),
    "data.standardize": Field(
        "boolean",
        "Whether numeric features are scaled to mean 0 and deviation 1.",
        default_rule="true; false for the truth tables and modules",
    ),
    "data.targets": Field(
        "text",
        "Columns to predict together; not beside target.",
        entries=MAX_LABELS,
        default_rule="target alone",
    ),
    "data.weight": Field(
        "text",
        "Column that says how much each row counts in the loss; at least 0, not all 0.",
        default_rule="all rows count alike",
    ),
    "network.family": required("choice", "What is trained."),
    **{f"network.{name}": catalogue_options.field_of(name) for name in _FIRST_OPTIONS},
    "network.weights": Field(
        "text", "A module's first weights: a data set of safetensors.", default_rule="the client's"
    ),
    "network.warm_start": Field(
        "text", "Version to begin from, MODEL[@VERSION|@ALIAS].", default_rule="none"
    ),
    "network.frozen": Field(
        "text",
        "Paths of parameters that are not trained, or their beginnings up to a dot.",
        entries=MAX_FROZEN,
        default_rule="none",
    ),
    "network.head": Field(
        "choice",
        "How a module's outputs become answers: raw, identity, sigmoid, softmax or multilabel.",
        default_rule="what the loss implies; raw for several outputs or a loss of the user's",
    ),
    **{f"network.{name}": catalogue_options.field_of(name) for name in _LATER_OPTIONS},
    **training_fields.FIELDS,
    "limits.max_duration": Field(
        "duration", "Wall-clock bound of one attempt.", 1, 30 * DAY_S, default=DAY_S
    ),
    "limits.progress_timeout": Field(
        "duration", "Give up when no step ends for this long.", 1, DAY_S, default=600
    ),
    "limits.max_retries": Field(
        "integer", "Repeats of an attempt whose failure may pass.", 0, 100, default=2
    ),
    "limits.retry_user_errors": Field(
        "boolean", "Whether DATA, OOM, DIVERGED and TIMEOUT are repeated too.", default=False
    ),
    "gates.metric": Field(
        "text", "What the gates look at.", default_rule="accuracy; r2 for regression"
    ),
    "gates.min_metric": Field(
        "real", "Least accuracy, macro_f1 or r2.", -(10**6), 10**6, default_rule="any"
    ),
    "gates.max_metric": Field(
        "real", "Largest loss, rmse, mae or hamming_loss.", 0, 10**6, default_rule="any"
    ),
    "gates.not_worse_than": Field(
        "text",
        "Alias or number of the version to compare with; without such an alias all pass.",
        default_rule="none",
    ),
    "gates.margin": Field("real", "By how much it may be worse.", 0, 10**6, default_rule="0"),
}


def check(spec: spec_pb2.TrainingSpec) -> None:
    """Raises InvalidField for the first field out of its range."""
    for path, field in FIELDS.items():
        message, name = _parent(spec, path)
        if not is_set(message, name):
            continue
        value = cast("object", getattr(message, name))  # a name of FIELDS
        if field.entries:
            _check_entries(path, field, value)
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
    *groups, name = path.split(".")
    parent: Message = spec
    for group in groups:
        parent = cast("Message", getattr(parent, group))  # a name of FIELDS
    return parent, name


def _check_entries(path: str, field: Field, entries: object) -> None:
    """A list's values, or those of a map by its keys."""
    named = (
        [(f"{path}.{key}", entry) for key, entry in cast("Mapping[str, object]", entries).items()]
        if isinstance(entries, Mapping)
        else [
            (f"{path}[{index}]", entry)
            for index, entry in enumerate(cast("Sequence[object]", entries))
        ]
    )
    if len(named) > field.entries:
        allowed = f"at most {field.entries:,} entries"
        raise InvalidField.of(path, f"{len(named):,} entries", allowed)
    for name, entry in named:
        _check_value(name, field, entry)


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

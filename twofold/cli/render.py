"""Messages as text: tables, key-value lines and JSON. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from twofold.v1 import dataset_pb2, graph_pb2, training_pb2

_WIDE_INTEGERS = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
}


def one_line(text: str) -> str:
    """`text` with line breaks and control characters escaped: nothing can forge a line."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns under upper-case names."""
    lines = [[name.upper() for name in header]]
    lines += [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def pairs(entries: Mapping[str, object]) -> str:
    """One `key  value` line per entry that has a value."""
    shown = {key: one_line(str(value)) for key, value in entries.items() if value not in ("", None)}
    width = max(map(len, shown), default=0)
    return "\n".join(f"{key.ljust(width)}  {value}" for key, value in shown.items())


def to_json(value: Message | Iterable[Message], *, indent: int | None = 2) -> str:
    """A message or a list of them in JSON: names as in the protos, 64-bit integers as numbers."""
    if isinstance(value, Message):
        return json.dumps(plain(value), indent=indent, ensure_ascii=False)
    return json.dumps([plain(message) for message in value], indent=indent, ensure_ascii=False)


def plain(message: Message) -> dict[str, object]:
    """A message as dicts and lists; fields that are unset and optional are left out."""
    tree = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    # The stubs know two classes of descriptor, one per implementation; they are used alike.
    return _plain(cast("Descriptor", message.DESCRIPTOR), tree)


def _plain(descriptor: Descriptor, tree: Mapping[str, object]) -> dict[str, object]:
    return {
        name: _field(descriptor.fields_by_name[name], value)
        if name in descriptor.fields_by_name
        else value
        for name, value in tree.items()
    }


def _field(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, list):
        return [_field(field, item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return _table(field, cast("dict[str, object]", value))
    # protobuf's JSON has them as text, which no JSON tool can compare.
    return int(str(value)) if field.type in _WIDE_INTEGERS else value


def _table(field: FieldDescriptor, table: Mapping[str, object]) -> dict[str, object]:
    kind = cast("Descriptor", field.message_type)  # a table is always of a message
    if kind.GetOptions().map_entry:
        item = kind.fields_by_name["value"]
        return {key: _field(item, entry) for key, entry in table.items()}
    return _plain(kind, table)


def state(job: training_pb2.TrainingJob) -> str:
    """A job's state in one word."""
    return training_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")


def phase(job: training_pb2.TrainingJob) -> str:
    """A job's phase in one word, empty where it has none."""
    return _word(training_pb2.JobPhase.Name(job.phase).removeprefix("JOB_PHASE_"))


def reason(job: training_pb2.TrainingJob) -> str:
    """Why a job ended, in one word, empty where it has no reason."""
    return _word(training_pb2.JobReason.Name(job.reason).removeprefix("JOB_REASON_"))


def epochs(progress: training_pb2.Progress) -> str:
    """Epochs done of those asked for; empty where none are: the weights are published as is."""
    return f"{progress.epoch}/{progress.epoch_count}" if progress.epoch_count else ""


def column_kind(column: dataset_pb2.Column) -> str:
    """What a column holds, in one word; of an array also its type and the shape of a row."""
    word = dataset_pb2.ColumnKind.Name(column.kind).removeprefix("COLUMN_KIND_").lower()
    if not column.shape:
        return word
    element = graph_pb2.DataType.Name(column.data_type).removeprefix("DATA_TYPE_")
    return f"{word} {element}{list(column.shape)}"


def dataset_format(dataset: dataset_pb2.Dataset) -> str:
    """A file's format in one word."""
    return dataset_pb2.DatasetFormat.Name(dataset.format).removeprefix("DATASET_FORMAT_").lower()


def _word(name: str) -> str:
    return "" if name == "UNSPECIFIED" else name


def version_of(name: str) -> str:
    """MODEL@VERSION of "models/{model}/versions/{version}"; empty for an empty name."""
    _, model, _, number = name.split("/") if name.count("/") == 3 else ("", "", "", "")  # noqa: PLR2004 - the name's form
    return f"{model}@{number}" if model else ""


def time(timestamp: Timestamp) -> str:
    """A time in UTC, to the second; empty where it is unset."""
    if not timestamp.seconds:
        return ""
    return timestamp.ToDatetime(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(size_bytes: int) -> str:
    """Bytes with a unit."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - what the units mean
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def figure(value: float) -> str:
    """A loss or a metric, short."""
    return f"{value:.4g}"


def metrics(values: Mapping[str, float]) -> str:
    """Metrics by name, short."""
    return " ".join(f"{name} {figure(value)}" for name, value in sorted(values.items()))

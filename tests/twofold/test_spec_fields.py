"""The table of fields: complete, and every range holds at its ends."""

import math
from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration

from twofold import spec_fields
from twofold.errors import InvalidField
from twofold.spec_fields import FIELDS, Field
from twofold.v1 import graph_pb2, spec_pb2


def _leaves(descriptor: Descriptor, prefix: str = "") -> Iterator[str]:
    for field in descriptor.fields:
        nested = field.message_type
        is_map = nested is not None and nested.GetOptions().map_entry
        if nested is None or is_map or nested.full_name == Duration.DESCRIPTOR.full_name:
            yield prefix + field.name
        elif nested.full_name != graph_pb2.Graph.DESCRIPTOR.full_name:  # nets.bounds has its ranges
            yield from _leaves(nested, f"{prefix}{field.name}.")


def test_every_leaf_of_the_spec_has_a_row() -> None:
    descriptor = cast("Descriptor", spec_pb2.TrainingSpec.DESCRIPTOR)  # the stub has two classes

    assert list(FIELDS) == list(_leaves(descriptor))


def test_every_row_documents_itself() -> None:
    rows = list(spec_fields.documentation())

    assert [row[0] for row in rows] == list(FIELDS)
    assert all(all(row) for row in rows)
    assert rows[list(FIELDS).index("training.learning_rate")][1] == "number in (0, 1,000]"
    assert rows[list(FIELDS).index("limits.max_duration")][1:3] == (
        "number in [1, 2,592,000] seconds",
        "86,400",
    )


def _with(path: str, value: float) -> spec_pb2.TrainingSpec:
    """A spec with this one field set."""
    spec, field = spec_pb2.TrainingSpec(), FIELDS[path]
    message, name = spec_fields._parent(spec, path)
    if isinstance(getattr(message, name), Mapping):
        getattr(message, name)["label"] = value
    elif field.entries:
        getattr(message, name).append(value)
    elif field.kind == "duration":
        getattr(message, name).FromNanoseconds(round(value * 1e9))
    else:
        setattr(message, name, value)
    return spec


def _ends() -> Iterator[tuple[str, float, bool]]:
    """Path, value, whether it is allowed: at the ends of every range and just beyond."""
    for path, field in FIELDS.items():
        if field.kind not in ("integer", "real", "duration") or path == "format_version":
            continue
        step: float = 1 if field.kind == "integer" else 1e-6
        yield path, field.low, not field.is_low_open
        yield path, field.high, not field.is_high_open
        yield path, field.low - step, False
        if field.high < (1 << 63) - 1:
            yield path, field.high + step, False


@pytest.mark.parametrize(("path", "value", "is_allowed"), list(_ends()))
def test_ranges_end_where_the_table_says(path: str, value: float, *, is_allowed: bool) -> None:
    spec = _with(path, value)
    given = spec_fields.is_set(*spec_fields._parent(spec, path))

    if is_allowed or not given:  # 0 of a field without presence means that it is left out
        spec_fields.check(spec)
        return
    with pytest.raises(InvalidField) as caught:
        spec_fields.check(spec)
    assert caught.value.fields["field"].removesuffix("[0]").removesuffix(".label") == path
    assert caught.value.fields["allowed"] == FIELDS[path].allowed()


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(InvalidField, match="format_version is 2"):
        spec_fields.check(spec_pb2.TrainingSpec(format_version=2))


def test_a_list_too_long_is_refused_by_its_length() -> None:
    spec = spec_pb2.TrainingSpec(network=spec_pb2.NetworkSpec(hidden=[8] * 65))

    with pytest.raises(InvalidField, match="65 entries; allowed: at most 64"):
        spec_fields.check(spec)


@pytest.mark.parametrize(("seconds", "nanos"), [(1, -1), (5, 1_000_000_000), (-5, 3)])
def test_a_duration_that_is_none_is_refused(seconds: int, nanos: int) -> None:
    spec = spec_pb2.TrainingSpec()
    spec.limits.max_duration.seconds = seconds
    spec.limits.max_duration.nanos = nanos

    with pytest.raises(InvalidField, match=r"limits\.max_duration"):
        spec_fields.check(spec)


def test_fill_sets_what_is_left_out_and_nothing_else() -> None:
    spec = spec_pb2.TrainingSpec(training=spec_pb2.TrainingOptions(epochs=7))
    spec.limits.max_duration.FromSeconds(60)

    spec_fields.fill(spec)

    assert spec.training.epochs == 7
    assert spec.training.batch_size == 1024
    assert spec.limits.max_duration.seconds == 60
    assert spec.limits.progress_timeout.seconds == 600
    assert spec.limits.max_retries == 2
    assert spec.training.checkpoint_interval.seconds == 10
    assert not spec.training.HasField("patience")


def test_default_texts_say_the_value_or_the_rule() -> None:
    assert FIELDS["training.epochs"].default_text() == "100"
    assert FIELDS["training.nesterov"].default_text() == "false"
    assert FIELDS["training.patience"].default_text() == "never"


def test_ranges_accept_no_nan() -> None:
    assert not Field("real", "", 0, 1).accepts(math.nan)

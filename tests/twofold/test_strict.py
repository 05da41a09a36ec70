"""Messages from outside: what protobuf lets through and we do not."""

import pytest

from twofold import strict
from twofold.errors import InvalidField
from twofold.v1 import graph_pb2, spec_pb2

#: Field 100 as varint 1: no message of ours has it.
UNKNOWN = bytes([0xA0, 0x06, 0x01])


def test_a_known_finite_message_passes() -> None:
    strict.check(
        spec_pb2.TrainingSpec(
            model="m", training=spec_pb2.TrainingOptions(learning_rate=0.1, epochs=3)
        )
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_refused(value: float) -> None:
    spec = spec_pb2.TrainingSpec(training=spec_pb2.TrainingOptions(learning_rate=value))

    with pytest.raises(InvalidField) as caught:
        strict.check(spec)

    assert caught.value.fields["field"] == "training.learning_rate"


def test_an_unknown_enum_number_is_refused_with_what_is_known() -> None:
    spec = spec_pb2.TrainingSpec()
    spec.training.MergeFromString(bytes([0x18, 99]))  # field 3, loss, as 99

    with pytest.raises(InvalidField, match=r"training\.loss is 99.*LOSS_MSE"):
        strict.check(spec)


@pytest.mark.parametrize(
    ("data", "place"), [(UNKNOWN, "TrainingSpec"), (bytes([0x1A, 3]) + UNKNOWN, "data")]
)
def test_unknown_fields_are_refused_at_any_depth(data: bytes, place: str) -> None:
    spec = spec_pb2.TrainingSpec.FromString(data)

    with pytest.raises(InvalidField) as caught:
        strict.check(spec)

    assert caught.value.fields["field"] == place
    assert "unknown field 100" in caught.value.message


def test_entries_of_lists_and_maps_are_looked_into() -> None:
    value = graph_pb2.Value(real=float("inf"))
    module = graph_pb2.Module(arguments={"alpha": value})
    graph = graph_pb2.Graph(modules=[graph_pb2.Module(path="a"), module])

    with pytest.raises(InvalidField) as caught:
        strict.check(graph, "graph")

    assert caught.value.fields["field"] == "graph.modules[1].arguments.alpha.real"

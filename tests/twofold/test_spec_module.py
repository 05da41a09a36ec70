"""A spec with a module of the user's: what is filled in and what is refused."""

import pytest

from tests.twofold.modules import network_of
from tests.twofold.specs import COLUMNS, DIGEST, completed
from twofold.errors import InvalidField
from twofold.nets import bounds
from twofold.spec import Bounds, complete
from twofold.v1 import graph_pb2, spec_pb2


def asked(outputs: int, target: str = "y", columns: int = 2) -> spec_pb2.TrainingSpec:
    spec = spec_pb2.TrainingSpec(model="m", network=network_of(columns, outputs))
    spec.data.dataset = DIGEST
    spec.data.target = target
    spec.data.features.extend(["real", "whole"])
    return spec


@pytest.mark.parametrize(
    ("outputs", "target", "loss", "head"),
    [
        (1, "y", spec_pb2.LOSS_BCE, graph_pb2.HEAD_SIGMOID),
        (2, "y", spec_pb2.LOSS_CROSS_ENTROPY, graph_pb2.HEAD_SOFTMAX),
        (3, "species", spec_pb2.LOSS_CROSS_ENTROPY, graph_pb2.HEAD_SOFTMAX),
        (1, "price", spec_pb2.LOSS_MSE, graph_pb2.HEAD_IDENTITY),
    ],
)
def test_loss_and_head_follow_from_the_outputs_and_the_target(
    outputs: int, target: str, loss: spec_pb2.Loss, head: graph_pb2.Head
) -> None:
    done = completed(asked(outputs, target))

    assert done.network.family == spec_pb2.FAMILY_MODULE
    assert (done.training.loss, done.network.head, done.network.graph.head) == (loss, head, head)
    assert not done.data.standardize
    assert completed(done) == done


def test_what_another_head_had_is_left_out() -> None:
    """Else the completed graph could neither be loaded nor completed again."""
    spec = asked(1)
    spec.network.graph.head = graph_pb2.HEAD_THRESHOLD
    spec.network.graph.head_threshold = 5.0

    done = completed(spec)

    bounds.check(done.network.graph)
    assert completed(done) == done


def test_outputs_may_be_served_as_they_are() -> None:
    spec = asked(2)
    spec.network.head = graph_pb2.HEAD_RAW

    assert completed(spec).network.graph.head == graph_pb2.HEAD_RAW


def test_another_loss_that_fits_may_be_asked_for() -> None:
    spec = asked(3, "species")
    spec.training.loss = spec_pb2.LOSS_FOCAL

    assert completed(spec).training.focal_gamma == 2.0


def refusal(spec: spec_pb2.TrainingSpec) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        completed(spec)
    return caught.value


def test_columns_and_labels_must_agree() -> None:
    error = refusal(asked(2, "species"))

    assert error.fields["field"] == "network.graph.outputs"
    assert "3: the target has 3 labels" in error.message


def test_what_belongs_to_families_is_refused() -> None:
    for name, value in (("hidden", [3]), ("dropout", 0.5)):
        spec = asked(2)
        if isinstance(value, list):
            spec.network.hidden.extend(value)
        else:
            spec.network.dropout = value
        assert refusal(spec).fields["field"] == f"network.{name}"
    spec = asked(2)
    spec.network.activation = spec_pb2.ACTIVATION_RELU
    assert refusal(spec).fields["field"] == "network.activation"
    spec = asked(2)
    spec.network.family = spec_pb2.FAMILY_MLP
    assert refusal(spec).fields["field"] == "network.family"
    # The family is told, not what belongs to it.
    spec.network.hidden[:] = [8]
    assert refusal(spec).fields["field"] == "network.family"
    spec = asked(2)
    spec.data.standardize = True
    assert refusal(spec).fields["field"] == "data.standardize"


def test_what_belongs_to_modules_is_refused_elsewhere() -> None:
    spec = asked(2)
    spec.network.ClearField("graph")
    spec.network.family = spec_pb2.FAMILY_MLP
    assert refusal(spec).fields["field"] == "network.weights"
    spec.network.ClearField("weights")
    spec.network.head = graph_pb2.HEAD_RAW
    assert refusal(spec).fields["field"] == "network.head"


def test_a_module_without_graph_or_weights_is_refused() -> None:
    spec = asked(2)
    spec.network.family = spec_pb2.FAMILY_MODULE
    spec.network.ClearField("graph")
    error = refusal(spec)
    assert error.fields["field"] == "network.graph"
    assert "--module FILE.py:CLASS" in error.message
    spec = asked(2)
    spec.network.weights = "../w"
    assert refusal(spec).fields["field"] == "network.weights"


def test_a_graph_that_is_wrong_is_refused_by_its_field() -> None:
    spec = asked(2)
    spec.network.graph.format_version = 99

    assert refusal(spec).fields["field"] == "network.graph.format_version"


def test_a_module_with_nothing_to_train_is_refused() -> None:
    spec = asked(1)
    graph = spec.network.graph
    graph.frozen.extend(bounds.state_shapes(graph))

    error = refusal(spec)

    assert error.fields["field"] == "training.epochs"
    assert "0: the network has no parameters to train, or only frozen ones" in error.message


def test_a_head_that_does_not_fit_the_loss_is_refused() -> None:
    spec = asked(2)
    spec.network.head = graph_pb2.HEAD_SIGMOID

    assert "softmax or raw for this loss" in refusal(spec).message


def test_size_counts_what_was_measured() -> None:
    bounds = Bounds(max_parameters=1_000, max_memory_bytes=1 << 20)
    spec = asked(2)
    assert complete(spec, COLUMNS, 100, bounds, row_elements=10)

    with pytest.raises(InvalidField, match=r"training\.batch_size is what needs about"):
        complete(spec, COLUMNS, 100, bounds, row_elements=10_000)
    with pytest.raises(InvalidField, match=r"network\.graph is what makes 22 parameters"):
        complete(spec, COLUMNS, 100, Bounds(21, 1 << 20), row_elements=10)


def test_an_output_without_rows_cannot_be_served() -> None:
    spec = asked(1, "price")
    del spec.network.graph.outputs[0].shape[:]
    error = refusal(spec)

    assert error.fields["field"] == "network.graph.outputs"
    assert "-1, the batch, as dimension 0" in error.message

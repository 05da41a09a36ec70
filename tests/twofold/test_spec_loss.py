"""A loss of the user's: what its graph must be, and of what it may be computed."""

from collections.abc import Callable

import pytest

from tests.twofold import losses
from tests.twofold.modules import network_of
from tests.twofold.specs import COLUMNS, completed, make_spec
from twofold import spec, spec_loss, toml_spec
from twofold.errors import InvalidField
from twofold.nets import tables
from twofold.v1 import graph_pb2, spec_pb2

Graph = graph_pb2.Graph
CUSTOM = spec_pb2.LOSS_CUSTOM


def asked(loss: Graph, **fields: object) -> spec_pb2.TrainingSpec:
    """A regression of price, unless `fields` say otherwise, by `loss`."""
    made = make_spec(**{"data__target": "price", **fields})
    made.training.loss_graph.CopyFrom(loss)
    return made


def own(outputs: int, loss: Graph, target: str = "price") -> spec_pb2.TrainingSpec:
    """A module of the user's by a loss of the user's."""
    made = asked(loss, data__target=target, data__features=["real", "whole"])
    made.network.CopyFrom(network_of(2, outputs))
    return made


def refusal(made: spec_pb2.TrainingSpec) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        completed(made)
    return caught.value


@pytest.mark.parametrize(
    ("loss", "fields"),
    [
        (losses.squared(), {}),
        (losses.squared(), {"network__family": spec_pb2.FAMILY_LINEAR}),
        (losses.squared(has_rows=False), {}),
        (losses.squared(2), {"data__target": "", "data__targets": ["price", "whole"]}),
        (losses.squared(2), {"data__target": "", "data__targets": ["flag", "same"]}),
        (losses.cross_entropy(3), {"data__target": "species"}),
        (
            losses.cross_entropy(2),
            {"data__target": "y", "network__family": spec_pb2.FAMILY_SOFTMAX},
        ),
    ],
)
def test_a_loss_of_families_is_custom_and_stays(loss: Graph, fields: dict[str, object]) -> None:
    done = completed(asked(loss, **fields))

    assert done.training.loss == CUSTOM
    assert done.training.loss_graph == loss
    assert completed(done) == done


def test_a_module_by_a_loss_of_the_users_answers_as_it_is_unless_a_head_is_named() -> None:
    made = own(1, losses.squared())
    assert completed(made).network.graph.head == graph_pb2.HEAD_RAW
    made.network.head = graph_pb2.HEAD_IDENTITY
    assert completed(made).network.graph.head == graph_pb2.HEAD_IDENTITY
    made.network.head = graph_pb2.HEAD_SOFTMAX
    assert "identity or raw for this loss" in refusal(made).message


def test_an_output_that_no_built_in_loss_takes_is_taken() -> None:
    """Three columns for one number: there are no metrics but the loss then."""
    made = own(3, losses.squared(3))
    assert refusal(made).fields["field"] == "training.loss_graph.inputs[1]"  # the target has one
    loss = losses.squared(3)
    loss.inputs[1].CopyFrom(losses.squared(1).inputs[1])
    made = own(3, loss)
    made.gates.max_metric = 5.0
    assert completed(made).gates.metric == "loss"
    made.gates.metric = "r2"
    assert refusal(made).fields["allowed"] == "loss"


def with_head(graph: Graph) -> None:
    graph.head = graph_pb2.HEAD_IDENTITY


def with_weight(graph: Graph) -> None:
    kind = graph_pb2.MODULE_KIND_LINEAR
    given = tables.arguments(kind, in_features=1, out_features=1)
    graph.modules.add(path="own", kind=kind, arguments=given)


def with_another_name(graph: Graph) -> None:
    graph.inputs[0].name = graph.nodes[0].input = "y"


def with_a_far_output(graph: Graph) -> None:
    graph.inputs[0].name = graph.nodes[0].input = "output_1"


def with_a_padded_number(graph: Graph) -> None:
    graph.inputs[0].name = graph.nodes[0].input = "output_00"


def with_whole_target(graph: Graph) -> None:
    graph.inputs[1].data_type = graph_pb2.DATA_TYPE_INT64


def with_a_matrix(graph: Graph) -> None:
    graph.outputs[0].shape.append(3)


def with_a_newer_format(graph: Graph) -> None:
    graph.format_version = 99


def with_target_alone(graph: Graph) -> None:
    del graph.inputs[0], graph.nodes[0]
    graph.nodes[1].arguments[0].node = "target"


@pytest.mark.parametrize(
    ("spoil", "field", "words"),
    [
        (with_head, "training.loss_graph.outputs", "FP32"),
        (with_weight, "training.loss_graph", "a loss with own.weight; allowed: a function"),
        (with_another_name, "training.loss_graph.inputs[0].name", "target, output, or output_0"),
        (with_a_padded_number, "training.loss_graph.inputs[0].name", "target, output, or"),
        (with_a_far_output, "training.loss_graph.inputs[0].name", "one of the network's 1 outputs"),
        (
            with_whole_target,
            "training.loss_graph.inputs[1]",
            r"target INT64\[-1, 1\]; allowed: FP32\[-1, 1\], which is the target",
        ),
        (with_a_matrix, "training.loss_graph.outputs", "a loss per row"),
        (with_a_newer_format, "training.loss_graph.format_version", "99"),
        (with_target_alone, "training.loss_graph.inputs", "an output of the network among them"),
    ],
)
def test_what_is_no_loss_is_refused_by_its_field(
    spoil: Callable[[Graph], None], field: str, words: str
) -> None:
    loss = losses.squared()
    spoil(loss)

    with pytest.raises(InvalidField, match=words) as caught:
        completed(asked(loss))
    assert caught.value.fields["field"] == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"network__family": spec_pb2.FAMILY_LOGISTIC, "data__target": "y"}, "training.loss_graph"),
        ({"training__loss": spec_pb2.LOSS_MSE}, "training.loss"),
        ({"training__huber_delta": 2.0}, "training.huber_delta"),
        ({"data__target": "species"}, "training.loss_graph.inputs[0]"),
    ],
)
def test_a_loss_does_not_go_with_everything(fields: dict[str, object], field: str) -> None:
    assert refusal(asked(losses.squared(), **fields)).fields["field"] == field


def test_custom_needs_a_graph() -> None:
    error = refusal(make_spec(training__loss=CUSTOM))

    assert error.fields["field"] == "training.loss_graph"
    assert "--loss FILE.py:NAME" in error.message


def test_weights_need_a_loss_per_row() -> None:
    def heavy(made: spec_pb2.TrainingSpec) -> spec_pb2.TrainingSpec:
        made.training.class_weights["flag"] = 2
        return made

    assert completed(asked(losses.squared(), data__weight="whole"))
    error = refusal(asked(losses.squared(has_rows=False), data__weight="whole"))
    assert error.fields["field"] == "data.weight"
    assert "let it compute one per row" in error.message
    assert completed(
        asked(losses.cross_entropy(3), data__target="species", training__balance_classes=True)
    )
    several = asked(losses.squared(2), data__target="", data__targets=["flag", "same"])
    assert refusal(heavy(several)).fields["field"] == "training.class_weights"
    several = asked(
        losses.squared(2, has_rows=False), data__target="", data__targets=["flag", "same"]
    )
    several.training.balance_classes = True
    assert refusal(several).fields["field"] == "training.balance_classes"


def test_several_outputs_are_taken_by_their_numbers() -> None:
    loss = losses.of_two()

    assert spec_loss.places(loss) == [-1, 1, 0]
    outputs = [graph_pb2.TensorSpec(name=name) for name in ("mu", "logvar")]
    for output in outputs:
        output.CopyFrom(loss.inputs[1])
    spec_loss.require_operands(loss, outputs, loss.inputs[0])
    outputs[1].shape[1] = 2
    with pytest.raises(InvalidField, match=r"output_1 FP32\[-1, 1\]; allowed: FP32\[-1, 2\]"):
        spec_loss.require_results(loss, outputs)


def test_the_operands_of_a_loss_are_known_before_there_is_one() -> None:
    made = make_spec(data__target="species")

    (output,), target = spec.operands_of_loss(made, COLUMNS, 100)

    assert (output.name, list(output.shape)) == ("output", [-1, 3])
    assert (target.data_type, list(target.shape)) == (graph_pb2.DATA_TYPE_INT64, [-1])
    made = make_spec(data__targets=["price", "whole"], network__family=spec_pb2.FAMILY_LINEAR)
    (output,), target = spec.operands_of_loss(made, COLUMNS, 100)
    assert list(output.shape) == list(target.shape) == [-1, 2]


def test_a_loss_is_left_out_of_tables() -> None:
    made = asked(losses.squared())

    assert toml_spec.to_dict(completed(made))["training"]["loss"] == "custom"  # type: ignore[index,call-overload]
    assert "loss_graph" not in toml_spec.to_toml(made)
    with pytest.raises(InvalidField, match=r"training\.loss_graph is not known"):
        toml_spec.from_dict({"training": {"loss_graph": {}}})

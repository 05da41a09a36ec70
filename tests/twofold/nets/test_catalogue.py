"""The catalogue's graphs are valid for every family, activation, task and loss."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.twofold.nets import families, graphs
from twofold.errors import InvalidField
from twofold.nets import bounds, catalogue, meta
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

_CHOOSERS = (spec_pb2.FAMILY_NEURON, spec_pb2.FAMILY_MLP)
_TASKS = (spec_pb2.TASK_CLASSIFICATION, spec_pb2.TASK_REGRESSION)


def _networks() -> Iterator[spec_pb2.NetworkSpec]:
    for number in spec_pb2.Family.values()[1:]:
        activations = spec_pb2.Activation.values() if number in _CHOOSERS else [0]
        for activation in activations:
            if number == spec_pb2.FAMILY_MLP and activation == spec_pb2.ACTIVATION_STEP:
                continue
            network = spec_pb2.NetworkSpec()
            network.family = spec_pb2.Family.Name(number)  # pyright: ignore[reportAttributeAccessIssue] - names are taken too
            network.activation = spec_pb2.Activation.Name(activation)  # pyright: ignore[reportAttributeAccessIssue] - likewise
            yield network


def _data(family: spec_pb2.Family, task: spec_pb2.Task) -> model_pb2.FeatureSpec:
    labels = ("no", "yes") if task == spec_pb2.TASK_CLASSIFICATION else ()
    if family not in catalogue.ARRAY_FAMILIES:
        return graphs.features(numeric=3, vocabularies=(4,), labels=labels)
    data = graphs.features(numeric=0, labels=labels)
    is_image = family in (spec_pb2.FAMILY_CNN, spec_pb2.FAMILY_RESNET)
    shape = [-1, 2, 8, 8] if is_image else [-1, 8, 2]
    data.array_columns.add(name="array", data_type=graph_pb2.DATA_TYPE_FP32, shape=shape)
    return data


def test_every_family_builds_a_valid_graph_for_each_of_its_losses() -> None:
    built = 0
    for network, task, scaling in itertools.product(_networks(), _TASKS, (False, True)):
        for loss in catalogue.losses(network, task):
            data = _data(network.family, task)
            graph = catalogue.build(network, data, scaling=scaling, loss=loss)
            bounds.check(graph)
            built += 1
            assert ("scale.mean" in bounds.state_shapes(graph)) == scaling

            several = graph.head == graph_pb2.HEAD_SOFTMAX
            assert list(graph.outputs[0].shape) == [-1, 2 if several else 1]

    # Scaled or not: a neuron's 24 activations classify (sigmoid by two losses) and 23 regress; an
    # MLP's 24 (with the default) classify by three losses; regressions have four, softmax two. Six
    # more families do what an MLP does.
    assert built == 2 * ((25 + 2 + 24 * 4) + 24 * (4 + 3) + (1 + 4 + 1 + 2) + 6 * (4 + 3))


HEADS: list[tuple[spec_pb2.Family, spec_pb2.Activation, spec_pb2.Loss, graph_pb2.Head, float]] = [
    (spec_pb2.FAMILY_NEURON, 0, 0, graph_pb2.HEAD_SIGMOID, 0),
    (
        spec_pb2.FAMILY_NEURON,
        spec_pb2.ACTIVATION_SIGMOID,
        spec_pb2.LOSS_MSE,
        graph_pb2.HEAD_THRESHOLD,
        0.5,
    ),
    (spec_pb2.FAMILY_NEURON, spec_pb2.ACTIVATION_STEP, 0, graph_pb2.HEAD_STEP, 0),
    (spec_pb2.FAMILY_NEURON, spec_pb2.ACTIVATION_TANH, 0, graph_pb2.HEAD_THRESHOLD, 0.0),
    (spec_pb2.FAMILY_NEURON, spec_pb2.ACTIVATION_RELU, 0, graph_pb2.HEAD_THRESHOLD, 0.5),
    (
        spec_pb2.FAMILY_NEURON,
        spec_pb2.ACTIVATION_LOG_SIGMOID,
        0,
        graph_pb2.HEAD_THRESHOLD,
        -0.6931471805599453,
    ),
    (spec_pb2.FAMILY_PERCEPTRON, 0, 0, graph_pb2.HEAD_STEP, 0),
    (spec_pb2.FAMILY_LOGISTIC, 0, 0, graph_pb2.HEAD_SIGMOID, 0),
    (spec_pb2.FAMILY_SOFTMAX, 0, 0, graph_pb2.HEAD_SOFTMAX, 0),
    (spec_pb2.FAMILY_MLP, 0, 0, graph_pb2.HEAD_SOFTMAX, 0),
    (spec_pb2.FAMILY_MLP, 0, spec_pb2.LOSS_BCE, graph_pb2.HEAD_SIGMOID, 0),
]  # pyright: ignore[reportAssignmentType] - 0 is UNSPECIFIED


@pytest.mark.parametrize(("family", "activation", "loss", "head", "threshold"), HEADS)
def test_the_head_follows_from_family_activation_and_loss(
    family: spec_pb2.Family,
    activation: spec_pb2.Activation,
    loss: spec_pb2.Loss,
    head: graph_pb2.Head,
    threshold: float,
) -> None:
    graph = graphs.built(family, loss, activation=activation)

    assert graph.head == head
    assert graph.head_threshold == threshold


def test_a_logit_is_not_squashed_before_its_loss() -> None:
    """BCE sees the logit of a sigmoid neuron: the sigmoid is its head, not its last node."""
    graph = graphs.built(spec_pb2.FAMILY_NEURON)

    assert [module.kind for module in graph.modules] == [graph_pb2.MODULE_KIND_LINEAR]


def test_regression_answers_the_value_itself() -> None:
    data = graphs.features(labels=())
    for family in (spec_pb2.FAMILY_NEURON, spec_pb2.FAMILY_LINEAR, spec_pb2.FAMILY_MLP):
        graph = graphs.built(family, data=data)

        assert graph.head == graph_pb2.HEAD_IDENTITY
        assert [list(spec.shape) for spec in graph.outputs] == [[-1, 1]]


def test_an_mlp_has_its_layers_in_order() -> None:
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=[8, 4], dropout=0.25)
    graph = catalogue.build(
        network, graphs.features(), scaling=False, loss=spec_pb2.LOSS_UNSPECIFIED
    )

    assert [module.path for module in graph.modules] == [
        "hidden.0",
        "activation.0",
        "dropout.0",
        "hidden.1",
        "activation.1",
        "dropout.1",
        "output",
    ]
    assert graph.modules[2].arguments["p"].real == 0.25
    assert bounds.parameter_count(graph) == (2 * 8 + 8) + (8 * 4 + 4) + (4 * 2 + 2)


def test_only_what_the_data_has_becomes_an_input() -> None:
    numbers = graphs.built(spec_pb2.FAMILY_SOFTMAX, data=graphs.features(2), scaling=True)
    words = graphs.built(spec_pb2.FAMILY_SOFTMAX, data=graphs.features(0, (3,)), scaling=True)

    assert [spec.name for spec in numbers.inputs] == ["x"]
    assert [spec.name for spec in words.inputs] == ["category"]
    assert not words.states


@pytest.mark.parametrize(
    ("family", "loss", "labels"),
    [
        (spec_pb2.FAMILY_LINEAR, spec_pb2.LOSS_UNSPECIFIED, ("0", "1")),
        (spec_pb2.FAMILY_LOGISTIC, spec_pb2.LOSS_UNSPECIFIED, ()),
        (spec_pb2.FAMILY_MLP, spec_pb2.LOSS_MSE, ("0", "1")),
        (spec_pb2.FAMILY_MLP, spec_pb2.LOSS_BCE, ()),
        (spec_pb2.FAMILY_UNSPECIFIED, spec_pb2.LOSS_UNSPECIFIED, ()),
    ],
)
def test_a_loss_or_task_that_does_not_fit_is_refused(
    family: spec_pb2.Family, loss: spec_pb2.Loss, labels: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidField, match=r"training\.loss"):
        graphs.built(family, loss, data=graphs.features(labels=labels))


def test_a_row_costs_what_its_nodes_compute() -> None:
    """The estimate of memory needs no torch; meta.measure counts what torch really makes."""
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=[5])
    sizes = catalogue.Sizes(2, (3, 4), 2)

    built = catalogue.build_sized(
        network,
        sizes,
        spec_pb2.TASK_CLASSIFICATION,
        scaling=True,
        loss=spec_pb2.LOSS_UNSPECIFIED,
    )

    # x, centred, scaled, category, one_hot, features, hidden, activation, output.
    assert built.row_elements == 2 + 2 + 2 + 2 + 7 + 9 + 5 + 5 + 2


REGRESSION, SEVERAL = spec_pb2.TASK_REGRESSION, spec_pb2.TASK_MULTILABEL
MLP, LINEAR = spec_pb2.FAMILY_MLP, spec_pb2.FAMILY_LINEAR
BCE, CUSTOM = spec_pb2.LOSS_BCE, spec_pb2.LOSS_CUSTOM
TARGETS = catalogue.Sizes(2, target_count=3)


@pytest.mark.parametrize(
    ("family", "task", "loss", "sizes", "head", "width"),
    [
        (LINEAR, REGRESSION, spec_pb2.LOSS_MSE, TARGETS, graph_pb2.HEAD_IDENTITY, 3),
        (MLP, REGRESSION, spec_pb2.LOSS_HUBER, TARGETS, graph_pb2.HEAD_IDENTITY, 3),
        (MLP, SEVERAL, BCE, TARGETS, graph_pb2.HEAD_MULTILABEL, 3),
        (spec_pb2.FAMILY_LOGISTIC, SEVERAL, BCE, catalogue.Sizes(2), graph_pb2.HEAD_MULTILABEL, 1),
        (
            MLP,
            SEVERAL,
            CUSTOM,
            catalogue.Sizes(2, (), 3, target_count=3),
            graph_pb2.HEAD_MULTILABEL,
            3,
        ),
        (
            MLP,
            spec_pb2.TASK_CLASSIFICATION,
            CUSTOM,
            catalogue.Sizes(2, (), 2),
            graph_pb2.HEAD_SOFTMAX,
            2,
        ),
        (LINEAR, REGRESSION, CUSTOM, TARGETS, graph_pb2.HEAD_IDENTITY, 3),
    ],
)
def test_the_last_layer_has_a_column_for_each_answer(
    family: spec_pb2.Family,
    task: spec_pb2.Task,
    loss: spec_pb2.Loss,
    sizes: catalogue.Sizes,
    head: graph_pb2.Head,
    width: int,
) -> None:
    network = spec_pb2.NetworkSpec(family=family)
    built = catalogue.build_sized(network, sizes, task, scaling=False, loss=loss)

    assert built.graph.head == head
    (output,) = meta.measure(built.graph).outputs
    assert list(output.shape) == [-1, width]


@pytest.mark.parametrize("family", catalogue.SEVERAL_TARGETS)
def test_every_family_of_several_targets_has_a_column_for_each(family: spec_pb2.Family) -> None:
    found = families.SIZES.get(family, catalogue.Sizes(2))
    sizes = replace(found, label_count=0, target_count=3)
    network = families.NETWORKS.get(family, spec_pb2.NetworkSpec(family=family))

    for task, head in (
        (REGRESSION, graph_pb2.HEAD_IDENTITY),
        (SEVERAL, graph_pb2.HEAD_MULTILABEL),
    ):
        if catalogue.losses(network, task):
            graph = families.built(network, sizes, task).graph
            assert (graph.head, list(graph.outputs[0].shape)) == (head, [-1, 3])
    assert catalogue.losses(network, SEVERAL) or family == LINEAR


def test_sizes_tell_of_one_array_and_of_no_more() -> None:
    data = graphs.features(numeric=0, labels=("a", "b"))
    data.array_columns.add(name="image", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 3, 8, 8])

    sizes = catalogue.sizes_of(data)

    assert (sizes.array_shape, sizes.array_name, sizes.width) == ((3, 8, 8), "image", 0)
    data.array_columns.add(name="other", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 2])
    assert catalogue.sizes_of(data) == catalogue.Sizes(0, label_count=2)

"""Each loss is its formula, and goes with the head that serves it."""
# pyright: reportUnknownMemberType=false

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.twofold import losses as made
from tests.twofold.nets import graphs
from twofold.errors import InvalidField
from twofold.nets import losses
from twofold.v1 import graph_pb2, spec_pb2

LABELS = torch.tensor([0, 1, 1])
LOGITS = torch.tensor([[0.5], [-2.0], [3.0]])


def _value(family: spec_pb2.Family, loss: spec_pb2.Loss, logits: Tensor, target: Tensor) -> float:
    labels = () if target.is_floating_point() else ("0", "1")
    graph = graphs.built(family, loss, data=graphs.features(labels=labels))
    return losses.loss_function(loss, graph)(logits, target).item()


def test_binary_cross_entropy_is_the_mean_negative_log_likelihood() -> None:
    expected = (math.log1p(math.exp(0.5)) + math.log1p(math.exp(2)) + math.log1p(math.exp(-3))) / 3

    value = _value(spec_pb2.FAMILY_LOGISTIC, spec_pb2.LOSS_BCE, LOGITS, LABELS)

    assert value == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_of_two_logits_is_that_of_their_difference() -> None:
    pairs = torch.cat([torch.zeros_like(LOGITS), LOGITS], dim=1)
    expected = _value(spec_pb2.FAMILY_LOGISTIC, spec_pb2.LOSS_BCE, LOGITS, LABELS)

    value = _value(spec_pb2.FAMILY_SOFTMAX, spec_pb2.LOSS_CROSS_ENTROPY, pairs, LABELS)

    assert value == pytest.approx(expected, rel=1e-6)


def test_the_perceptron_criterion_counts_mistakes_by_their_distance() -> None:
    value = _value(spec_pb2.FAMILY_PERCEPTRON, spec_pb2.LOSS_PERCEPTRON, LOGITS, LABELS)

    assert value == pytest.approx((0.5 + 2.0 + 0.0) / 3)


@pytest.mark.parametrize(("label", "gradient"), [(0, 1.0), (1, -1.0)])
def test_the_perceptron_learns_from_a_logit_of_zero(label: int, gradient: float) -> None:
    """Otherwise a perceptron that starts from zero would never move."""
    logit = torch.zeros((1, 1), requires_grad=True)

    losses.perceptron_criterion(logit, torch.tensor([label])).backward()

    assert logit.grad is not None
    assert logit.grad.item() == gradient


def test_mean_squared_error_of_a_regression() -> None:
    target = torch.tensor([[0.0], [0.0], [1.0]])

    value = _value(spec_pb2.FAMILY_LINEAR, spec_pb2.LOSS_MSE, LOGITS, target)

    assert value == pytest.approx((0.25 + 4 + 4) / 3)


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [
        (spec_pb2.ACTIVATION_RELU, 0.0, 1.0),
        (spec_pb2.ACTIVATION_TANH, -0.5, 0.5),
        (spec_pb2.ACTIVATION_LOG_SIGMOID, math.log(0.5) - 0.5, math.log(0.5) + 0.5),
    ],
)
def test_a_neuron_s_labels_stand_around_its_threshold(
    activation: spec_pb2.Activation, low: float, high: float
) -> None:
    graph = graphs.built(spec_pb2.FAMILY_NEURON, activation=activation)
    function = losses.loss_function(spec_pb2.LOSS_MSE, graph)
    scores = torch.tensor([[low], [high]])

    assert function(scores, torch.tensor([0, 1])).item() == pytest.approx(0.0, abs=1e-12)
    assert function(scores, torch.tensor([1, 0])).item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("family", "loss"),
    [
        (spec_pb2.FAMILY_LOGISTIC, spec_pb2.LOSS_BCE),
        (spec_pb2.FAMILY_SOFTMAX, spec_pb2.LOSS_CROSS_ENTROPY),
        (spec_pb2.FAMILY_LINEAR, spec_pb2.LOSS_MSE),
    ],
)
def test_a_mean_in_one_kernel_is_that_of_the_rows(
    family: spec_pb2.Family, loss: spec_pb2.Loss
) -> None:
    is_regression = loss == spec_pb2.LOSS_MSE
    labels = () if is_regression else ("0", "1")
    graph = graphs.built(family, loss, data=graphs.features(labels=labels))
    options = spec_pb2.TrainingOptions(label_smoothing=0.0 if is_regression else 0.2)
    function = losses.loss_function(loss, graph, options)
    logits = LOGITS.repeat(1, 2) if family == spec_pb2.FAMILY_SOFTMAX else LOGITS
    target = torch.tensor([[0.0], [0.5], [1.0]]) if is_regression else LABELS

    assert function.mean is not None
    expected = function.rows(logits, target).mean().item()
    assert function(logits, target).item() == pytest.approx(expected, rel=1e-6)
    weighted = function(logits, target, torch.tensor([1.0, 1.0, 1.0])).item()
    assert weighted == pytest.approx(expected, rel=1e-6)


def test_a_loss_of_another_head_is_refused() -> None:
    graph = graphs.built(spec_pb2.FAMILY_MLP)

    assert graph.head == graph_pb2.HEAD_SOFTMAX
    with pytest.raises(InvalidField, match="LOSS_CROSS_ENTROPY or LOSS_FOCAL for this graph"):
        losses.loss_function(spec_pb2.LOSS_BCE, graph)


def _labels(logits: Tensor, target: Tensor, **options: float) -> Tensor:
    made = spec_pb2.TrainingOptions(**options)  # pyright: ignore[reportArgumentType]
    graph = graph_pb2.Graph(head=graph_pb2.HEAD_MULTILABEL)
    return losses.loss_function(spec_pb2.LOSS_BCE, graph, made).rows(logits, target)


def test_the_loss_of_several_labels_is_the_mean_of_theirs() -> None:
    logits = torch.cat([LOGITS, -2 * LOGITS], dim=1)
    target = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    alone = [
        losses.binary_cross_entropy(logits[:, [label]], target[:, label], 0.1) for label in (0, 1)
    ]

    found = _labels(logits, target, label_smoothing=0.1)

    torch.testing.assert_close(found, (alone[0] + alone[1]) / 2)


def test_a_positive_weight_multiplies_the_part_of_a_label_that_is_there() -> None:
    logits, target = torch.cat([LOGITS, LOGITS], dim=1), torch.tensor([[0.0, 1.0]] * 3)
    weights = torch.tensor([5.0, 3.0])
    expected = (functional.softplus(LOGITS[:, 0]) + 3 * functional.softplus(-LOGITS[:, 0])) / 2

    torch.testing.assert_close(losses.multilabel(logits, target, positive_K=weights), expected)


@pytest.mark.parametrize("has_rows", [True, False])
def test_a_graph_is_a_loss_like_any(has_rows: bool) -> None:  # noqa: FBT001
    own = losses.GraphLoss(made.squared(has_rows=has_rows), torch.device("cpu"))
    built_in = losses.LossFunction(losses.mean_squared_error)
    target, weight = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 0.0, 3.0])

    assert own(LOGITS, target).item() == pytest.approx(built_in(LOGITS, target).item())
    assert own((LOGITS, target), target).item() == own(LOGITS, target).item()
    if has_rows:
        expected = built_in(LOGITS, target, weight).item()
        assert own(LOGITS, target, weight).item() == pytest.approx(expected)


def test_a_graph_takes_results_by_their_numbers() -> None:
    own = losses.GraphLoss(made.of_two(), torch.device("cpu"))

    assert own((LOGITS, -LOGITS), torch.zeros(3, 1)).item() == 0
    assert own((LOGITS, LOGITS), 2 * LOGITS).item() == 0
    assert own.takes_all

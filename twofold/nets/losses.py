"""The losses: functions of the graph's logits and the target, averaged over the rows.

The target of a classification is int64 [B], the index of the label; that of a regression is
float32 [B, targets]. Legend of suffixes: B rows, K logits.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from twofold.errors import InvalidField
from twofold.v1 import graph_pb2, spec_pb2

LossFunction = Callable[[Tensor, Tensor], Tensor]


def mean_squared_error(value: Tensor, target: Tensor) -> Tensor:
    """Mean of (value - target)^2 over rows and targets."""
    return functional.mse_loss(value, target)


def binary_cross_entropy(logit_B1: Tensor, label_B: Tensor) -> Tensor:  # noqa: N803 - shape suffix
    """Mean of -log P(label) where P(1) is the logistic sigmoid of the logit."""
    target = label_B.to(logit_B1.dtype).unsqueeze(1)
    return functional.binary_cross_entropy_with_logits(logit_B1, target)


def cross_entropy(logit_BK: Tensor, label_B: Tensor) -> Tensor:  # noqa: N803 - shape suffix
    """Mean of -log P(label) where P is the softmax of the logits."""
    return functional.cross_entropy(logit_BK, label_B)


def perceptron_criterion(logit_B1: Tensor, label_B: Tensor) -> Tensor:  # noqa: N803 - shape suffix
    """Mean of max(0, -(2 label - 1) logit): its gradient is Rosenblatt's rule.

    A logit of 0 counts as a mistake, as in Novikoff's proof (1962): clamp, unlike relu, passes the
    gradient there, so that a perceptron that starts from zero learns at all.
    """
    sign = (2 * label_B - 1).to(logit_B1.dtype).unsqueeze(1)
    return torch.clamp(-sign * logit_B1, min=0).mean()


def _threshold_error(threshold: float) -> LossFunction:
    """MSE towards threshold - 0.5 for label 0 and threshold + 0.5 for label 1; see catalogue."""

    def loss(score_B1: Tensor, label_B: Tensor) -> Tensor:  # noqa: N803 - shape suffix
        target = label_B.to(score_B1.dtype).unsqueeze(1) + (threshold - 0.5)
        return functional.mse_loss(score_B1, target)

    return loss


#: The loss that each head is trained by.
_OF_HEAD: Mapping[graph_pb2.Head, tuple[spec_pb2.Loss, LossFunction]] = {
    graph_pb2.HEAD_IDENTITY: (spec_pb2.LOSS_MSE, mean_squared_error),
    graph_pb2.HEAD_SIGMOID: (spec_pb2.LOSS_BCE, binary_cross_entropy),
    graph_pb2.HEAD_SOFTMAX: (spec_pb2.LOSS_CROSS_ENTROPY, cross_entropy),
    graph_pb2.HEAD_STEP: (spec_pb2.LOSS_PERCEPTRON, perceptron_criterion),
    graph_pb2.HEAD_THRESHOLD: (spec_pb2.LOSS_MSE, mean_squared_error),
}


def loss_function(loss: spec_pb2.Loss, graph: graph_pb2.Graph) -> LossFunction:
    """The function (logits, target) -> 0-D mean loss; InvalidField where head and loss differ.

    Args:
        loss: the completed spec's loss.
        graph: what `catalogue.build` made for the same loss; it must be checked.
    """
    expected, function = _OF_HEAD[graph.head]
    if loss != expected:
        name = spec_pb2.Loss.Name(expected)
        raise InvalidField.of("training.loss", spec_pb2.Loss.Name(loss), f"{name} for this graph")
    if graph.head == graph_pb2.HEAD_THRESHOLD:
        return _threshold_error(graph.head_threshold)
    return function

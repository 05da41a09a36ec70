"""The losses: functions of the graph's logits and the target, one number per row and their mean.

The target of a classification is int64 [B], the index of the label; that of a regression, or of
several labels, is float32 [B, targets]. Legend of suffixes: B rows, K logits, T targets.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from twofold import spec_loss
from twofold.errors import InvalidField
from twofold.nets.net import Net, init
from twofold.v1 import graph_pb2, spec_pb2

#: Logits and target to a loss per row, [B].
RowLosses = Callable[[Tensor, Tensor], Tensor]
#: What a network computes: one tensor, or one for each of its outputs; the first are the logits.
Results = Tensor | tuple[Tensor, ...]
#: Whether a loss is one number per row, or their mean at once.
_Reduction = Literal["none", "mean"]


class Loss(Protocol):
    """A loss: (results, target) to a 0-D mean over the rows, by their weights if there are any."""

    #: Whether it looks at all results, not at the logits alone.
    takes_all: bool

    def __call__(
        self, results: Results, target: Tensor, weight_B: Tensor | None = None, /
    ) -> Tensor:
        """Sum of weight * loss over sum of weight; without weights every row weighs 1.

        Rows that together weigh nothing have a loss of 0.
        """
        ...


class LossFunction:
    """A loss of the logits."""

    takes_all = False

    def __init__(self, rows: RowLosses, mean: RowLosses | None = None) -> None:
        """Takes the losses of rows and, where torch has it, their mean in one kernel.

        The latter is a tenth of a small step less.
        """
        self.rows = rows
        self.mean = mean

    def __call__(self, results: Results, target: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """See Loss."""
        logits = first_of(results)
        if weight_B is None and self.mean is not None:
            return self.mean(logits, target)
        return _mean(self.rows(logits, target), weight_B)


class GraphLoss:
    """A loss of the user's, given as a graph that `spec_loss.check_graph` passed."""

    takes_all = True

    def __init__(self, graph: graph_pb2.Graph, device: torch.device) -> None:
        self._net: Net = init(graph, seed=0).to(device)
        self._places = tuple(spec_loss.places(graph))

    def __call__(self, results: Results, target: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """See Loss; where the graph computes the mean itself, there are no weights."""
        values = (results,) if isinstance(results, Tensor) else results
        arguments = [target if place < 0 else values[place] for place in self._places]
        found = first_of(self._net(*arguments))
        return found if found.dim() == 0 else _mean(found, weight_B)


def first_of(results: Results) -> Tensor:
    """The logits."""
    return results if isinstance(results, Tensor) else results[0]


def _mean(losses_B: Tensor, weight_B: Tensor | None) -> Tensor:
    if weight_B is None:
        return losses_B.mean()
    tiny = torch.finfo(weight_B.dtype).tiny
    return (losses_B * weight_B).sum() / weight_B.sum().clamp(min=tiny)


def mean_squared_error(value: Tensor, target: Tensor) -> Tensor:
    """(value - target)^2, mean over the targets."""
    return functional.mse_loss(value, target, reduction="none").mean(dim=1)


def absolute_error(value: Tensor, target: Tensor) -> Tensor:
    """|value - target|, mean over the targets."""
    return functional.l1_loss(value, target, reduction="none").mean(dim=1)


def huber(value: Tensor, target: Tensor, delta: float) -> Tensor:
    """Half the squared error up to `delta`, linear beyond (Huber 1964); mean over the targets."""
    return functional.huber_loss(value, target, reduction="none", delta=delta).mean(dim=1)


def pinball(value: Tensor, target: Tensor, quantile: float) -> Tensor:
    """Quantile loss (Koenker and Bassett 1978), mean over the targets: least at the quantile."""
    error = target - value
    return torch.maximum(quantile * error, (quantile - 1) * error).mean(dim=1)


def binary_cross_entropy(
    logit_B1: Tensor, label_B: Tensor, smoothing: float = 0.0, reduction: _Reduction = "none"
) -> Tensor:
    """-log P(label) where P(1) is the logistic sigmoid of the logit.

    Smoothed targets are smoothing / 2 and 1 - smoothing / 2.
    """
    target_B = label_B.to(logit_B1.dtype) * (1 - smoothing) + smoothing / 2
    logit_B = logit_B1.squeeze(1)
    return functional.binary_cross_entropy_with_logits(logit_B, target_B, reduction=reduction)


def multilabel(
    logit_BK: Tensor,
    label_BK: Tensor,
    smoothing: float = 0.0,
    positive_K: Tensor | None = None,
    reduction: _Reduction = "none",
) -> Tensor:
    """Binary cross-entropy of K independent labels, mean over them.

    Smoothed as `binary_cross_entropy`. `positive_K` weighs the part of a label that a row has, as
    torch.nn.BCEWithLogitsLoss(pos_weight=...) does.
    """
    target_BK = label_BK * (1 - smoothing) + smoothing / 2
    found = functional.binary_cross_entropy_with_logits(
        logit_BK, target_BK, reduction=reduction, pos_weight=positive_K
    )
    return found if reduction == "mean" else found.mean(dim=1)


def cross_entropy(
    logit_BK: Tensor, label_B: Tensor, smoothing: float = 0.0, reduction: _Reduction = "none"
) -> Tensor:
    """-log P(label) where P is the softmax of the logits; a smoothed target is spread over all."""
    return functional.cross_entropy(
        logit_BK, label_B, reduction=reduction, label_smoothing=smoothing
    )


def focal(logit_BK: Tensor, label_B: Tensor, gamma: float) -> Tensor:
    """-(1 - P)^gamma log P of the label (Lin et al. 2017), P the softmax of the logits."""
    surprise_B = functional.cross_entropy(logit_BK, label_B, reduction="none")
    # 1 - P without cancellation. Its power has no gradient at 0 for gamma below 1.
    miss_B = (-torch.expm1(-surprise_B)).clamp(min=torch.finfo(logit_BK.dtype).tiny)
    return miss_B**gamma * surprise_B


def perceptron_criterion(logit_B1: Tensor, label_B: Tensor) -> Tensor:
    """max(0, -(2 label - 1) logit): its gradient is Rosenblatt's rule.

    A logit of 0 counts as a mistake, as in Novikoff's proof (1962): clamp, unlike relu, passes the
    gradient there, so that a perceptron that starts from zero learns at all.
    """
    sign_B = (2 * label_B - 1).to(logit_B1.dtype)
    return torch.clamp(-sign_B * logit_B1.squeeze(1), min=0)


def _threshold_error(score_B1: Tensor, label_B: Tensor, threshold: float) -> Tensor:
    """MSE towards threshold - 0.5 for label 0 and threshold + 0.5 for label 1; see catalogue."""
    target_B1 = label_B.to(score_B1.dtype).unsqueeze(1) + (threshold - 0.5)
    return mean_squared_error(score_B1, target_B1)


#: The losses that each head can be trained by.
_OF_HEAD: Mapping[graph_pb2.Head, tuple[spec_pb2.Loss, ...]] = {
    graph_pb2.HEAD_IDENTITY: (
        spec_pb2.LOSS_MSE,
        spec_pb2.LOSS_L1,
        spec_pb2.LOSS_HUBER,
        spec_pb2.LOSS_QUANTILE,
    ),
    graph_pb2.HEAD_SIGMOID: (spec_pb2.LOSS_BCE,),
    graph_pb2.HEAD_MULTILABEL: (spec_pb2.LOSS_BCE,),
    graph_pb2.HEAD_SOFTMAX: (spec_pb2.LOSS_CROSS_ENTROPY, spec_pb2.LOSS_FOCAL),
    graph_pb2.HEAD_STEP: (spec_pb2.LOSS_PERCEPTRON,),
    graph_pb2.HEAD_THRESHOLD: (spec_pb2.LOSS_MSE,),
}


def loss_function(
    loss: spec_pb2.Loss,
    graph: graph_pb2.Graph,
    options: spec_pb2.TrainingOptions | None = None,
    *,
    is_multilabel: bool = False,
    positive_K: Tensor | None = None,
) -> LossFunction:
    """The function (logits, target) -> 0-D mean loss; InvalidField where head and loss differ.

    Args:
        loss: the completed spec's loss, a built-in one.
        graph: what `catalogue.build` made for the same loss; it must be checked.
        options: completed for the loss; its own fields count. None: no smoothing.
        is_multilabel: whether BCE is that of several labels; a graph with that head has.
        positive_K: see `multilabel`; on the device of the logits.
    """
    options = options or spec_pb2.TrainingOptions()
    # Of a module whose outputs are served as they are, the spec was checked against them.
    permitted = (loss,) if graph.head == graph_pb2.HEAD_RAW else _OF_HEAD[graph.head]
    if loss not in permitted:
        names = " or ".join(map(spec_pb2.Loss.Name, permitted))
        raise InvalidField.of("training.loss", spec_pb2.Loss.Name(loss), f"{names} for this graph")
    if graph.head == graph_pb2.HEAD_THRESHOLD:
        return LossFunction(partial(_threshold_error, threshold=graph.head_threshold))
    if is_multilabel or graph.head == graph_pb2.HEAD_MULTILABEL:
        rows = partial(multilabel, smoothing=options.label_smoothing, positive_K=positive_K)
        return LossFunction(rows, partial(rows, reduction="mean"))
    return LossFunction(_row_losses(loss, options), _mean_loss(loss, options))


def _mean_loss(loss: spec_pb2.Loss, options: spec_pb2.TrainingOptions) -> RowLosses | None:
    match loss:
        case spec_pb2.LOSS_BCE:
            return partial(
                binary_cross_entropy, smoothing=options.label_smoothing, reduction="mean"
            )
        case spec_pb2.LOSS_CROSS_ENTROPY:
            return partial(cross_entropy, smoothing=options.label_smoothing, reduction="mean")
        case spec_pb2.LOSS_MSE:
            return functional.mse_loss
        case _:
            return None


def _row_losses(loss: spec_pb2.Loss, options: spec_pb2.TrainingOptions) -> RowLosses:  # noqa: PLR0911 - one answer per loss
    match loss:
        case spec_pb2.LOSS_L1:
            return absolute_error
        case spec_pb2.LOSS_HUBER:
            return partial(huber, delta=options.huber_delta)
        case spec_pb2.LOSS_QUANTILE:
            return partial(pinball, quantile=options.quantile)
        case spec_pb2.LOSS_BCE:
            return partial(binary_cross_entropy, smoothing=options.label_smoothing)
        case spec_pb2.LOSS_CROSS_ENTROPY:
            return partial(cross_entropy, smoothing=options.label_smoothing)
        case spec_pb2.LOSS_FOCAL:
            return partial(focal, gamma=options.focal_gamma)
        case spec_pb2.LOSS_PERCEPTRON:
            return perceptron_criterion
        case _:
            return mean_squared_error

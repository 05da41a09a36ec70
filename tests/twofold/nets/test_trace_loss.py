"""Losses of one's own as graphs."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from twofold.nets import InvalidModule, trace_loss
from twofold.nets.net import load

OUTPUT = torch.randn(4, 3)
LABEL = torch.tensor([0, 2, 1, 1])


def weighted(output: Tensor, target: Tensor) -> Tensor:
    """One number per row."""
    return functional.cross_entropy(output, target, reduction="none") * (1 + target)


def log_cosh(prediction: Tensor, truth: Tensor, scale: float = 2.0) -> Tensor:
    """One number, and names of its own."""
    error = (prediction - truth) * scale
    return torch.log(torch.cosh(error)).mean()


class Smooth(nn.Module):
    """Losses of torch within one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.CrossEntropyLoss(label_smoothing=0.1), nn.NLLLoss()
        self.share = 0.25

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        log = functional.log_softmax(output, dim=-1)
        return (1 - self.share) * self.one(output, target) + self.share * self.other(log, target)


@pytest.mark.parametrize(
    ("loss", "target", "shape"),
    [
        (weighted, LABEL, [-1]),
        (log_cosh, torch.randn(4, 3), []),
        (Smooth(), LABEL, []),
        (nn.MSELoss(), torch.randn(4, 3), []),
        (nn.KLDivLoss(reduction="batchmean"), torch.rand(4, 3), []),
        (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]), reduction="none"), LABEL, [-1]),
        (functional.smooth_l1_loss, torch.randn(4, 3), []),
        (functools.partial(functional.huber_loss, delta=0.5), torch.randn(4, 3), []),
        (lambda output, target: -(output * target).sum(-1), torch.randn(4, 3), [-1]),
    ],
)
def test_a_loss_computes_what_it_did(loss: Any, target: Tensor, shape: list[int]) -> None:
    traced = trace_loss(loss, OUTPUT, target)
    net = load(traced.graph, traced.state)
    output = torch.randn(6, 3, requires_grad=True)
    again = target.repeat(2, *[1] * (target.dim() - 1))[:6]

    torch.testing.assert_close(net(output, again), loss(output, again))
    assert [spec.name for spec in traced.graph.inputs] == ["output", "target"]
    assert [list(spec.shape) for spec in traced.graph.outputs] == [shape]
    (ours,) = torch.autograd.grad(net(output, again).sum(), output)
    (theirs,) = torch.autograd.grad(loss(output, again).sum(), output)
    torch.testing.assert_close(ours, theirs)


def contrastive(output: Tensor, target: Tensor) -> Tensor:
    """Every row is compared with all others."""
    alike = output @ functional.normalize(target, dim=1).T
    return functional.cross_entropy(alike, torch.arange(len(output)))


def test_a_mean_may_compare_all_rows_with_each_other() -> None:
    traced = trace_loss(contrastive, OUTPUT, torch.randn(4, 3))
    output, target = torch.randn(6, 3), torch.randn(6, 3)

    found = load(traced.graph, traced.state)(output, target)

    torch.testing.assert_close(found, contrastive(output, target))


def test_several_outputs_are_for_functions_with_code_of_their_own() -> None:
    def error(first: Tensor, second: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
        return ((first + second - target) * scale).square().mean()

    outputs = [OUTPUT, OUTPUT]
    assert len(trace_loss(error, outputs, OUTPUT).graph.inputs) == 3
    with pytest.raises(InvalidModule, match="a loss of 2 outputs is a partial; write a function"):
        trace_loss(functools.partial(error, scale=2.0), outputs, OUTPUT)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda output, target: output - target, r"the loss answers \[-1, 3\]; return its mean"),
        (lambda output, target: (output.mean(), target.mean()), r"the loss answers \[\], \[\]"),
        (lambda output, target: (output - target).mean(0), r"output as FP32\[3\] for any batch"),
        (lambda output, target: output if (target > 0).any() else target, "depends on the data"),
        (lambda output: output, "the loss has arguments output; let it take output, target, in"),
        (
            lambda output, target, extra: output + target + extra,
            "arguments output, target, extra; let it take output, target, in this order; others n",
        ),
        (5, "the loss is int; give a function or a torch.nn.Module"),
    ],
)
def test_what_is_no_loss_is_told(loss: Any, message: str) -> None:
    with pytest.raises(InvalidModule, match=message):
        trace_loss(loss, OUTPUT, torch.randn(4, 3))

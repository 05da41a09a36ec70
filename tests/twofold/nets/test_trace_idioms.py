"""What people write in forward(): trace() compares every graph with the module itself."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, ones
from torch.nn import functional as F  # noqa: N812 - as everyone writes it

from twofold.nets import trace
from twofold.v1 import graph_pb2


class Does(nn.Module):
    """A forward() of one's own over x, FP32 [B, 2, 3, 4]."""

    def __init__(self, does: Callable[..., Any]) -> None:
        super().__init__()
        self.does = does
        self.scale = nn.Parameter(torch.tensor([0.5, 1.5, 2.5, 3.5]))
        self.table = torch.arange(4.0)

    def forward(self, x: Tensor) -> Any:
        return self.does(self, x)


def traced(does: Callable[..., Any]) -> graph_pb2.Graph:
    return trace(Does(does), torch.randn(3, 2, 3, 4)).graph


def _loop(_: Does, x: Tensor) -> Tensor:
    total = torch.zeros_like(x[:, 0])
    for i in range(x.size(1)):
        total = total + (i + 1) * x[:, i]
    for part in x.unbind(1):
        total = total - part
    return total


def _ranks(_: Does, x: Tensor) -> Tensor:
    if x.dim() == 4 and x.ndim == len(x.shape) and isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        x = x.flatten(2)
    assert x.shape[1:] == (2, 12), "sizes that no batch changes are plain numbers"
    assert x.dtype == torch.float32
    assert not x.is_cuda
    return x if x.is_floating_point() else x.float()


def _in_place(_: Does, x: Tensor) -> Tensor:
    y = x * 2
    same = y
    y += 1
    y.mul_(3).clamp_(-4, 4)
    F.relu(y, inplace=True)
    torch.sigmoid_(y)
    y -= x
    y /= 2.0
    y **= 2
    return same + y


def _filled(_: Does, x: Tensor) -> Tensor:
    y = x.clone()
    y.fill_(2.0)
    z = torch.zeros_like(x).masked_fill_(x > 0, 1.0)
    w = x.clone().zero_()
    return y + z + w.add_(x, alpha=2)


def _batch(_: Does, x: Tensor) -> Tensor:
    b = len(x)
    mask = ones(b, 4, device=x.device)
    half = torch.arange(b * 2, dtype=torch.float32).view(b, -1) / math.sqrt(b)
    return torch.cat([mask, half, x.new_zeros(b, 1), x.new_full((b, 1), 2.0)], dim=1)


def _no_grad(does: Does, x: Tensor) -> Tensor:
    with torch.no_grad():
        held = x * does.scale
    return held + x * does.scale.detach()


def _defaults(_: Does, x: Tensor) -> Tensor:
    mean = x.mean(dim=-1, keepdim=True)
    return (x - mean) / (x.std(-1, keepdim=True, unbiased=False) + 1e-5)


def _named(_: Does, x: Tensor) -> dict[str, Tensor]:
    best = x.flatten(1).max(dim=1)
    values, places = x.flatten(1).topk(k=2)
    return {"best": best.values, "place": best.indices, "two": values, "places": places}


IDIOMS: dict[str, Callable[..., Any]] = {
    "a loop over sizes": _loop,
    "questions about ranks and types": _ranks,
    "writing in place, seen by every name": _in_place,
    "filling in place": _filled,
    "sizes of the batch": _batch,
    "a part without gradients": _no_grad,
    "statistics": _defaults,
    "named tuples": _named,
    "a constant attribute": lambda m, x: x * m.table + torch.tensor(1.5),
    "how many a row has": lambda _, x: (
        x / x.shape[1:].numel() + x[0].shape.numel() + x.shape[:2].numel()
    ),
    "star sizes": lambda _, x: x.view(*x.shape[:-2], -1),
    "sizes with minus one": lambda _, x: x.reshape(x.size(0), -1, x.shape[-1]),
    "a list of sizes": lambda _, x: x.reshape([*list(x.size())[:2], 12]),
    "sizes added": lambda _, x: x.view(x.shape[:2] + (12,)),  # noqa: RUF005 - as people do
    "view_as": lambda _, x: x.flatten(1).view_as(x),
    "T and mT": lambda _, x: (x.mT, x[:, 0, 0] @ x[:, 0, 0].T.new_ones(4, 2), x[:, 0].mT.mT),
    "t": lambda m, x: x.flatten(2) @ torch.outer(m.table, m.table)[:3].repeat(4, 1)[:, :2],
    "swapaxes": lambda _, x: x.swapaxes(1, 2) + x.swapdims(2, 1) + torch.swapaxes(x, 1, 2),
    "alpha": lambda m, x: torch.add(x, m.scale, alpha=2) - torch.sub(x, 1, alpha=3),
    "the other way round": lambda _, x: 1 - x + 2 / (1 + x.abs()) + 2**x + 3 // (1 + x.abs()),
    "rsub": lambda _, x: torch.rsub(x, 1),
    "rounding": lambda _, x: (
        torch.div(x, 0.3, rounding_mode="floor") + x.div(0.3, rounding_mode="trunc")
    ),
    "comparisons": lambda _, x: (
        ((x > 0) & (x < 1) | ~(x >= -1) ^ (x != 2)).float() * x.gt(0.1).to(x.dtype)
    ),
    "max of two": lambda m, x: torch.max(x, m.scale) + torch.min(x, -x) + x.max(other=m.scale),
    "norms": lambda _, x: (
        x.norm(dim=-1),
        torch.linalg.norm(x, dim=-1, ord=1),
        torch.linalg.vector_norm(x, dim=(2, 3)),
        x.norm(p=1, dim=1, keepdim=True),
        torch.norm(x, dim=3),
    ),
    "clamps": lambda _, x: x.clamp_min(-1).clamp_max(1) + torch.clip(x, max=0.5) + x.clip(0),
    "select": lambda _, x: x.select(1, 0) + x.select(-3, 1),
    "indices": lambda _, x: (x[:, 0], x[..., 0], x[:, :, [0, 2]], x[:, None], x[:, -1, 1:, ::2]),
    "a tensor as an index": lambda _, x: x[:, :, torch.tensor([2, 0])],
    "a mask": lambda _, x: torch.where(x > 0, x, 0.1 * x).where(x < 1, torch.ones_like(x)),
    "sum of another type": lambda _, x: (x > 0).sum(dim=(1, 2, 3), dtype=torch.float32),
    "stacks": lambda _, x: torch.hstack([x, x]) + torch.stack((x, x), 2).flatten(1, 2),
    "einsum": lambda _, x: torch.einsum("b c h w , b c h w -> b c", [x, x]),
    "types": lambda _, x: (x.double().float(), x.long(), x.int(), x.bool(), x.to(torch.float64)),
    "to of another": lambda m, x: x.long().to(m.scale) + x.to(x.device).type(torch.float32),
    "functional softmax": lambda _, x: F.softmax(x, dim=1) + x.softmax(-1) + F.log_softmax(x, 2),
    "functional tanh": lambda _, x: F.tanh(x) * F.sigmoid(x) + torch.tanh(x),
    "expand as": lambda m, x: (
        m.scale.expand_as(x) + m.scale.view(1, 1, 1, -1).expand(len(x), 2, 3, 4)
    ),
    "broadcast_to": lambda m, x: torch.broadcast_to(m.scale, x.shape) + x,
    "one_hot": lambda _, x: F.one_hot((x > 0).long(), num_classes=2),
    "split": lambda _, x: torch.split(x, 2, dim=-1)[0] + x.split((1, 2, 1), -1)[1],
    "tensor_split by chunk": lambda _, x: sum(x.chunk(2, -1)),
    "chained numbers": lambda _, x: x.view(len(x) * 2 // 2, -1)[:, : x.shape[3] - 1],
    "round of a size": lambda _, x: x * math.ceil(len(x) / 2) + math.floor(len(x) / 2),
    "a negative of a size": lambda _, x: x + -len(x) + abs(-len(x)),
    "meshgrid": lambda _, x: (
        x + sum(torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij"))
    ),
    "arange by keyword": lambda _, x: x * torch.arange(1, end=5) + torch.arange(0, step=2, end=8),
    "linspace and eye": lambda _, x: x @ torch.eye(4) + torch.linspace(0, 1, steps=4),
    "full": lambda _, x: x + torch.full((4,), 2) * torch.full_like(x, 0.5),
    "triangles": lambda _, x: x.tril() + torch.triu(torch.ones(3, 4), diagonal=1),
    "var_mean": lambda _, x: torch.var_mean(x, dim=1, unbiased=False),
    "data": lambda _, x: x.data + x,
    "flips": lambda _, x: torch.flip(x, [1]) + torch.flip(x, dims=(2, 3)) + x.flip(-1),
    "ravel": lambda _, x: x[:, 0, 0, 0].ravel() + x[:, 0, 0, 0].reshape(-1),
    "baddbmm by hand": lambda _, x: (
        x[:, 0] @ x[:, 1].transpose(-1, -2) + torch.matmul(x, x.mT)[:, 0]
    ),
    "a format string": lambda _, x: x * len(f"{x}"[:0] + "ab"),
}


@pytest.mark.parametrize("name", IDIOMS)
def test_an_idiom_is_understood(name: str) -> None:
    graph = traced(IDIOMS[name])

    assert all(spec.shape[0] == -1 for spec in graph.outputs)


def test_sizes_that_no_batch_changes_are_no_nodes() -> None:
    graph = traced(lambda _, x: x.reshape(x.shape[0], x.shape[1] * x.shape[2], x.size(3)))

    assert [node.name for node in graph.nodes] == ["x", "size", "reshape"]


def test_no_grad_has_no_gradient_behind_the_graph_either() -> None:
    from twofold.nets.net import load  # noqa: PLC0415 - for this test alone

    module = Does(_no_grad)
    found = trace(module, torch.randn(3, 2, 3, 4))
    net = load(found.graph, found.state)
    x = torch.randn(2, 2, 3, 4, requires_grad=True)

    net.train()(x).sum().backward()

    assert all(parameter.grad is None for parameter in net.parameters())
    assert x.grad is not None


def test_outputs_are_named_by_what_forward_returns() -> None:
    def names(does: Callable[..., Any]) -> list[str]:
        return [spec.name for spec in traced(does).outputs]

    assert names(lambda _, x: x) == ["output"]
    assert names(lambda _, x: (x, -x)) == ["output_0", "output_1"]
    assert names(lambda _, x: {"b": x, "a": -x}) == ["b", "a"]


def test_more_may_be_answered_in_training() -> None:
    """By name where both are dictionaries, else by place."""

    def does(module: Does, x: Tensor) -> dict[str, Tensor]:
        return {"extra": x * 2, "main": -x} if module.training else {"main": -x}

    graph = traced(does)

    assert len(graph.results) == 2
    assert [spec.name for spec in graph.outputs] == ["main"]
    nodes = {node.name: node for node in graph.nodes}
    assert nodes[graph.results[0]].function == graph_pb2.FUNCTION_NEG


def test_functions_that_follow_the_mode_are_one_computation() -> None:
    both = traced(lambda m, x: F.dropout(x, 0.5, training=m.training))
    always = traced(lambda _, x: F.dropout(x, 0.5))

    assert not both.eval_nodes
    assert always.eval_nodes[-1].arguments[2].boolean


def test_inputs_are_named_by_arguments_in_whatever_form_they_come() -> None:
    class Two(nn.Module):
        def forward(self, left: Tensor, right: Tensor, scale: float = 2.0) -> Tensor:
            return (left + right) * scale

    x = torch.randn(3, 4)
    for given in ((x, x), {"right": x, "left": x}, [x, x]):
        graph = trace(Two(), given).graph
        assert {spec.name for spec in graph.inputs} == {"left", "right"}
        assert all(list(spec.shape) == [-1, 4] for spec in graph.inputs)
    renamed = trace(Two(), (x, x), names={"left": "x"}).graph
    assert [spec.name for spec in renamed.inputs] == ["x", "right"]


def test_the_module_is_left_as_it_was() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.calls, self.last = 0, None

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = x
            return self.norm(x)

    module = Counts()
    module.norm.eval()
    example = torch.randn(5, 4)
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)

    trace(module, example)

    assert torch.equal(torch.rand(1), wanted)
    assert (module.calls, module.last) == (0, None)
    assert (module.training, module.norm.training) == (True, False)
    assert module.norm.num_batches_tracked == 0
    assert not module.norm.running_mean.any()  # pyright: ignore[reportOptionalMemberAccess]
    assert torch.zeros.__name__ == "zeros"
    assert "len" not in globals()

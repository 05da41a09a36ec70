"""Every permitted function is found where torch's own is called."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.twofold.nets.function_cases import Case, X, Y, Z
from tests.twofold.nets.window_cases import CASES
from twofold.nets import tables, trace
from twofold.v1 import graph_pb2

#: What has no counterpart of its own in torch, or is only found otherwise.
_ELSEWHERE = {"INT", "FLOAT", "ONE_HOT", "SIZE", "NUMEL", "DIM"}
#: Cases whose expected value is written without the function that they are about.
_PARAPHRASED = {"BITWISE_AND", "EINSUM", "RESHAPE"}


class Calls(nn.Module):
    """Calls one function of torch; what has no batch is answered once for every row."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.function: Callable[..., Any] = case.expected
        self.case = case
        sizes = {self.answer(*inputs(case, rows)).shape[:1] == (rows,) for rows in (3, 5)}
        self.has_batch = sizes == {True}

    def answer(self, *given: Tensor) -> Tensor:
        found = self.function(*given[: used(self.case.arguments)])
        found = found if self.case.entry is None else found[self.case.entry]
        return found[0] if isinstance(found, tuple) else found

    def forward(self, x: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        given = [each for each in (x, y, z) if each is not None]
        found = self.answer(*given)
        if self.has_batch:
            return found
        return found.unsqueeze(0).expand(x.shape[0], *[-1] * found.dim())


def used(arguments: Any) -> int:
    """How many of x, y, z a call has; x is there always."""
    if isinstance(arguments, list):
        return max((1, *map(used, arguments)))
    return "xyz".index(arguments.name) + 1 if arguments in (X, Y, Z) else 1


def inputs(case: Case, rows: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    drawn = [torch.randn((rows, *shape), generator=generator) for shape in case.shapes]
    drawn = drawn[: used(case.arguments)]
    return [drawn[0].abs() + 0.1, *drawn[1:]] if case.is_positive else drawn


def functions(graph: graph_pb2.Graph) -> set[str]:
    nodes = (*graph.nodes, *graph.eval_nodes)
    return {
        graph_pb2.Function.Name(node.function).removeprefix("FUNCTION_")
        for node in nodes
        if node.WhichOneof("operation") == "function"
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}{case.arguments}")
def test_a_call_of_torch_becomes_its_function(case: Case) -> None:
    """trace() itself compares the graph's answers with the module's, in both modes."""
    graph = trace(Calls(case), inputs(case)).graph

    assert case.name in functions(graph) | _PARAPHRASED | _ELSEWHERE


def test_every_permitted_function_is_called_somewhere() -> None:
    named = {graph_pb2.Function.Name(each).removeprefix("FUNCTION_") for each in tables.FUNCTIONS}

    assert named - {case.name for case in CASES} <= _ELSEWHERE

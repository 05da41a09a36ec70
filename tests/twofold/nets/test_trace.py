"""Networks as people write them go through a graph's bytes and stay what they were."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import copy
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from inferer.forms.folding import fold
from inferer.forms.form import Inexpressible
from inferer.forms.fused import FusedForm
from tests.twofold.nets.architectures import ARCHITECTURES, Architecture
from twofold.nets import trace
from twofold.nets.net import Net, load
from twofold.v1 import graph_pb2


def through_bytes(module: nn.Module, inputs: tuple[Tensor, ...]) -> Net:
    traced = trace(module, inputs)
    graph = graph_pb2.Graph.FromString(traced.graph.SerializeToString())
    return load(graph, safetensors.torch.load(safetensors.torch.save(dict(traced.state))))


def answers(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    torch.manual_seed(9)
    found: Any = module(*inputs)
    if isinstance(found, dict):
        return list(found.values())
    return list(found) if isinstance(found, tuple) else [found]


def served(net: Net, inputs: tuple[Tensor, ...]) -> list[list[Tensor]]:
    """As the inferer may serve it, in each layout; folded by other rows."""
    answers: list[list[Tensor]] = []
    with torch.inference_mode():
        folded = fold(net.plan, [tensor[:1] for tensor in inputs])
        for is_last in (False, True):
            try:
                form = FusedForm(net, folded, is_channels_last=is_last)
            except Inexpressible:
                assert is_last  # it has no maps
                continue
            torch.manual_seed(9)
            found = form(*inputs)
            answers.append(list(found) if isinstance(found, tuple) else [found])
    return answers


def gradients(module: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    module.train()
    sum(answer.square().sum() for answer in answers(module, inputs)).backward()  # pyright: ignore[reportAttributeAccessIssue]
    named = module.named_parameters()
    return {name: each.grad for name, each in named if each.grad is not None}


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda each: each.name)
def test_a_network_is_the_same_behind_its_graph(architecture: Architecture) -> None:
    """Answers in both modes and as served, gradients, state_dict() and what training changes."""
    module = architecture.made()
    before = copy.deepcopy(module.state_dict())

    net = through_bytes(module, architecture.inputs())

    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)
    assert net.state_dict().keys() == before.keys()
    for rows, seed in ((2, 3), (4, 8)):
        inputs = architecture.inputs(rows, seed)
        for mode in (False, True):
            wanted, found = answers(module.train(mode), inputs), answers(net.train(mode), inputs)
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)
            if not mode:
                for answer in served(net, inputs):
                    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-5)
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)
    wanted_gradients = gradients(module, architecture.inputs())
    torch.testing.assert_close(
        gradients(net, architecture.inputs()), wanted_gradients, rtol=1e-4, atol=1e-5
    )
    wanted_trained = {name for name, each in module.named_parameters() if each.requires_grad}
    assert {name for name, each in net.named_parameters() if each.requires_grad} == wanted_trained

"""Nets for tests of forms, traced from modules, and what they answer."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from inferer.forms.eager import EagerForm
from inferer.forms.folding import Folded, fold
from inferer.forms.form import Columns, Form
from twofold.features import Scores
from twofold.nets import trace
from twofold.nets.net import Net, load
from twofold.tensors import Array
from twofold.v1 import graph_pb2

CPU = torch.device("cpu")


def net_of(module: nn.Module, *inputs: Tensor, head: graph_pb2.Head = graph_pb2.HEAD_RAW) -> Net:
    """The net of a module; its outputs are raw unless a head is given."""
    traced = trace(module, inputs)
    traced.graph.head = head
    return load(traced.graph, dict(traced.state))


def folded_of(net: Net, *inputs: Tensor) -> Folded:
    """A net's operations."""
    with torch.inference_mode():
        return fold(net.plan, inputs)


def operations(net: Net, *inputs: Tensor) -> list[str]:
    """Names of a net's operations, in order."""
    return [type(each).__name__ for each in folded_of(net, *inputs).operations.values()]


def columns(*inputs: Tensor) -> Columns:
    """One request's rows as a batch."""
    return [[tensor.numpy()] for tensor in inputs]


def scores(form: Form, *inputs: Tensor) -> list[Array]:
    """All that a form answers to one request."""
    return listed(form.compute(form.put(columns(*inputs), len(inputs[0]))))


def eager(net: Net, *inputs: Tensor) -> list[Array]:
    """All that the net itself answers."""
    return scores(EagerForm(net, CPU), *inputs)


def listed(found: Scores) -> list[Array]:
    """Several results, or the only one."""
    return [found] if isinstance(found, np.ndarray) else list(found)


def assert_equal(found: Sequence[Array], wanted: Sequence[Array], tolerance: float = 1e-5) -> None:
    """Equal but for rounding, element types included."""
    assert [each.dtype for each in found] == [each.dtype for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)

"""The torch class of every permitted module, and the two modules that torch does not have."""
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from twofold.nets import values
from twofold.v1 import graph_pb2


def step(z: Tensor) -> Tensor:
    """1 where z >= 0, else 0, in z's type; NaN stays NaN, so that it is not taken for a class."""
    return torch.where(torch.isnan(z), z, (z >= 0).to(z.dtype))


class Step(nn.Module):
    """The Heaviside step, 1 at 0 (Rosenblatt 1958). Its gradient is zero."""

    def forward(self, z: Tensor) -> Tensor:
        """See `step`."""
        return step(z)


class OneHot(nn.Module):
    """int64 [B, k] indices to float32 [B, sum(classes)]; an index out of range gives zeros.

    By comparison, not by scatter: an index out of range must not stop a CUDA device. The tables
    are buffers that are not saved: they follow from `classes`.
    """

    column: Tensor
    position: Tensor

    def __init__(self, classes: Sequence[int]) -> None:
        super().__init__()
        column = [torch.full((count,), index) for index, count in enumerate(classes)]
        self.register_buffer("column", torch.cat(column), persistent=False)
        position = torch.cat([torch.arange(count) for count in classes])
        self.register_buffer("position", position, persistent=False)

    def forward(self, index: Tensor) -> Tensor:
        """One-hot rows of every column, side by side."""
        return (index[:, self.column] == self.position).to(torch.float32)


#: The class of every permitted module.
CLASSES: Mapping[graph_pb2.ModuleKind, type[nn.Module]] = {
    graph_pb2.MODULE_KIND_LINEAR: nn.Linear,
    graph_pb2.MODULE_KIND_IDENTITY: nn.Identity,
    graph_pb2.MODULE_KIND_DROPOUT: nn.Dropout,
    graph_pb2.MODULE_KIND_STEP: Step,
    graph_pb2.MODULE_KIND_SIGMOID: nn.Sigmoid,
    graph_pb2.MODULE_KIND_TANH: nn.Tanh,
    graph_pb2.MODULE_KIND_RELU: nn.ReLU,
    graph_pb2.MODULE_KIND_ELU: nn.ELU,
    graph_pb2.MODULE_KIND_SELU: nn.SELU,
    graph_pb2.MODULE_KIND_CELU: nn.CELU,
    graph_pb2.MODULE_KIND_GELU: nn.GELU,
    graph_pb2.MODULE_KIND_SILU: nn.SiLU,
    graph_pb2.MODULE_KIND_MISH: nn.Mish,
    graph_pb2.MODULE_KIND_LEAKY_RELU: nn.LeakyReLU,
    graph_pb2.MODULE_KIND_PRELU: nn.PReLU,
    graph_pb2.MODULE_KIND_RRELU: nn.RReLU,
    graph_pb2.MODULE_KIND_RELU6: nn.ReLU6,
    graph_pb2.MODULE_KIND_SOFTPLUS: nn.Softplus,
    graph_pb2.MODULE_KIND_SOFTSIGN: nn.Softsign,
    graph_pb2.MODULE_KIND_SOFTSHRINK: nn.Softshrink,
    graph_pb2.MODULE_KIND_HARDSHRINK: nn.Hardshrink,
    graph_pb2.MODULE_KIND_HARDSIGMOID: nn.Hardsigmoid,
    graph_pb2.MODULE_KIND_HARDSWISH: nn.Hardswish,
    graph_pb2.MODULE_KIND_HARDTANH: nn.Hardtanh,
    graph_pb2.MODULE_KIND_LOG_SIGMOID: nn.LogSigmoid,
    graph_pb2.MODULE_KIND_TANHSHRINK: nn.Tanhshrink,
    graph_pb2.MODULE_KIND_THRESHOLD: nn.Threshold,
}

#: Modules with parameters: float32 whatever torch's default type is.
_WITH_STATES = (graph_pb2.MODULE_KIND_LINEAR, graph_pb2.MODULE_KIND_PRELU)


def make(module: graph_pb2.Module) -> nn.Module:
    """The torch module, made on torch's current default device; the graph must be checked."""
    arguments = {name: values.to_literal(value) for name, value in module.arguments.items()}
    if module.kind in _WITH_STATES:
        return CLASSES[module.kind](**arguments, dtype=torch.float32)
    return CLASSES[module.kind](**arguments)

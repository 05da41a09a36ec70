"""Tracing a loss of the user's with examples of what it will be computed from."""
# pyright: reportUnknownMemberType=false

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from twofold.nets.data_types import DATA_TYPES
from twofold.v1 import graph_pb2

#: Rows of an example: not 1, which may stand for other things than the batch.
_ROWS = 3


class Traced(Protocol):
    """What twofold.nets.trace_loss makes of a loss."""

    @property
    def graph(self) -> graph_pb2.Graph:
        """The graph."""
        ...


class _Nets(Protocol):
    def trace_loss(
        self, function: object, outputs: Sequence[Tensor] | Tensor, target: Tensor
    ) -> Traced: ...


def trace(
    loss: object, outputs: Sequence[graph_pb2.TensorSpec], target: graph_pb2.TensorSpec
) -> graph_pb2.Graph:
    """The graph of a loss; see twofold.nets.trace_loss for what it may do.

    Args:
        loss: takes what the network computes, one tensor or all of several, and the target.
        outputs: what the network computes.
        target: what it is compared with.
    """
    nets = cast("_Nets", importlib.import_module("twofold.nets"))
    found = [example(spec) for spec in outputs]
    traced = nets.trace_loss(loss, found[0] if len(found) == 1 else found, example(target))
    return traced.graph


def example(spec: graph_pb2.TensorSpec) -> Tensor:
    """Zeros of a type and shape, for a few rows."""
    shape = [_ROWS if size < 0 else size for size in spec.shape]
    return torch.zeros(shape, dtype=DATA_TYPES[spec.data_type])

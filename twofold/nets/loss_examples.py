"""Tracing a loss of the user's with examples of what it will be computed from."""
# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from twofold.nets.data_types import DATA_TYPES
from twofold.nets.tracing import trace_loss
from twofold.v1 import graph_pb2

#: Rows of an example: not 1, which may stand for other things than the batch.
_ROWS = 3


def trace(
    loss: nn.Module | Callable[..., Tensor],
    outputs: Sequence[graph_pb2.TensorSpec],
    target: graph_pb2.TensorSpec,
) -> graph_pb2.Graph:
    """The graph of a loss; see twofold.nets.trace_loss for what it may do.

    Args:
        loss: takes what the network computes, each output as an argument, and the target.
        outputs: what the network computes.
        target: what it is compared with.
    """
    found = [example(spec) for spec in outputs]
    return trace_loss(loss, found[0] if len(found) == 1 else found, example(target)).graph


def example(spec: graph_pb2.TensorSpec) -> Tensor:
    """A few rows of a type and shape: numbers from 0 to 1, whole ones 0."""
    shape = [_ROWS if size < 0 else size for size in spec.shape]
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(DATA_TYPES[spec.data_type])

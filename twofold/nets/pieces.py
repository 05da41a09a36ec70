"""A pass of a net in pieces of rows, so that a large batch of a large net does not fill the memory.

In eval mode every row is computed by itself: what is published was tried in that.
"""
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.nets.net import Net

#: Numbers that the operations of one piece compute: a gibibyte.
PASS_NUMBERS = 1 << 28


def run(net: Net, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401 - as the net: one, or several
    """What a net in eval mode answers to these inputs."""
    count, most = len(inputs[0]), max(1, PASS_NUMBERS // max(net.row_elements, 1))
    if count <= most:
        return net(*inputs)
    starts = range(0, count, most)
    parts = [net(*[rows[start : start + most] for rows in inputs]) for start in starts]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))

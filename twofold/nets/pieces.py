"""A pass of a net in pieces of rows, so that a large batch of a large net does not fill the memory.

In eval mode every row is computed by itself: what is published was tried in that.
"""
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

#: Numbers that the operations of one piece compute: a gibibyte.
PASS_NUMBERS = 1 << 28


class Pass(Protocol):
    """A net, or what computes the same."""

    #: Numbers that it computes per row.
    row_elements: int

    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - one, or several
        """The results for these inputs; each has a row for each of theirs."""
        ...


def rows_at_once(most: int, row_elements: int) -> int:
    """Rows of one piece: at most `most`, fewer of a network that computes much per row."""
    return max(1, min(most, PASS_NUMBERS // max(row_elements, 1)))


def run(net: Pass, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401 - as the net: one, or several
    """What a net in eval mode answers to these inputs."""
    count = len(inputs[0])
    size = rows_at_once(count, net.row_elements)
    if count <= size:
        return net(*inputs)
    starts = range(0, count, size)
    parts = [net(*[rows[start : start + size] for rows in inputs]) for start in starts]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))

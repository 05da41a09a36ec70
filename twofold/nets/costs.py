"""Multiply-adds of operations of torch, by their shapes alone; also on the meta device."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

_aten: Any = torch.ops.aten  # its operations are found at run time

#: Where a convolution's arguments say whether it is transposed.
_TRANSPOSED = 6


def _first_inner(result: Tensor, arguments: tuple[Any, ...]) -> int:
    """Products of (n, k) and (k, m): k for every element of the result."""
    return result.numel() * arguments[0].size(-1)


def _second_inner(result: Tensor, arguments: tuple[Any, ...]) -> int:
    """The same where what is added stands first."""
    return result.numel() * arguments[1].size(-1)


def _convolution(result: Tensor, arguments: tuple[Any, ...]) -> int:
    """One output channel's kernel for every element of the result.

    Transposed: one input channel's kernel for every element of the operand.
    """
    operand, weight = arguments[0], arguments[1]
    kernel = weight.numel() // max(weight.size(0), 1)
    return (operand if arguments[_TRANSPOSED] else result).numel() * kernel


_COSTS: Mapping[Any, Callable[[Tensor, tuple[Any, ...]], int]] = {
    _aten.mm: _first_inner,
    _aten.bmm: _first_inner,
    _aten.addmm: _second_inner,
    _aten.baddbmm: _second_inner,
    _aten.convolution: _convolution,
}


def multiply_adds(operation: Any, arguments: tuple[Any, ...], result: Any) -> int:  # noqa: ANN401 - an operation of torch, and what it gave
    """Of one operation: those of products of matrices and of convolutions, 0 of all others."""
    cost = _COSTS.get(operation.overloadpacket)
    return 0 if cost is None else cost(result, arguments)

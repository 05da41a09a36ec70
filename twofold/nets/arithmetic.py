"""Arithmetic of tensors and of Python's numbers alike, the numbers bounded.

Sizes of a batch are numbers, and graphs calculate with them. Python's own integers grow without an
end and its tuples repeat, so that a few nodes could fill the memory: whatever is no tensor must be
a number, and stay within 64 bits.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Number = int | float
_LIMIT = 1 << 63
#: 2 to the power of 64 is beyond the limit already.
_MAX_EXPONENT = 64


def guarded(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operator that also takes numbers; raises TypeError or OverflowError for anything else."""

    def run(a: Tensor | Number, b: Tensor | Number) -> Tensor | Number:
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            return function(a, b)
        return checked(function(number(a), number(b)))

    return run


def number(value: object) -> Any:  # noqa: ANN401 - a number, a symbol of one while torch exports
    """The value itself, which must be a number."""
    if not isinstance(value, (int, float, torch.SymInt, torch.SymFloat)):
        raise TypeError(f"{type(value).__name__} where a number must stand")
    return value


def checked(value: object) -> Any:  # noqa: ANN401 - likewise
    """A result, which must be a number of at most 64 bits."""
    found = number(value)
    if isinstance(found, int) and not -_LIMIT <= found < _LIMIT:
        raise OverflowError("a number of more than 64 bits")
    return found


def _power(a: Any, b: Any) -> Any:  # noqa: ANN401 - tensors or numbers
    if isinstance(a, int) and isinstance(b, int) and abs(b) > _MAX_EXPONENT and abs(a) > 1:
        raise OverflowError(f"{a} to the power of {b}: a number of more than 64 bits")
    return a**b


def either(
    of_tensor: Callable[[Any], Any], of_number: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """A function of one tensor or of one number."""

    def run(x: Tensor | Number) -> Tensor | Number:
        return of_tensor(x) if isinstance(x, Tensor) else checked(of_number(number(x)))

    return run


def _only_number(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: checked(function(number(x)))


#: Binary operators by their names in the enumeration.
BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "ADD": guarded(operator.add),
    "SUB": guarded(operator.sub),
    "MUL": guarded(operator.mul),
    "DIV": guarded(operator.truediv),
    "FLOOR_DIVIDE": guarded(operator.floordiv),
    "REMAINDER": guarded(operator.mod),
    "POW": guarded(_power),
    "EQ": guarded(operator.eq),
    "NE": guarded(operator.ne),
    "LT": guarded(operator.lt),
    "LE": guarded(operator.le),
    "GT": guarded(operator.gt),
    "GE": guarded(operator.ge),
}

#: Functions of one operand that take numbers too.
UNARY: Mapping[str, Callable[[Any], Any]] = {
    "NEG": either(torch.neg, operator.neg),
    "ABS": either(torch.abs, abs),
    "SQRT": either(torch.sqrt, math.sqrt),
    "FLOOR": either(torch.floor, math.floor),
    "CEIL": either(torch.ceil, math.ceil),
    "INT": _only_number(int),
    "FLOAT": _only_number(float),
}

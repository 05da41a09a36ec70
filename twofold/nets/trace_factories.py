"""Calls of torch that make tensors: of sizes, numbers or of the shape of another."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from typing import Any

import torch

from twofold.nets.trace_calls import of
from twofold.nets.trace_errors import unsupported
from twofold.nets.trace_shapes import Emitter, Special, numbers
from twofold.nets.trace_special import check_device
from twofold.nets.trace_stand import Stand

#: What a graph does not decide: how memory is laid out, and what training does.
_IGNORED = ("layout", "pin_memory", "requires_grad", "memory_format", "names")


def _settled(named: dict[str, Any]) -> torch.dtype | None:
    """The element type of a call, after its other options were looked at."""
    check_device(named.pop("device", None))
    for name in _IGNORED:
        named.pop(name, None)
    for name in ("generator", "out"):
        if named.pop(name, None) is not None:
            raise unsupported(f"the argument {name}", "leave it out")
    return named.pop("dtype", None)


def sized(function: str) -> Special:
    """torch.zeros and its like: sizes side by side or as a sequence."""

    def run(at: Emitter, first: Any = (), *rest: Any, **named: Any) -> Any:
        kind = _settled(named)
        return at.emit(of(function), numbers(named.pop("size", first), rest), kind)

    return run


def full(at: Emitter, size: Any, fill_value: Any, **named: Any) -> Any:
    """torch.full; the type follows the value, as in torch."""
    kind = _settled(named)
    if isinstance(fill_value, bool):
        kind, fill_value = kind or torch.bool, int(fill_value)
    return at.emit(of("full"), numbers(size, ()), fill_value, kind)


def arange(at: Emitter, *args: Any, **named: Any) -> Any:
    """torch.arange(end), (start, end) or (start, end, step)."""
    kind = _settled(named)
    is_end = len(args) == 1 and "end" not in named
    given = {
        **dict(zip(("end",) if is_end else ("start", "end", "step"), args, strict=False)),
        **named,
    }
    return at.emit(
        of("arange"), given.get("start", 0), given.get("end"), given.get("step", 1), kind
    )


def linspace(at: Emitter, start: Any, end: Any, steps: Any, **named: Any) -> Any:
    """torch.linspace."""
    return at.emit(of("linspace"), start, end, steps, _settled(named))


def eye(at: Emitter, n: Any, m: Any = None, **named: Any) -> Any:
    """torch.eye."""
    return at.emit(of("eye"), n, m, _settled(named))


def like(function: str) -> Special:
    """torch.zeros_like and its like."""

    def run(at: Emitter, input: Any, **named: Any) -> Any:  # noqa: A002 - torch's name
        return at.emit(of(function), input, _settled(named))

    return run


def full_like(at: Emitter, input: Any, fill_value: Any, **named: Any) -> Any:  # noqa: A002 - torch's name
    """torch.full_like."""
    return at.emit(of("full_like"), input, fill_value, _settled(named))


def new(function: str) -> Special:
    """x.new_zeros and its like, in the type of x."""

    def run(at: Emitter, x: Stand, first: Any = (), *rest: Any, **named: Any) -> Any:
        kind = _settled(named) or x.dtype
        return at.emit(of(function), numbers(named.pop("size", first), rest), kind)

    return run


def new_full(at: Emitter, x: Stand, size: Any, fill_value: Any, **named: Any) -> Any:
    """x.new_full, in the type of x."""
    return at.emit(of("full"), numbers(size, ()), fill_value, _settled(named) or x.dtype)


#: Functions that make tensors of nothing but numbers: recorded even where no operand is a node.
FACTORIES: Mapping[str, Special] = {
    **{name: sized(name) for name in ("zeros", "ones", "rand", "randn")},
    "full": full,
    "arange": arange,
    "linspace": linspace,
    "eye": eye,
}
#: Those whose sizes may stand side by side, which torch itself takes only as plain numbers.
SIDE_BY_SIDE = ("zeros", "ones", "rand", "randn", "empty")

LIKE: Mapping[str, Special] = {
    **{name: like(name) for name in ("zeros_like", "ones_like", "rand_like", "randn_like")},
    "full_like": full_like,
    "new_zeros": new("zeros"),
    "new_ones": new("ones"),
    "new_full": new_full,
}

"""Calls of torch that are not one function of the tables with the same parameters."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from twofold.nets import trace_shapes as shapes
from twofold.nets.trace_calls import of
from twofold.nets.trace_errors import refused, unsupported
from twofold.nets.trace_shapes import Emitter, Special
from twofold.nets.trace_stand import PLACE, Stand


def _scaled(function: str, *, is_reverse: bool = False) -> Special:
    """torch.add and torch.sub: the second operand may have a factor."""

    def run(at: Emitter, input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:  # noqa: A002 - torch's name
        _no(out=out)
        is_node = isinstance(other, Tensor) or type(other) is Stand
        scaled = at.emit(of("mul"), other, alpha) if is_node and alpha != 1 else other
        if not is_node:
            scaled = cast("float", other) * alpha
        pair = (scaled, input) if is_reverse else (input, scaled)
        return at.emit(of(function), *pair)

    return run


def div(at: Emitter, input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:  # noqa: A002 - as torch
    """torch.div."""
    if rounding_mode == "floor":
        return at.emit(of("floor_divide"), input, other)
    found = at.emit(of("div"), input, other)
    return at.emit(of("trunc"), found) if rounding_mode == "trunc" else found


def to(at: Emitter, x: Stand, *args: Any, **named: Any) -> Any:
    """x.to(...): to an element type; a device may only be that of another tensor."""
    for name in ("non_blocking", "copy", "memory_format"):
        named.pop(name, None)
    found: Any = x
    for argument in (*args, *named.values()):
        if isinstance(argument, torch.dtype):
            found = _to_type(at, found, argument)
        elif type(argument) is Stand or isinstance(argument, Tensor):
            found = _to_type(at, found, argument.dtype)
        elif not isinstance(argument, bool):
            check_device(argument)
    return found


def _to_type(at: Emitter, x: Stand, kind: torch.dtype) -> Any:
    return x if x.dtype == kind else at.emit(of("to_type"), x, kind)


def type_cast(kind: torch.dtype) -> Special:
    """x.float() and its like."""

    def run(at: Emitter, x: Stand, memory_format: Any = None) -> Any:
        del memory_format
        return _to_type(at, x, kind)

    return run


def type_of(at: Emitter, x: Stand, kind: Any = None) -> Any:
    """x.type(torch.float32)."""
    if not isinstance(kind, torch.dtype):
        raise unsupported(f"x.type({kind!r})", "use x.to(torch.float32)")
    return _to_type(at, x, kind)


def check_device(place: Any) -> None:
    """Raises InvalidModule for a device by name: a graph runs where the service runs."""
    if place is not None and torch.device(place) != PLACE:
        way_out = "leave it out, or hand on x.device"
        raise refused(f"a graph runs where the service runs, not on {place!r}", way_out)


def getitem(at: Emitter, x: Any, index: Any) -> Any:
    """x[index]."""
    entries = index if isinstance(index, tuple) else (index,)
    if any(isinstance(entry, bool) for entry in entries):
        raise unsupported("True or False as an index", "use None for a new dimension")
    for entry in entries:
        kind = entry.dtype if isinstance(entry, Tensor) else None
        if kind == torch.bool:
            raise unsupported("an index of truth values", _MASKS)
    return at.emit(of("getitem"), x, _index(index))


_MASKS = "how many rows it picks depends on the data: multiply by the mask, or use torch.where"


def _index(index: Any) -> Any:
    """A list of integers is several rows; the tables have it as a list in a tuple."""
    if isinstance(index, list):
        return (index,)
    return index


def extreme(function: str, elementwise: str) -> Special:
    """torch.max and torch.min: of one tensor, along a dimension, or of two tensors."""

    def run(at: Emitter, input: Any, dim: Any = None, keepdim: bool = False, **named: Any) -> Any:  # noqa: A002, FBT001, FBT002 - as torch
        other = named.pop("other", dim)
        if type(other) is Stand or isinstance(other, Tensor):
            return at.emit(of(elementwise), input, other)
        if named:
            raise TypeError(f"{function}() has no argument {next(iter(named))}")
        return at.emit(of(function), input, dim, keepdim)

    return run


def spread(function: str) -> Special:
    """torch.std, torch.var and torch.var_mean."""

    def run(at: Emitter, input: Any, dim: Any = None, *rest: Any, **named: Any) -> Any:  # noqa: A002 - torch's name
        if isinstance(dim, bool):  # std(unbiased)
            dim, rest = None, (dim, *rest)
        elif rest and not isinstance(rest[0], bool):
            raise unsupported(f"{function} with these arguments", "name them")
        unbiased = named.pop("unbiased", rest[0] if rest else True)
        keepdim = named.pop("keepdim", rest[1] if len(rest) > 1 else False)
        correction = named.pop("correction", int(unbiased))
        _no(**named)
        return at.emit(of(function), input, dim, 1 if correction is None else correction, keepdim)

    return run


def norm(
    at: Emitter,
    input: Any,  # noqa: A002 - torch's name
    p: Any = 2.0,
    dim: Any = None,
    keepdim: bool = False,  # noqa: FBT001, FBT002 - as torch
    **named: Any,
) -> Any:
    """torch.norm, torch.linalg.norm and torch.linalg.vector_norm of vectors."""
    order = named.pop("ord", p)
    _no(**named)
    if order in ("fro", None):
        order = 2.0
    if not isinstance(order, (int, float)):
        raise unsupported(f"a norm of kind {order!r}", "use a number")
    return at.emit(of("norm"), input, float(order), dim, keepdim)


def where(at: Emitter, *args: Any, **named: Any) -> Any:
    """torch.where(condition, x, other), and x.where(condition, other)."""
    given = [*args, *named.values()]
    if len(given) != 3:  # noqa: PLR2004 - three operands
        raise unsupported("torch.where of a condition alone", "give it three arguments")
    return at.emit(of("where"), *given)


def where_method(at: Emitter, x: Any, condition: Any, other: Any) -> Any:
    """x.where(condition, other)."""
    return at.emit(of("where"), condition, x, other)


def einsum(at: Emitter, equation: str, *operands: Any) -> Any:
    """torch.einsum; spaces mean nothing."""
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    return at.emit(of("einsum"), equation, list(operands))


def meshgrid(at: Emitter, *tensors: Any, indexing: str | None = None) -> Any:
    """torch.meshgrid."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    return at.emit(of("meshgrid"), list(tensors), indexing or "ij")


def split(at: Emitter, x: Any, *args: Any, **named: Any) -> Any:
    """torch.split, x.split: the size of a piece, or all sizes."""
    given = [*args, *(named[name] for name in _SPLITS if name in named)]
    dim = named.get("dim", given[1] if len(given) > 1 else 0)
    return at.emit(of("split"), x, given[0], dim)


_SPLITS = ("split_size_or_sections", "split_size", "split_sizes")


def one_hot(at: Emitter, tensor: Any, num_classes: Any = -1) -> Any:
    """functional.one_hot by comparison, for indices of any shape."""
    if not isinstance(num_classes, int) or num_classes < 1:
        raise unsupported("one_hot without num_classes", "give num_classes")
    column = at.emit(of("unsqueeze"), tensor, -1)
    classes = at.emit(of("arange"), 0, num_classes, 1, torch.int64)
    return at.emit(of("to_type"), at.emit(of("eq"), column, classes), torch.int64)


def _no(**named: Any) -> None:
    """Raises InvalidModule for arguments that are given and should not be."""
    for name, value in named.items():
        if value is not None and value is not False:
            raise unsupported(f"the argument {name}", "leave it out")


def itself(at: Emitter, x: Any) -> Any:
    """What changes nothing in a graph."""
    del at
    return x


def requires_grad_(at: Emitter, x: Any, requires_grad: bool = True) -> Any:  # noqa: FBT001, FBT002 - as torch
    """x.requires_grad_(False): without its gradient."""
    if requires_grad:
        raise unsupported(".requires_grad_()", "leave it out: what trains is a parameter")
    return at.emit(of("detach"), x)


def zero_(at: Emitter, x: Any) -> Any:
    """x.zero()."""
    return at.emit(of("zeros_like"), x, None)


def fill(at: Emitter, x: Any, value: Any) -> Any:
    """x.fill(value)."""
    return at.emit(of("full_like"), x, value, None)


def swapped(function: str) -> Special:
    """Methods that operators call with their operands the other way round."""

    def run(at: Emitter, x: Any, other: Any) -> Any:
        return at.emit(of(function), other, x)

    return run


_SWAPPED = (
    ("add", "add"),
    ("mul", "mul"),
    ("div", "div"),
    ("truediv", "div"),
    ("pow", "pow"),
    ("floordiv", "floor_divide"),
    ("matmul", "matmul"),
)
#: Functions and methods by torch's name.
SPECIAL: Mapping[str, Special] = {
    **{name: shapes.varied("reshape") for name in ("view", "reshape")},
    **{name: shapes.varied(name) for name in ("permute", "repeat")},
    "expand": shapes.spread_out,
    "broadcast_to": shapes.spread_out,
    "flip": shapes.flip,
    "size": shapes.size,
    "numel": shapes.numel,
    "nelement": shapes.numel,
    "add": _scaled("add"),
    **dict.fromkeys(("sub", "subtract"), _scaled("sub")),
    "rsub": _scaled("sub", is_reverse=True),
    **dict.fromkeys(("div", "divide", "true_divide"), div),
    **dict.fromkeys(("view_as", "reshape_as"), shapes.view_as),
    "t": shapes.transposed,
    "ravel": shapes.ravel,
    "requires_grad_": requires_grad_,
    "to": to,
    "type": type_of,
    "float": type_cast(torch.float32),
    "double": type_cast(torch.float64),
    "int": type_cast(torch.int32),
    "long": type_cast(torch.int64),
    "bool": type_cast(torch.bool),
    **dict.fromkeys(("cpu", "pos"), itself),
    "getitem": getitem,
    "max": extreme("max", "maximum"),
    "min": extreme("min", "minimum"),
    **{name: spread(name) for name in ("std", "var", "var_mean")},
    **dict.fromkeys(("norm", "vector_norm"), norm),
    "where": where,
    "einsum": einsum,
    "meshgrid": meshgrid,
    "split": split,
    "select": shapes.select,
    "one_hot": one_hot,
    "hstack": shapes.stacked(1),
    "vstack": shapes.stacked(0),
    "zero": zero_,
    "fill": fill,
    **{f"r{name}": swapped(of_name) for name, of_name in _SWAPPED},
}

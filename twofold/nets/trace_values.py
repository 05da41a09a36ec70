"""Arguments of a traced call as the format has them."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.nets import tables, values
from twofold.nets.bounds_nodes import fits
from twofold.nets.data_types import DATA_TYPES, NAMES
from twofold.nets.trace_errors import refused
from twofold.nets.trace_stand import Stand
from twofold.v1 import graph_pb2

#: Gives the name of the node that computes a stand-in, or a tensor that is none.
NameOf = Callable[[Any], str]


def encode(
    what: str, given: Sequence[Any], wanted: Sequence[tables.Parameter], name_of: NameOf
) -> list[graph_pb2.Value]:
    """The values of positional arguments; trailing ones that are torch's defaults are left out.

    Raises InvalidModule for what an argument may not be; `what` is what is called.
    """
    found: list[graph_pb2.Value] = []
    for argument, parameter in zip(given, wanted, strict=False):
        value = _encode(argument, parameter, name_of)
        if value is None or not fits(value, parameter):
            allowed = " or ".join((*parameter.kinds, *parameter.choices))
            problem = f"{parameter.name} of {what} is {_words(argument)}"
            raise refused(problem, f"allowed: {allowed}")
        found.append(value)
    while found and _is_default(given[len(found) - 1], wanted[len(found) - 1]):
        found.pop()
    return found


def _is_default(argument: Any, parameter: tables.Parameter) -> bool:
    default = parameter.default
    if default is tables.REQUIRED or isinstance(argument, Tensor) or type(argument) is Stand:
        return False
    return type(argument) is type(default) and argument == default


def _words(argument: Any) -> str:
    if isinstance(argument, Tensor):
        return "a tensor"
    return repr(argument)


def _encode(argument: Any, parameter: tables.Parameter, name_of: NameOf) -> graph_pb2.Value | None:
    kinds = parameter.kinds
    if type(argument) is not Stand and not isinstance(argument, Tensor):
        if kinds == ("boolean",) and (argument is None or isinstance(argument, int)):
            argument = parameter.default if argument is None else bool(argument)
        elif "integers" in kinds and "integer" not in kinds and isinstance(argument, int):
            argument = (argument,)
        if isinstance(argument, bool) and parameter.kinds[0] == "node" and "real" in kinds:
            argument = int(argument)  # an operand: True is 1
    return plain(argument, name_of, is_index="index" in kinds)


def plain(argument: Any, name_of: NameOf, *, is_index: bool = False) -> graph_pb2.Value | None:
    """One argument as it stands; None for what the format does not have."""
    if type(argument) is Stand or isinstance(argument, Tensor):
        return values.node(name_of(argument))
    if isinstance(argument, (list, tuple)):
        return _list(argument, name_of, is_index=is_index)
    if isinstance(argument, slice):
        parts = (argument.start, argument.stop, argument.step)
        start, stop, step = (plain(part, name_of) for part in parts)
        return graph_pb2.Value(slice=graph_pb2.Slice(start=start, stop=stop, step=step))
    if isinstance(argument, torch.dtype):
        return graph_pb2.Value(data_type=_type(argument))
    return graph_pb2.Value(ellipsis=True) if argument is ... else _scalar(argument)


def _list(entries: Sequence[Any], name_of: NameOf, *, is_index: bool) -> graph_pb2.Value | None:
    found = [plain(entry, name_of, is_index=is_index) for entry in entries]
    whole = [value for value in found if value is not None]
    if len(whole) < len(found):
        return None
    return graph_pb2.Value(list=graph_pb2.ValueList(values=whole))


def _scalar(argument: Any) -> graph_pb2.Value | None:
    if isinstance(argument, (bool, str)) or argument is None:
        return values.literal(argument)
    if isinstance(argument, numbers.Integral):
        return values.literal(int(argument))
    if isinstance(argument, numbers.Real):
        number = float(argument)
        if math.isinf(number):
            return values.literal("inf" if number > 0 else "-inf")
        return None if math.isnan(number) else values.literal(number)
    return None


#: What to do about element types that no graph has.
_TYPE_HINTS: Mapping[torch.dtype, str] = {
    torch.float16: "call .float(); training.precision asks for bf16",
    torch.bfloat16: "call .float(); training.precision asks for bf16",
    torch.uint8: "call .long() or .float()",
    torch.int8: "call .long() or .float()",
    torch.int16: "call .long() or .float()",
}


def data_type(kind: torch.dtype, what: str) -> graph_pb2.DataType:
    """The format's name of a type; raises InvalidModule for one that it does not have."""
    if kind not in NAMES:
        names = ", ".join(str(each).removeprefix("torch.") for each in DATA_TYPES.values())
        problem = f"{what} is {str(kind).removeprefix('torch.')}, and a graph has only {names}"
        raise refused(problem, _TYPE_HINTS.get(kind, "use one of these"))
    return NAMES[kind]


def _type(kind: torch.dtype) -> graph_pb2.DataType:
    return data_type(kind, "the element type")

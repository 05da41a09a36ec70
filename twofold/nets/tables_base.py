"""Limits of graphs, and what the rows of the tables are made of. No torch."""

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from twofold.nets import values
from twofold.v1 import graph_pb2

#: The version that is written; 1 is read as well.
FORMAT_VERSION = 2
FORMAT_VERSIONS = (1, 2)
MAX_INPUTS = 64
MAX_OUTPUTS = 64
MAX_MODULES = 4096
MAX_STATES = 4096
MAX_NODES = 16_384
#: Most paths of parameters in a list of them.
MAX_PATHS = 65_536
#: Most values of a list.
MAX_VALUES = 65_536
#: Deepest nesting of lists: indices are lists of lists.
MAX_NESTING = 8
#: Longest name of a node, input or choice and longest path, in characters.
MAX_NAME = 255
#: Largest dimension; torch's own kernels index with 32 bits in places.
MAX_DIMENSION = (1 << 31) - 1
#: Most dimensions of a tensor: far above any use, below torch's own limit of 64.
MAX_RANK = 16
#: Most elements that one row may have in one tensor: 64 MiB of float32.
MAX_ROW_ELEMENTS = 1 << 24
#: Most operations of torch in one pass, those inside modules included: far above a network of a
#: thousand layers, low enough that a check of it takes seconds.
MAX_OPERATIONS = 1 << 16
#: Most tensors that one split, chunk or unbind may give.
MAX_PIECES = 4096
#: Most elements of all parameters and buffers; servers set a lower limit of their own.
MAX_PARAMETERS = 1 << 40
#: Most layers of all recurrent and transformer modules: each is made of Python objects.
MAX_LAYERS = 1024
#: Largest magnitude of a real argument: beyond it float32 arithmetic has nothing left to say.
MAX_REAL = 1e6

FP32 = graph_pb2.DATA_TYPE_FP32
INT64 = graph_pb2.DATA_TYPE_INT64


class Required(enum.Enum):
    """The default of what has none."""

    REQUIRED = "required"


REQUIRED = Required.REQUIRED

#: What a constructor's argument may be; "integers" and "reals" are lists.
Kind = Literal["boolean", "integer", "real", "choice", "none", "integers", "reals"]
#: What an argument of a function or of forward() may be. A node may stand for any number, also in a
#: list. "index": what stands between brackets. "equation": of einsum, such as "bi,bj->bij".
ParameterKind = Literal[
    "node",
    "nodes",
    "integer",
    "integers",
    "real",
    "reals",
    "boolean",
    "choice",
    "equation",
    "data_type",
    "index",
    "none",
]


@dataclass(frozen=True, slots=True)
class StateShape:
    """A parameter or buffer of a graph."""

    shape: tuple[int, ...]
    data_type: graph_pb2.DataType = FP32
    is_trainable: bool = True

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Argument:
    """A constructor argument: what it may be, and torch's default."""

    kinds: tuple[Kind, ...]
    default: values.Literal | Required = REQUIRED
    #: Bounds of the number, or of every number of a list.
    low: float = -MAX_REAL
    high: float = MAX_REAL
    choices: tuple[values.Literal, ...] = ()
    #: Whether `low` itself is refused.
    is_open: bool = False
    #: Permitted lengths of a list; empty: 1 to MAX_RANK.
    lengths: tuple[int, ...] = ()

    def allowed(self) -> str:
        """The range in words."""
        words = [self._words(kind) for kind in self.kinds]
        return " or ".join(word for word in words if word)

    def _words(self, kind: Kind) -> str:
        bracket = "(" if self.is_open else "["
        bounds = f"{bracket}{self.low:.16g}, {self.high:.16g}]"
        match kind:
            case "choice":
                return " or ".join(str(choice) for choice in self.choices)
            case "boolean":
                return " or ".join(str(choice).lower() for choice in self.choices or (True, False))
            case "none":
                return "none"
            case "integers" | "reals":
                lengths = " or ".join(map(str, self.lengths)) or f"1 to {MAX_RANK}"
                return f"a list of {lengths} {kind} in {bounds}"
            case _:
                return f"{kind} in {bounds}"

    def accepts(self, value: values.Literal | values.Other) -> bool:
        """Whether `value` has one of the types and lies in the range."""
        if isinstance(value, tuple):
            kind = "integers" if all(type(entry) is int for entry in value) else "reals"
            lengths = self.lengths or range(1, MAX_RANK + 1)
            fits = kind in self.kinds and len(value) in lengths
            return fits and all(self._is_within(entry) for entry in value)
        kind = _KINDS.get(type(value))
        if kind not in self.kinds:
            return False
        if kind == "choice" or (kind == "boolean" and self.choices):
            return value in self.choices
        return kind in ("boolean", "none") or self._is_within(value)

    def _is_within(self, value: values.Literal | values.Other) -> bool:
        if type(value) is not int and type(value) is not float:
            return False
        above = value > self.low if self.is_open else value >= self.low
        return math.isfinite(value) and above and value <= self.high


_KINDS: Mapping[type, Kind] = {
    bool: "boolean",
    int: "integer",
    float: "real",
    str: "choice",
    type(None): "none",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A positional parameter of a function or of a module's forward()."""

    name: str
    kinds: tuple[ParameterKind, ...] = ("node",)
    default: values.Literal | Required = REQUIRED
    choices: tuple[str, ...] = ()


#: A module's constructor arguments by name.
Given = Mapping[str, values.Literal]


@dataclass(frozen=True, slots=True)
class ModuleTable:
    """A permitted class of torch.nn."""

    #: Every constructor argument but `device` and `dtype`, in the order of torch.
    arguments: Mapping[str, Argument]
    #: The parameters of forward().
    forward: tuple[Parameter, ...]
    #: Parameters and buffers by their names below the module, from accepted arguments.
    states: Callable[[Given], Mapping[str, StateShape]]
    #: What is wrong with accepted arguments together, in words; "" where nothing is.
    problem: Callable[[Given], str]

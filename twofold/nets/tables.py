"""What a graph may hold: modules with every constructor argument, and functions. No torch.

Each row of MODULES has the arguments of the class's constructor but for `device` and `dtype`, which
are refused: a graph does not say where it runs. `inplace` may only be false: a graph is a data
flow, and writing over an operand would change it, or the caller's tensor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from twofold.nets import values
from twofold.v1 import graph_pb2, spec_pb2

FORMAT_VERSION = 1
MAX_INPUTS = 64
MAX_MODULES = 4096
MAX_STATES = 4096
MAX_NODES = 16_384
#: Most values of a list; no permitted function takes a list of lists.
MAX_VALUES = 65_536
#: Longest name of a node, input or choice and longest path, in characters.
MAX_NAME = 255
#: Largest dimension; torch's own kernels index with 32 bits in places.
MAX_DIMENSION = (1 << 31) - 1
#: Most dimensions of a tensor: far above any use, below torch's own limit of 64.
MAX_RANK = 16
#: Most elements that one row may have in one tensor: 64 MiB of float32.
MAX_ROW_ELEMENTS = 1 << 24
#: Most elements of all parameters and buffers; servers set a lower limit of their own.
MAX_PARAMETERS = 1 << 40
#: Largest magnitude of a real argument: beyond it float32 arithmetic has nothing left to say.
MAX_REAL = 1e6

#: States of the catalogue's graphs that hold the standardisation of numeric features.
SCALE_MEAN = "scale.mean"
SCALE_DEVIATION = "scale.deviation"


@dataclass(frozen=True, slots=True)
class Argument:
    """A constructor argument: what it may be, and torch's default (None: there is none)."""

    kind: Literal["boolean", "integer", "real", "choice"]
    default: values.Literal | None
    low: float = -MAX_REAL
    high: float = MAX_REAL
    choices: tuple[values.Literal, ...] = ()
    #: Whether `low` itself is refused.
    is_open: bool = False

    def allowed(self) -> str:
        """The range in words."""
        if self.choices:
            return " or ".join(str(choice).lower() for choice in self.choices)
        if self.kind == "boolean":
            return "true or false"
        bracket = "(" if self.is_open else "["
        return f"{self.kind} in {bracket}{self.low:.16g}, {self.high:.16g}]"

    def accepts(self, value: values.Literal | None) -> bool:
        """Whether `value` has the type and lies in the range."""
        if value is None or type(value) is not _TYPES[self.kind]:
            return False
        if self.choices:
            return value in self.choices
        if isinstance(value, bool | str):
            return self.kind == "boolean"
        above = value > self.low if self.is_open else value >= self.low
        return math.isfinite(value) and above and value <= self.high


_TYPES: dict[str, type] = {"boolean": bool, "integer": int, "real": float, "choice": str}
_INPLACE = Argument("boolean", default=False, choices=(False,))
_WIDTH = Argument("integer", default=None, low=1, high=MAX_DIMENSION)
_Arguments = Mapping[str, Argument]


def _real(
    default: float | None, low: float = -MAX_REAL, high: float = MAX_REAL, *, is_open: bool = False
) -> Argument:
    return Argument("real", default, low, high, is_open=is_open)


_NONE: _Arguments = {}
_INPLACE_ONLY: _Arguments = {"inplace": _INPLACE}

#: Permitted modules and their arguments. A test compares the rows with torch's signatures.
MODULES: Mapping[graph_pb2.ModuleKind, _Arguments] = {
    graph_pb2.MODULE_KIND_LINEAR: {
        "in_features": _WIDTH,
        "out_features": _WIDTH,
        "bias": Argument("boolean", default=True),
    },
    graph_pb2.MODULE_KIND_IDENTITY: _NONE,
    graph_pb2.MODULE_KIND_DROPOUT: {"p": _real(0.5, 0.0, 1.0), "inplace": _INPLACE},
    graph_pb2.MODULE_KIND_STEP: _NONE,
    graph_pb2.MODULE_KIND_SIGMOID: _NONE,
    graph_pb2.MODULE_KIND_TANH: _NONE,
    graph_pb2.MODULE_KIND_RELU: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_ELU: {"alpha": _real(1.0), "inplace": _INPLACE},
    graph_pb2.MODULE_KIND_SELU: _INPLACE_ONLY,
    # CELU divides by alpha.
    graph_pb2.MODULE_KIND_CELU: {"alpha": _real(1.0, 0.0, is_open=True), "inplace": _INPLACE},
    graph_pb2.MODULE_KIND_GELU: {
        "approximate": Argument("choice", "none", choices=("none", "tanh"))
    },
    graph_pb2.MODULE_KIND_SILU: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_MISH: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_LEAKY_RELU: {"negative_slope": _real(0.01), "inplace": _INPLACE},
    graph_pb2.MODULE_KIND_PRELU: {
        "num_parameters": Argument("integer", 1, 1, MAX_DIMENSION),
        "init": _real(0.25),
    },
    graph_pb2.MODULE_KIND_RRELU: {
        "lower": _real(1.0 / 8),
        "upper": _real(1.0 / 3),
        "inplace": _INPLACE,
    },
    graph_pb2.MODULE_KIND_RELU6: _INPLACE_ONLY,
    # Softplus divides by beta.
    graph_pb2.MODULE_KIND_SOFTPLUS: {
        "beta": _real(1.0, 0.0, is_open=True),
        "threshold": _real(20.0),
    },
    graph_pb2.MODULE_KIND_SOFTSIGN: _NONE,
    graph_pb2.MODULE_KIND_SOFTSHRINK: {"lambd": _real(0.5, 0.0)},
    graph_pb2.MODULE_KIND_HARDSHRINK: {"lambd": _real(0.5, 0.0)},
    graph_pb2.MODULE_KIND_HARDSIGMOID: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_HARDSWISH: _INPLACE_ONLY,
    # Without min_value and max_value, torch's deprecated second names of the same two.
    graph_pb2.MODULE_KIND_HARDTANH: {
        "min_val": _real(-1.0),
        "max_val": _real(1.0),
        "inplace": _INPLACE,
    },
    graph_pb2.MODULE_KIND_LOG_SIGMOID: _NONE,
    graph_pb2.MODULE_KIND_TANHSHRINK: _NONE,
    graph_pb2.MODULE_KIND_THRESHOLD: {
        "threshold": _real(None),
        "value": _real(None),
        "inplace": _INPLACE,
    },
}

#: Pairs of arguments of which the first must be below (or at) the second.
ORDERED: Mapping[graph_pb2.ModuleKind, tuple[str, str, bool]] = {
    graph_pb2.MODULE_KIND_RRELU: ("lower", "upper", True),
    graph_pb2.MODULE_KIND_HARDTANH: ("min_val", "max_val", False),
}

#: What a function's argument may be; "operand": a node or a real number.
Parameter = Literal["node", "nodes", "operand", "integer", "integers"]

#: Permitted functions and their positional arguments.
FUNCTIONS: Mapping[graph_pb2.Function, tuple[Parameter, ...]] = {
    graph_pb2.FUNCTION_ADD: ("operand", "operand"),
    graph_pb2.FUNCTION_SUB: ("operand", "operand"),
    graph_pb2.FUNCTION_MUL: ("operand", "operand"),
    graph_pb2.FUNCTION_DIV: ("operand", "operand"),
    graph_pb2.FUNCTION_CAT: ("nodes", "integer"),
    graph_pb2.FUNCTION_ONE_HOT: ("node", "integers"),
    graph_pb2.FUNCTION_FLATTEN: ("node", "integer"),
}

#: The module of every activation: both enums have the same names after their prefixes.
ACTIVATIONS: Mapping[spec_pb2.Activation, graph_pb2.ModuleKind] = {
    cast("spec_pb2.Activation", number): cast(  # protobuf's stubs say int
        "graph_pb2.ModuleKind",
        graph_pb2.ModuleKind.Value("MODULE_KIND_" + name.removeprefix("ACTIVATION_")),
    )
    for name, number in spec_pb2.Activation.items()
    if number != spec_pb2.ACTIVATION_UNSPECIFIED
}


def arguments(kind: graph_pb2.ModuleKind, **given: values.Literal) -> dict[str, graph_pb2.Value]:
    """Every constructor argument of a module: those given, torch's defaults for the rest."""
    table = MODULES[kind]
    filled = {name: given.get(name, argument.default) for name, argument in table.items()}
    return {name: values.literal(value) for name, value in filled.items() if value is not None}

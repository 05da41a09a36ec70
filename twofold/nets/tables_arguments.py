"""Short forms for the rows of the module tables, and the rules between arguments. No torch."""

from collections.abc import Callable, Mapping
from typing import cast

from twofold.nets import values
from twofold.nets.tables_base import (
    MAX_DIMENSION,
    MAX_LAYERS,
    MAX_REAL,
    REQUIRED,
    Argument,
    Given,
    ModuleTable,
    Parameter,
    Required,
)
from twofold.nets.tables_states import Formula, integer, integers, none

Arguments = Mapping[str, Argument]
#: What is wrong with accepted arguments together, in words; "" where nothing is.
Rule = Callable[[Given], str]

INPUT = (Parameter("input"),)
NOTHING: Arguments = {}
#: A graph is a data flow: writing over an operand would change it, or the caller's tensor.
INPLACE: Arguments = {"inplace": Argument(("boolean",), default=False, choices=(False,))}
WIDTH = Argument(("integer",), low=1, high=MAX_DIMENSION)
LAYERS = Argument(("integer",), low=1, high=MAX_LAYERS)


def row(
    arguments: Arguments = NOTHING,
    states: Formula = none,
    forward: tuple[Parameter, ...] = INPUT,
    problem: Rule | None = None,
) -> ModuleTable:
    """A row; most modules have one input and no state."""
    return ModuleTable(arguments, forward, states, problem or no_problem)


def boolean(*, default: bool) -> Argument:
    """True or false."""
    return Argument(("boolean",), default)


def only(value: values.Literal) -> Argument:
    """An argument of torch that a graph may give as its default alone."""
    if value is None:
        return Argument(("none",), None)
    return Argument(("boolean",), value, choices=(value,))


def real(
    default: float | Required = REQUIRED,
    low: float = -MAX_REAL,
    high: float = MAX_REAL,
    *,
    is_open: bool = False,
) -> Argument:
    """A number with a fraction."""
    return Argument(("real",), default, low, high, is_open=is_open)


def probability(default: float) -> Argument:
    """From 0 to 1."""
    return real(default, 0.0, 1.0)


def number(default: int | Required = REQUIRED, low: int = 1, high: int = MAX_DIMENSION) -> Argument:
    """A whole number."""
    return Argument(("integer",), default, low, high)


def optional_number(low: int = 1, high: int = MAX_DIMENSION) -> Argument:
    """A whole number, none by default."""
    return Argument(("integer", "none"), None, low, high)


def optional_real(default: float | None, low: float = -MAX_REAL) -> Argument:
    """A number with a fraction, or none."""
    return Argument(("real", "none"), default, low)


def sides(count: int, default: int | Required = REQUIRED, low: int = 1, *extra: int) -> Argument:
    """One whole number for all of `count` dimensions, or a list of one for each."""
    lengths = (count, *extra)
    return Argument(("integer", "integers"), default, low, MAX_DIMENSION, lengths=lengths)


def optional_sides(count: int, low: int = 1) -> Argument:
    """As `sides`, or none, the default."""
    kinds = ("integer", "integers", "none")
    return Argument(kinds, None, low, MAX_DIMENSION, lengths=(count,))


def choice(default: str, *others: str) -> Argument:
    """One of some words."""
    return Argument(("choice",), default, choices=(default, *others))


def no_problem(given: Given) -> str:
    """Nothing can be wrong."""
    del given
    return ""


def ordered(low: str, high: str, *, may_be_equal: bool) -> Rule:
    """`low` below `high`."""

    def problem(given: Given) -> str:
        smaller, larger = cast("float", given[low]), cast("float", given[high])
        if smaller < larger or (smaller == larger and may_be_equal):
            return ""
        return f"{low} {smaller} is not below {high} {larger}"

    return problem


def divides(part: str, *wholes: str) -> Rule:
    """`part` divides each of `wholes`."""

    def problem(given: Given) -> str:
        for whole in wholes:
            if integer(given, whole) % integer(given, part):
                return f"{whole} {given[whole]} is no multiple of {part} {given[part]}"
        return ""

    return problem


def conv_problem(given: Given) -> str:
    """Groups divide both channels, and padding "same" has a stride of 1."""
    if given["padding"] == "same" and any(step != 1 for step in integers(given, "stride")):
        return f"padding same with stride {given['stride']}, which must be 1"
    return divides("groups", "in_channels", "out_channels")(given)


def padding_index_problem(given: Given) -> str:
    """The padding index is one of the table's, also counted from its end."""
    index, count = given["padding_idx"], integer(given, "num_embeddings")
    if index is None or -count <= cast("int", index) < count:
        return ""
    return f"padding_idx {index} is not in [-{count}, {count})"


def projection_problem(given: Given) -> str:
    """A projection is smaller than what it projects."""
    if integer(given, "proj_size") < integer(given, "hidden_size"):
        return ""
    return f"proj_size {given['proj_size']} is not below hidden_size {given['hidden_size']}"


def one_scale_problem(given: Given) -> str:
    """Exactly one of size and scale_factor."""
    if (given["size"] is None) != (given["scale_factor"] is None):
        return ""
    return f"size {given['size']} and scale_factor {given['scale_factor']}: give exactly one"

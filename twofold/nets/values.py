"""Arguments of modules and nodes: twofold.v1.Value to and from Python."""

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping

from twofold.v1.graph_pb2 import Value, ValueList

#: What a literal is in Python.
Literal = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | None


class Other(enum.Enum):
    """Stands for a value that is no literal."""

    OTHER = "other"


OTHER = Other.OTHER


def literal(value: Literal) -> Value:
    """A Value of the same type; a string becomes a choice, a tuple a list."""
    match value:
        case None:
            return Value(none=True)
        case bool():
            return Value(boolean=value)
        case int():
            return Value(integer=value)
        case float():
            return Value(real=value)
        case str():
            return Value(choice=value)
        case tuple():
            return Value(list=ValueList(values=[literal(entry) for entry in value]))


def node(name: str) -> Value:
    """The result of the node of this name."""
    return Value(node=name)


def nodes(names: Iterable[str]) -> Value:
    """A list of results."""
    return Value(list=ValueList(values=[node(name) for name in names]))


def integers(numbers: Iterable[int]) -> Value:
    """A list of integers."""
    return Value(list=ValueList(values=[literal(number) for number in numbers]))


def to_literal(value: Value) -> Literal | Other:
    """What `literal` was given; OTHER where the value is something else."""
    kind = value.WhichOneof("kind")
    if kind == "none":
        return None
    if kind == "list":
        return _to_tuple(value.list)
    return _SCALARS[kind](value) if kind in _SCALARS else OTHER


_SCALARS: Mapping[str, Callable[[Value], bool | int | float | str]] = {
    "boolean": lambda value: value.boolean,
    "integer": lambda value: value.integer,
    "real": lambda value: value.real,
    "choice": lambda value: value.choice,
}


def _to_tuple(entries: ValueList) -> tuple[int, ...] | tuple[float, ...] | Other:
    kinds = {entry.WhichOneof("kind") for entry in entries.values}
    if kinds == {"integer"}:
        return tuple(entry.integer for entry in entries.values)
    if kinds == {"real"}:
        return tuple(entry.real for entry in entries.values)
    return OTHER


def to_integers(value: Value) -> list[int] | None:
    """The numbers of a list of integers; None where the value is something else."""
    entries = value.list.values
    if all(entry.WhichOneof("kind") == "integer" for entry in entries):
        return [entry.integer for entry in entries]
    return None


def references(value: Value) -> Iterator[str]:
    """Names of all nodes that a value refers to; only for a value whose nesting is bounded."""
    match value.WhichOneof("kind"):
        case "node":
            yield value.node
        case "list":
            for entry in value.list.values:
                yield from references(entry)
        case "slice":
            for entry in (value.slice.start, value.slice.stop, value.slice.step):
                yield from references(entry)
        case _:
            return

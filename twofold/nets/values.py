"""Arguments of modules and nodes: twofold.v1.Value to and from Python."""

from collections.abc import Iterable, Sequence

from twofold.v1.graph_pb2 import Value, ValueList

#: What a literal is in Python.
Literal = bool | int | float | str


def literal(value: Literal) -> Value:
    """A Value of the same type; a string becomes a choice."""
    match value:
        case bool():
            return Value(boolean=value)
        case int():
            return Value(integer=value)
        case float():
            return Value(real=value)
        case str():
            return Value(choice=value)


def node(name: str) -> Value:
    """The result of the node of this name."""
    return Value(node=name)


def nodes(names: Iterable[str]) -> Value:
    """A list of results."""
    return Value(list=ValueList(values=[node(name) for name in names]))


def integers(numbers: Iterable[int]) -> Value:
    """A list of integers."""
    return Value(list=ValueList(values=[literal(number) for number in numbers]))


def to_literal(value: Value) -> Literal | None:
    """What `literal` was given; None where the value is something else."""
    match value.WhichOneof("kind"):
        case "boolean":
            return value.boolean
        case "integer":
            return value.integer
        case "real":
            return value.real
        case "choice":
            return value.choice
        case _:
            return None


def to_names(value: Value) -> list[str] | None:
    """The names of a list of results; None where the value is something else."""
    if _is_list_of(value, "node"):
        return [entry.node for entry in value.list.values]
    return None


def to_integers(value: Value) -> list[int] | None:
    """The numbers of a list of integers; None where the value is something else."""
    if _is_list_of(value, "integer"):
        return [entry.integer for entry in value.list.values]
    return None


def references(value: Value) -> Sequence[str]:
    """Names of all nodes that a value refers to; only for a value whose nesting is bounded."""
    if value.WhichOneof("kind") == "node":
        return [value.node]
    return [name for entry in value.list.values for name in references(entry)]


def _is_list_of(value: Value, kind: str) -> bool:
    return value.WhichOneof("kind") == "list" and all(
        entry.WhichOneof("kind") == kind for entry in value.list.values
    )

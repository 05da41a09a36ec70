"""Checks of a graph's computations: names, references, and the kinds of arguments. No torch."""

import re
from collections.abc import Container, Iterable, Sequence

from twofold.errors import InvalidField
from twofold.nets import tables, values
from twofold.v1 import graph_pb2

NODE_NAME = re.compile(r"[A-Za-z0-9_.]{1,255}")
_EQUATION = re.compile(r"[A-Za-z., ]+(->[A-Za-z. ]*)?")
_INFINITE = ("inf", "-inf")
#: Kinds that a node may stand for: tensors, tuples of them, and numbers.
_BY_NODE = {"node", "nodes", "integer", "integers", "real", "reals", "index"}
#: Element types of tensors.
STORED = (
    graph_pb2.DATA_TYPE_FP32,
    graph_pb2.DATA_TYPE_FP64,
    graph_pb2.DATA_TYPE_INT64,
    graph_pb2.DATA_TYPE_INT32,
    graph_pb2.DATA_TYPE_BOOL,
)
#: Kinds of the entries of a list, by the kind of the list.
_ENTRIES: dict[str, set[str]] = {
    "nodes": {"node"},
    "integers": {"integer", "node"},
    "reals": {"real", "integer", "node"},
}


def check_name(field: str, name: str) -> None:
    """Raises InvalidField for what no node, input or output may be called."""
    if NODE_NAME.fullmatch(name) is None:
        raise InvalidField.of(field, name, "letters, digits, '_' and '.', 1 to 255")


def check_unique(field: str, names: Sequence[str]) -> None:
    """Raises InvalidField for the first name that stands twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidField.of(field, name, "every name once")
        seen.add(name)


def check_one_hots(nodes: Iterable[graph_pb2.Node]) -> None:
    """Tables of one-hot nodes are allocated before anything runs; all together are bounded."""
    total = 0
    for node in nodes:
        if node.function != graph_pb2.FUNCTION_ONE_HOT:
            continue
        classes = values.to_integers(node.arguments[1])
        if not classes or not all(1 <= count <= tables.MAX_ROW_ELEMENTS for count in classes):
            allowed = f"classes from 1 to {tables.MAX_ROW_ELEMENTS}"
            raise InvalidField.of(f"graph node {node.name}", classes, allowed)
        total += sum(classes)
        if total > tables.MAX_ROW_ELEMENTS:
            allowed = f"at most {tables.MAX_ROW_ELEMENTS} classes in all"
            raise InvalidField.of(f"graph node {node.name}", total, allowed)


class References:
    """Checks that nodes refer to what stands before them, with arguments of the right kinds."""

    def __init__(self, graph: graph_pb2.Graph, states: Container[str], where: str) -> None:
        self._where = where
        self._known: dict[str, Container[str]] = {
            "input": {spec.name for spec in graph.inputs},
            "state": states,
            "module": {module.path for module in graph.modules},
        }
        self._kinds = {module.path: module.kind for module in graph.modules}
        self._before: set[str] = set()

    def check(self, nodes: Sequence[graph_pb2.Node]) -> None:
        """Raises InvalidField for the first node that is wrong."""
        for index, node in enumerate(nodes):
            where = f"{self._where}[{index}]"
            check_name(f"{where}.name", node.name)
            if node.name in self._before:
                raise InvalidField.of(f"{where}.name", node.name, "every name once")
            self._check_node(where, node)
            self._before.add(node.name)

    def check_results(self, field: str, names: Sequence[str]) -> None:
        """Raises InvalidField for a result that is no node of what was checked."""
        for name in names:
            if name not in self._before:
                raise InvalidField.of(field, name, f"the name of a node of {self._where}")

    def _check_node(self, where: str, node: graph_pb2.Node) -> None:
        operation = node.WhichOneof("operation")
        wanted: tuple[tables.Parameter, ...] = ()
        if operation is None:
            raise InvalidField.of(f"{where}.operation", "unset", "an operation")
        if operation == "function":
            wanted = _parameters(where, node.function)
        else:
            named = {"input": node.input, "state": node.state, "module": node.module}[operation]
            if named not in self._known[operation]:
                raise InvalidField.of(f"{where}.{operation}", named, f"a known {operation}")
            if operation == "module":
                wanted = tables.MODULES[self._kinds[named]].forward
        self._check_arguments(f"{where}.arguments", node.arguments, wanted)

    def _check_arguments(
        self,
        where: str,
        arguments: Sequence[graph_pb2.Value],
        wanted: tuple[tables.Parameter, ...],
    ) -> None:
        least = sum(parameter.default is tables.REQUIRED for parameter in wanted)
        if not least <= len(arguments) <= len(wanted):
            allowed = f"{least} to {len(wanted)}: {', '.join(each.name for each in wanted)}"
            raise InvalidField.of(where, f"{len(arguments)} arguments", allowed)
        count = 0
        for value, parameter in zip(arguments, wanted, strict=False):
            if not fits(value, parameter):
                shown = f"{value.WhichOneof('kind')} for {parameter.name}"
                raise InvalidField.of(where, shown, _words(parameter))
            for name in values.references(value):
                count += 1
                if name not in self._before:
                    raise InvalidField.of(where, name, "the name of an earlier node")
        if not count and any("node" in parameter.kinds for parameter in wanted):
            raise InvalidField.of(where, "literals only", "an earlier node among them")


def _parameters(where: str, function: graph_pb2.Function) -> tuple[tables.Parameter, ...]:
    if function not in tables.FUNCTIONS:
        name = graph_pb2.Function.Name(function)
        raise InvalidField.of(f"{where}.function", name, "a permitted function")
    return tables.FUNCTIONS[function]


def _words(parameter: tables.Parameter) -> str:
    return " or ".join((*parameter.kinds, *parameter.choices))


def fits(value: graph_pb2.Value, parameter: tables.Parameter) -> bool:
    """Whether a value has the form of a parameter; its nesting is then bounded."""
    kind = value.WhichOneof("kind")
    kinds = set[str](parameter.kinds)
    match kind:
        case "node":
            return bool(kinds & _BY_NODE)
        case "choice":
            return _fits_choice(value.choice, parameter)
        case "list":
            return _fits_list(value.list.values, kinds)
        case "data_type":
            return kind in kinds and value.data_type in STORED
        case _ if "index" in kinds:
            return _is_index(value)
        case _:
            return kind in kinds


def _fits_choice(choice: str, parameter: tables.Parameter) -> bool:
    if "equation" in parameter.kinds:
        return len(choice) <= tables.MAX_NAME and _EQUATION.fullmatch(choice) is not None
    return choice in parameter.choices or ("real" in parameter.kinds and choice in _INFINITE)


def _fits_list(entries: Sequence[graph_pb2.Value], kinds: set[str]) -> bool:
    if len(entries) > tables.MAX_VALUES:
        return False
    if "index" in kinds:
        return all(_is_index(entry) or _is_integers(entry) for entry in entries)
    found = {entry.WhichOneof("kind") or "" for entry in entries}
    is_empty_fine = "integers" in kinds  # a shape of no dimensions
    return any(
        (found or is_empty_fine) and found <= _ENTRIES[kind] for kind in kinds & _ENTRIES.keys()
    )


def _is_index(value: graph_pb2.Value) -> bool:
    kind = value.WhichOneof("kind")
    if kind == "slice":
        parts = (value.slice.start, value.slice.stop, value.slice.step)
        return all(part.WhichOneof("kind") in (None, "none", "integer", "node") for part in parts)
    return kind in ("integer", "none", "ellipsis", "node")


def _is_integers(value: graph_pb2.Value) -> bool:
    entries = value.list.values
    return 1 <= len(entries) <= tables.MAX_VALUES and values.to_integers(value) is not None

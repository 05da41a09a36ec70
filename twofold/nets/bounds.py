"""Checks of a graph before anything is allocated, in plain integers. No torch.

Every graph is checked whole before it is used, wherever it came from: `check` is called by
`twofold.nets.net` itself.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twofold import strict
from twofold.errors import InvalidField
from twofold.nets import shapes, tables, values
from twofold.v1 import graph_pb2

_NODE_NAME = re.compile(r"[A-Za-z0-9_.]{1,255}")
_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_TRAINABLE = (graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_FP64)
_NUMERIC = (*_TRAINABLE, graph_pb2.DATA_TYPE_INT64, graph_pb2.DATA_TYPE_INT32)
_STORED = (*_NUMERIC, graph_pb2.DATA_TYPE_BOOL)
_FP32 = graph_pb2.DATA_TYPE_FP32


@dataclass(frozen=True, slots=True)
class StateShape:
    """A parameter or buffer of a graph."""

    shape: tuple[int, ...]
    data_type: graph_pb2.DataType
    is_trainable: bool = True

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def check(graph: graph_pb2.Graph, max_parameters: int = tables.MAX_PARAMETERS) -> None:
    """Raises InvalidField for the first thing wrong: format, names, references, shapes, sizes.

    A graph that passes has operands that fit each other and a last node that fits its head.
    """
    if graph.format_version != tables.FORMAT_VERSION:
        version = graph.format_version
        raise InvalidField.of("graph.format_version", version, str(tables.FORMAT_VERSION))
    _check_counts(graph)
    strict.check(graph, "graph")
    _check_inputs(graph)
    _check_paths(graph)
    for index, module in enumerate(graph.modules):
        _check_module(f"graph.modules[{index}]", module)
    for index, state in enumerate(graph.states):
        _check_state(f"graph.states[{index}]", state)
    elements = sum(state.elements for state in state_shapes(graph).values())
    if elements > max_parameters:
        raise InvalidField.of("graph", f"{elements} parameters", f"at most {max_parameters}")
    _check_computations(graph)


def state_shapes(graph: graph_pb2.Graph) -> dict[str, StateShape]:
    """Every parameter and buffer by its key in weights.safetensors; the graph must be checked."""
    found = {
        state.path: StateShape(tuple(state.shape), state.data_type, state.trainable)
        for state in graph.states
    }
    for module in graph.modules:
        for name, shape in _module_states(module).items():
            found[f"{module.path}.{name}"] = StateShape(shape, _FP32)
    return found


def parameter_count(graph: graph_pb2.Graph) -> int:
    """How many numbers training learns."""
    return sum(state.elements for state in state_shapes(graph).values() if state.is_trainable)


def score_count(graph: graph_pb2.Graph) -> int:
    """Columns of what the head answers: classes, or targets of a regression."""
    last = shapes.infer(graph, graph.nodes, "graph.nodes")[graph.nodes[-1].name]
    one_logit = graph.head not in (graph_pb2.HEAD_IDENTITY, graph_pb2.HEAD_SOFTMAX)
    return 2 if one_logit else last.dimensions[1]


def row_elements(graph: graph_pb2.Graph) -> int:
    """Numbers that all nodes together compute per row: the activations that training keeps."""
    found = shapes.infer(graph, graph.nodes, "graph.nodes")
    return sum(shape.row_elements for shape in found.values() if shape.has_batch)


def _module_states(module: graph_pb2.Module) -> Mapping[str, tuple[int, ...]]:
    arguments = module.arguments
    if module.kind == graph_pb2.MODULE_KIND_PRELU:
        return {"weight": (arguments["num_parameters"].integer,)}
    if module.kind != graph_pb2.MODULE_KIND_LINEAR:
        return {}
    out = arguments["out_features"].integer
    weight = {"weight": (out, arguments["in_features"].integer)}
    return {**weight, "bias": (out,)} if arguments["bias"].boolean else weight


def _check_counts(graph: graph_pb2.Graph) -> None:
    counts = {
        "inputs": (len(graph.inputs), 1, tables.MAX_INPUTS),
        "modules": (len(graph.modules), 0, tables.MAX_MODULES),
        "states": (len(graph.states), 0, tables.MAX_STATES),
        "nodes": (len(graph.nodes), 1, tables.MAX_NODES),
        "eval_nodes": (len(graph.eval_nodes), 0, tables.MAX_NODES),
    }
    for name, (count, least, most) in counts.items():
        if not least <= count <= most:
            raise InvalidField.of(f"graph.{name}", f"{count} entries", f"{least} to {most}")


def _check_inputs(graph: graph_pb2.Graph) -> None:
    for index, spec in enumerate(graph.inputs):
        where = f"graph.inputs[{index}]"
        _check_name(f"{where}.name", spec.name)
        if spec.data_type not in _NUMERIC:
            name = graph_pb2.DataType.Name(spec.data_type)
            raise InvalidField.of(f"{where}.data_type", name, "FP32, FP64, INT64 or INT32")
        if list(spec.shape[:1]) != [shapes.BATCH]:
            raise InvalidField.of(f"{where}.shape", list(spec.shape), "-1 as dimension 0")
        _check_dimensions(f"{where}.shape", spec.shape[1:])
    _check_unique("graph.inputs", [spec.name for spec in graph.inputs])


def _check_name(field: str, name: str) -> None:
    if _NODE_NAME.fullmatch(name) is None:
        raise InvalidField.of(field, name, "letters, digits, '_' and '.', 1 to 255")


def _check_dimensions(field: str, dimensions: Sequence[int]) -> None:
    fits = all(1 <= size <= tables.MAX_DIMENSION for size in dimensions)
    if not fits or len(dimensions) > tables.MAX_RANK:
        allowed = f"at most {tables.MAX_RANK} dimensions, each 1 to {tables.MAX_DIMENSION}"
        raise InvalidField.of(field, list(dimensions), allowed)


def _check_unique(field: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise InvalidField.of(field, twice, "every name once")


def _check_paths(graph: graph_pb2.Graph) -> None:
    """Paths form a tree with modules and states as its leaves, so that no key is ambiguous."""
    paths = [module.path for module in graph.modules] + [state.path for state in graph.states]
    for path in paths:
        if _PATH.fullmatch(path) is None or len(path) > tables.MAX_NAME:
            raise InvalidField.of("graph path", path, "dotted names of letters, digits and '_'")
        if "training" in path.split("."):  # torch's own attribute, assigned by train() and eval()
            raise InvalidField.of("graph path", path, "no part named training")
    _check_unique("graph path", paths)
    leaves = set(paths)
    for path in paths:
        parts = path.split(".")
        above = (".".join(parts[:count]) for count in range(1, len(parts)))
        if found := next((prefix for prefix in above if prefix in leaves), None):
            raise InvalidField.of("graph path", path, f"nothing below {found}, which is a leaf")


def _check_module(where: str, module: graph_pb2.Module) -> None:
    table = tables.MODULES.get(module.kind)
    if table is None:
        name = graph_pb2.ModuleKind.Name(module.kind)
        raise InvalidField.of(f"{where}.kind", name, "a permitted class")
    if set(module.arguments) != set(table):
        allowed = "exactly " + (", ".join(table) or "none")
        raise InvalidField.of(f"{where}.arguments", sorted(module.arguments), allowed)
    for name, argument in table.items():
        value = values.to_literal(module.arguments[name])
        if not argument.accepts(value):
            raise InvalidField.of(f"{where}.arguments.{name}", value, argument.allowed())
    _check_order(where, module)


def _check_order(where: str, module: graph_pb2.Module) -> None:
    if module.kind not in tables.ORDERED:
        return
    low, high, may_be_equal = tables.ORDERED[module.kind]
    smaller, larger = module.arguments[low].real, module.arguments[high].real
    if smaller > larger or (smaller == larger and not may_be_equal):
        raise InvalidField.of(f"{where}.arguments.{low}", smaller, f"below {high}, {larger}")


def _check_state(where: str, state: graph_pb2.State) -> None:
    permitted = _TRAINABLE if state.trainable else _STORED
    if state.data_type not in permitted:
        names = [graph_pb2.DataType.Name(kind) for kind in permitted]
        got = graph_pb2.DataType.Name(state.data_type)
        raise InvalidField.of(f"{where}.data_type", got, ", ".join(names))
    _check_dimensions(f"{where}.shape", state.shape)


def _check_computations(graph: graph_pb2.Graph) -> None:
    ends: list[shapes.Shape] = []
    for where, nodes in (("graph.nodes", graph.nodes), ("graph.eval_nodes", graph.eval_nodes)):
        if nodes:
            _References(graph, where).check(nodes)
            ends.append(shapes.infer(graph, nodes, where)[nodes[-1].name])
    if ends[0] != ends[-1]:
        raise InvalidField.of("graph.eval_nodes", str(ends[-1]), f"a result like {ends[0]}")
    _check_head(graph, ends[0])


def _check_head(graph: graph_pb2.Graph, last: shapes.Shape) -> None:
    if graph.head == graph_pb2.HEAD_UNSPECIFIED:
        raise InvalidField.of("graph.head", "HEAD_UNSPECIFIED", "a head")
    least, most, words = 1, 1, "1"
    if graph.head == graph_pb2.HEAD_IDENTITY:
        least, most, words = 1, tables.MAX_ROW_ELEMENTS, "targets"
    elif graph.head == graph_pb2.HEAD_SOFTMAX:
        least, most, words = 2, tables.MAX_ROW_ELEMENTS, "classes"
    is_table = last.data_type == _FP32 and last.has_batch and len(last.dimensions) == 2  # noqa: PLR2004 - a table
    if not is_table or not least <= last.dimensions[1] <= most:
        name = graph_pb2.Head.Name(graph.head)
        raise InvalidField.of("graph.nodes", str(last), f"FP32[-1, {words}] last, for {name}")
    if graph.head_threshold and graph.head != graph_pb2.HEAD_THRESHOLD:
        raise InvalidField.of("graph.head_threshold", graph.head_threshold, "0 for this head")


class _References:
    """Checks that nodes refer to what stands before them, with arguments of the right kinds."""

    def __init__(self, graph: graph_pb2.Graph, where: str) -> None:
        self._where = where
        self._known = {
            "input": {spec.name for spec in graph.inputs},
            "state": {state.path for state in graph.states},
            "module": {module.path for module in graph.modules},
        }
        self._before: set[str] = set()

    def check(self, nodes: Sequence[graph_pb2.Node]) -> None:
        """Raises InvalidField for the first node that is wrong."""
        for index, node in enumerate(nodes):
            where = f"{self._where}[{index}]"
            _check_name(f"{where}.name", node.name)
            if node.name in self._before:
                raise InvalidField.of(f"{where}.name", node.name, "every name once")
            self._check_node(where, node)
            self._before.add(node.name)

    def _check_node(self, where: str, node: graph_pb2.Node) -> None:
        operation = node.WhichOneof("operation")
        wanted: tuple[tables.Parameter, ...] = ()
        if operation is None:
            raise InvalidField.of(f"{where}.operation", "unset", "an operation")
        if operation == "function":
            wanted = self._parameters(where, node.function)
        else:
            named = {"input": node.input, "state": node.state, "module": node.module}[operation]
            if named not in self._known[operation]:
                raise InvalidField.of(f"{where}.{operation}", named, f"a known {operation}")
            wanted = ("node",) if operation == "module" else ()
        self._check_arguments(f"{where}.arguments", node.arguments, wanted)

    @staticmethod
    def _parameters(where: str, function: graph_pb2.Function) -> tuple[tables.Parameter, ...]:
        if function not in tables.FUNCTIONS:
            name = graph_pb2.Function.Name(function)
            raise InvalidField.of(f"{where}.function", name, "a permitted function")
        return tables.FUNCTIONS[function]

    def _check_arguments(
        self,
        where: str,
        arguments: Sequence[graph_pb2.Value],
        wanted: tuple[tables.Parameter, ...],
    ) -> None:
        if len(arguments) != len(wanted):
            raise InvalidField.of(where, f"{len(arguments)} arguments", str(len(wanted)))
        count = 0
        for value, parameter in zip(arguments, wanted, strict=True):
            if not _fits(value, parameter):
                raise InvalidField.of(where, value.WhichOneof("kind"), parameter)
            names = values.references(value)
            count += len(names)
            for name in names:
                if name not in self._before:
                    raise InvalidField.of(where, name, "the name of an earlier node")
        if wanted and not count:
            raise InvalidField.of(where, "literals only", "an earlier node among them")


def _fits(value: graph_pb2.Value, parameter: tables.Parameter) -> bool:
    """Whether a value has the form of a parameter; lists are flat and bounded, thus the nesting."""
    kind = value.WhichOneof("kind")
    if kind == "list" and not 1 <= len(value.list.values) <= tables.MAX_VALUES:
        return False
    match parameter:
        case "operand":
            return kind in ("node", "real")
        case "nodes":
            return values.to_names(value) is not None
        case "integers":
            return values.to_integers(value) is not None
        case _:
            return kind == parameter

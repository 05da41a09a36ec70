"""Checks of a graph before anything is allocated, in plain integers. No torch.

Every graph is checked whole before it is used, wherever it came from: `check` is called by
`twofold.nets.net` itself. Whether operands fit each other, `twofold.nets.meta` checks.
"""

import math
import re
from collections.abc import Mapping, Sequence

from twofold import strict
from twofold.errors import InvalidField
from twofold.nets import tables, values
from twofold.nets.bounds_nodes import STORED, References, check_name, check_one_hots, check_unique
from twofold.nets.tables import StateShape
from twofold.v1 import graph_pb2

#: Stands for the batch as dimension 0.
BATCH = -1
_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_TRAINABLE = (graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_FP64)
_FP32 = graph_pb2.DATA_TYPE_FP32
#: Fields that format 1 does not have.
_OF_FORMAT_2 = ("outputs", "results", "eval_results", "ties", "frozen")
#: Least and most columns of a head's logits, and what they are; 1 for every other head.
_WIDTHS: Mapping[graph_pb2.Head, tuple[int, int, str]] = {
    graph_pb2.HEAD_IDENTITY: (1, tables.MAX_ROW_ELEMENTS, "targets"),
    graph_pb2.HEAD_SOFTMAX: (2, tables.MAX_ROW_ELEMENTS, "classes"),
    graph_pb2.HEAD_MULTILABEL: (1, tables.MAX_ROW_ELEMENTS, "labels"),
}
_LAYER_COUNTS = ("num_layers", "num_encoder_layers", "num_decoder_layers")


def check(graph: graph_pb2.Graph, max_parameters: int = tables.MAX_PARAMETERS) -> None:
    """Raises InvalidField for the first thing wrong: format, names, references, kinds, sizes."""
    _check_format(graph)
    _check_counts(graph)
    strict.check(graph, "graph")
    _check_inputs(graph)
    _check_paths(graph)
    for index, module in enumerate(graph.modules):
        _check_module(f"graph.modules[{index}]", module)
    _check_layers(graph)
    for index, state in enumerate(graph.states):
        _check_state(f"graph.states[{index}]", state)
    states = _all_states(graph)
    elements = sum(state.elements for state in states.values())
    if elements > max_parameters:
        raise InvalidField.of("graph", f"{elements} parameters", f"at most {max_parameters}")
    _check_ties(graph, states)
    _check_frozen(graph, states)
    _check_outputs(graph)
    _check_computations(graph, states)


def state_shapes(graph: graph_pb2.Graph) -> dict[str, StateShape]:
    """What weights.safetensors holds, by key; the graph must be checked.

    All parameters and buffers but for those tied to another one; also the buffers that are not
    persistent, which the net's state_dict() does not have.
    """
    found = _all_states(graph)
    for tie in graph.ties:
        del found[tie.path]
    return found


def parameter_count(graph: graph_pb2.Graph) -> int:
    """How many numbers training learns."""
    frozen = set(graph.frozen)
    shapes = state_shapes(graph).items()
    return sum(each.elements for path, each in shapes if each.is_trainable and path not in frozen)


def results(graph: graph_pb2.Graph) -> list[str]:
    """Names of the nodes that training mode answers."""
    return list(graph.results) or [graph.nodes[-1].name]


def eval_results(graph: graph_pb2.Graph) -> list[str]:
    """Names of the nodes that eval mode answers, of eval_nodes or, without them, of nodes."""
    if graph.eval_results:
        return list(graph.eval_results)
    return [graph.eval_nodes[-1].name] if graph.eval_nodes else results(graph)


def has_rows(graph: graph_pb2.Graph) -> bool:
    """Whether every output has a batch, as what is served must; a loss's has none."""
    return all(spec.shape[:1] == [BATCH] for spec in graph.outputs)


def _all_states(graph: graph_pb2.Graph) -> dict[str, StateShape]:
    found = {
        state.path: StateShape(tuple(state.shape), state.data_type, state.trainable)
        for state in graph.states
    }
    for module in graph.modules:
        for name, state in tables.MODULES[module.kind].states(_given(module)).items():
            found[f"{module.path}.{name}"] = state
    return found


def _given(module: graph_pb2.Module) -> Mapping[str, values.Literal]:
    """The arguments of a module that was checked."""
    literals = {name: values.to_literal(value) for name, value in module.arguments.items()}
    return {name: value for name, value in literals.items() if value is not values.OTHER}


def _check_format(graph: graph_pb2.Graph) -> None:
    version = graph.format_version
    if version not in tables.FORMAT_VERSIONS:
        allowed = " or ".join(map(str, tables.FORMAT_VERSIONS))
        raise InvalidField.of("graph.format_version", version, allowed)
    given = {field.name for field, _ in graph.ListFields()}
    if version == 1 and (later := given & set(_OF_FORMAT_2)):
        raise InvalidField.of("graph.format_version", version, f"2 with {min(later)}")
    if version == 1 and graph.head in (graph_pb2.HEAD_RAW, graph_pb2.HEAD_MULTILABEL):
        name = graph_pb2.Head.Name(graph.head)
        raise InvalidField.of("graph.format_version", version, f"2 with {name}")


def _check_counts(graph: graph_pb2.Graph) -> None:
    least_outputs = 0 if graph.format_version == 1 else 1
    counts = {
        "inputs": (len(graph.inputs), 1, tables.MAX_INPUTS),
        "modules": (len(graph.modules), 0, tables.MAX_MODULES),
        "states": (len(graph.states), 0, tables.MAX_STATES),
        "nodes": (len(graph.nodes), 1, tables.MAX_NODES),
        "eval_nodes": (len(graph.eval_nodes), 0, tables.MAX_NODES),
        "outputs": (len(graph.outputs), least_outputs, tables.MAX_OUTPUTS),
        "results": (len(graph.results), 0, tables.MAX_OUTPUTS),
        "eval_results": (len(graph.eval_results), 0, tables.MAX_OUTPUTS),
        "ties": (len(graph.ties), 0, tables.MAX_STATES),
        "frozen": (len(graph.frozen), 0, tables.MAX_PATHS),
    }
    for name, (count, least, most) in counts.items():
        if not least <= count <= most:
            raise InvalidField.of(f"graph.{name}", f"{count} entries", f"{least} to {most}")


def _check_inputs(graph: graph_pb2.Graph) -> None:
    for index, spec in enumerate(graph.inputs):
        where = f"graph.inputs[{index}]"
        check_name(f"{where}.name", spec.name)
        _check_type(where, spec.data_type)
        if list(spec.shape[:1]) != [BATCH]:
            raise InvalidField.of(f"{where}.shape", list(spec.shape), "-1 as dimension 0")
        _check_dimensions(f"{where}.shape", spec.shape[1:])
        if math.prod(spec.shape[1:]) > tables.MAX_ROW_ELEMENTS:
            allowed = f"at most {tables.MAX_ROW_ELEMENTS} elements per row"
            raise InvalidField.of(f"{where}.shape", list(spec.shape), allowed)
    check_unique("graph.inputs", [spec.name for spec in graph.inputs])


def _check_type(where: str, data_type: graph_pb2.DataType) -> None:
    if data_type not in STORED:
        name = graph_pb2.DataType.Name(data_type)
        raise InvalidField.of(f"{where}.data_type", name, "FP32, FP64, INT64, INT32 or BOOL")


def _check_dimensions(field: str, dimensions: Sequence[int]) -> None:
    fits = all(1 <= size <= tables.MAX_DIMENSION for size in dimensions)
    if not fits or len(dimensions) > tables.MAX_RANK:
        allowed = f"at most {tables.MAX_RANK} dimensions, each 1 to {tables.MAX_DIMENSION}"
        raise InvalidField.of(field, list(dimensions), allowed)


def _check_paths(graph: graph_pb2.Graph) -> None:
    """Paths form a tree with modules and states as its leaves, so that no key is ambiguous."""
    paths = [module.path for module in graph.modules] + [state.path for state in graph.states]
    for path in paths:
        if _PATH.fullmatch(path) is None or len(path) > tables.MAX_NAME:
            raise InvalidField.of("graph path", path, "dotted names of letters, digits and '_'")
        if "training" in path.split("."):  # torch's own attribute, assigned by train() and eval()
            raise InvalidField.of("graph path", path, "no part named training")
    check_unique("graph path", paths)
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
    if set(module.arguments) != set(table.arguments):
        allowed = "exactly " + (", ".join(table.arguments) or "none")
        raise InvalidField.of(f"{where}.arguments", sorted(module.arguments), allowed)
    for name, argument in table.arguments.items():
        value = values.to_literal(module.arguments[name])
        if not argument.accepts(value):
            raise InvalidField.of(f"{where}.arguments.{name}", value, argument.allowed())
    if problem := table.problem(_given(module)):
        kind = graph_pb2.ModuleKind.Name(module.kind).removeprefix("MODULE_KIND_")
        raise InvalidField.of(f"{where}.arguments", problem, f"arguments that {kind} takes")


def _check_layers(graph: graph_pb2.Graph) -> None:
    """All layers of stacks together are bounded, before the states of each are listed."""
    total = sum(
        module.arguments[name].integer
        for module in graph.modules
        for name in _LAYER_COUNTS
        if name in module.arguments
    )
    if total > tables.MAX_LAYERS:
        raise InvalidField.of("graph.modules", f"{total} layers", f"at most {tables.MAX_LAYERS}")


def _check_state(where: str, state: graph_pb2.State) -> None:
    permitted = _TRAINABLE if state.trainable else STORED
    if state.data_type not in permitted:
        names = [graph_pb2.DataType.Name(kind) for kind in permitted]
        got = graph_pb2.DataType.Name(state.data_type)
        raise InvalidField.of(f"{where}.data_type", got, ", ".join(names))
    _check_dimensions(f"{where}.shape", state.shape)
    if state.non_persistent and state.trainable:
        raise InvalidField.of(f"{where}.non_persistent", "true", "false for what is trained")


def _check_ties(graph: graph_pb2.Graph, states: Mapping[str, StateShape]) -> None:
    tied = [tie.path for tie in graph.ties]
    check_unique("graph.ties", tied)
    for index, tie in enumerate(graph.ties):
        where = f"graph.ties[{index}]"
        for field, path in (("path", tie.path), ("source", tie.source)):
            if path not in states or not states[path].is_trainable:
                raise InvalidField.of(f"{where}.{field}", path, "the path of a parameter")
        if tie.source in tied:
            raise InvalidField.of(f"{where}.source", tie.source, "what is not tied itself")
        if states[tie.path] != states[tie.source]:
            shown = f"{tie.path} of shape {list(states[tie.path].shape)}"
            allowed = f"the type and shape {list(states[tie.source].shape)} of {tie.source}"
            raise InvalidField.of(where, shown, allowed)


def _check_frozen(graph: graph_pb2.Graph, states: Mapping[str, StateShape]) -> None:
    check_unique("graph.frozen", graph.frozen)
    tied = {tie.path for tie in graph.ties}
    for path in graph.frozen:
        if path not in states or not states[path].is_trainable or path in tied:
            raise InvalidField.of("graph.frozen", path, "the path of a parameter, not tied")


def _check_outputs(graph: graph_pb2.Graph) -> None:
    for index, spec in enumerate(graph.outputs):
        where = f"graph.outputs[{index}]"
        check_name(f"{where}.name", spec.name)
        _check_type(where, spec.data_type)
        if spec.shape and spec.shape[0] != BATCH:
            raise InvalidField.of(f"{where}.shape", list(spec.shape), "-1 as dimension 0")
        _check_dimensions(f"{where}.shape", spec.shape[1:])
    check_unique("graph.outputs", [spec.name for spec in graph.outputs])
    check_head(graph, graph.outputs)


def check_head(graph: graph_pb2.Graph, outputs: Sequence[graph_pb2.TensorSpec]) -> None:
    """Raises InvalidField where outputs are not what the head takes; of none all but the head."""
    if graph.head == graph_pb2.HEAD_UNSPECIFIED:
        raise InvalidField.of("graph.head", "HEAD_UNSPECIFIED", "a head")
    if graph.head_threshold and graph.head != graph_pb2.HEAD_THRESHOLD:
        raise InvalidField.of("graph.head_threshold", graph.head_threshold, "0 for this head")
    if graph.head == graph_pb2.HEAD_RAW:
        return
    least, most, words = _WIDTHS.get(graph.head, (1, 1, "1"))
    allowed = f"FP32[-1, {words}] alone, for {graph_pb2.Head.Name(graph.head)}"
    if len(outputs) > 1:
        raise InvalidField.of("graph.outputs", f"{len(outputs)} outputs", allowed)
    for spec in outputs:
        is_table = spec.data_type == _FP32 and len(spec.shape) == 2  # noqa: PLR2004 - a table
        if not is_table or not least <= spec.shape[1] <= most:
            raise InvalidField.of("graph.outputs", spec_words(spec), allowed)


def spec_words(spec: graph_pb2.TensorSpec) -> str:
    """A spec as people write it: FP32[-1, 3]."""
    name = graph_pb2.DataType.Name(spec.data_type).removeprefix("DATA_TYPE_")
    return f"{name}{list(spec.shape)}"


def _check_computations(graph: graph_pb2.Graph, states: Mapping[str, StateShape]) -> None:
    training = References(graph, states, "graph.nodes")
    training.check(graph.nodes)
    training.check_results("graph.results", graph.results)
    answering = training
    if graph.eval_nodes:
        answering = References(graph, states, "graph.eval_nodes")
        answering.check(graph.eval_nodes)
    answering.check_results("graph.eval_results", graph.eval_results)
    check_one_hots((*graph.nodes, *graph.eval_nodes))
    outputs = len(graph.outputs) or 1
    if len(results(graph)) < outputs:
        shown = f"{len(results(graph))} results"
        raise InvalidField.of("graph.results", shown, f"one for each of {outputs} outputs")
    if len(eval_results(graph)) != outputs:
        shown = f"{len(eval_results(graph))} results"
        raise InvalidField.of("graph.eval_results", shown, f"one for each of {outputs} outputs")

"""The graph of two passes: its nodes, what it answers, its modules and states."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from twofold.errors import InvalidField
from twofold.nets import bounds, meta, tables, values
from twofold.nets.trace_errors import refused
from twofold.nets.trace_leaves import Leaves
from twofold.nets.trace_record import Passed
from twofold.nets.trace_stand import Pair, Stand
from twofold.nets.trace_states import States, spec_of
from twofold.nets.trace_values import data_type
from twofold.v1 import graph_pb2

#: Words in the names of functions and kinds that draw random numbers.
_DRAWING = ("DROPOUT", "RAND", "RRELU")


def graph(
    passes: Sequence[Passed],
    inputs: Mapping[str, Pair],
    states: States,
    leaves: Leaves,
    *,
    is_loss: bool,
) -> graph_pb2.Graph:
    """The graph; raises InvalidModule for what may not be answered."""
    training, answering = passes
    found = graph_pb2.Graph(format_version=tables.FORMAT_VERSION, head=graph_pb2.HEAD_RAW)
    for name, (few, _) in inputs.items():
        kind = data_type(few.dtype, name)
        found.inputs.add(name=name, data_type=kind, shape=[bounds.BATCH, *few.shape[1:]])
    found.modules.extend(leaves.called.values())
    outputs = named(answering.returned)
    rows = tuple(len(value) for value in next(iter(inputs.values())))
    for name, stand in outputs.items():
        found.outputs.append(_spec(name, stand, rows, is_loss=is_loss))
    results = [stand.name for stand in in_order(named(training.returned), outputs)]
    active = {path for path, each in leaves.called.items() if _acts(each)}
    found.nodes.extend(needed(training.nodes, results, active))
    found.results.extend(results)
    eval_results = [stand.name for stand in outputs.values()]
    eval_nodes = needed(answering.nodes, eval_results, ())
    if eval_nodes != list(found.nodes) or eval_results != results:
        found.eval_nodes.extend(eval_nodes)
        found.eval_results.extend(eval_results)
    _add_states(found, states)
    return found


def _spec(name: str, stand: Stand, rows: Sequence[int], *, is_loss: bool) -> graph_pb2.TensorSpec:
    """Type and shape of an output, whose dimension 0 is the batch; of a loss it may have none."""
    few, many = zip(stand.values, rows, strict=True)
    try:
        found = meta.spec(name, name, few, many)
    except InvalidField as error:
        raise refused(
            f"forward() returns {error.message}", "keep the batch as dimension 0"
        ) from error
    if found.shape[:1] == [bounds.BATCH] or (is_loss and not found.shape):
        return found
    problem = f"forward() returns {name} as {bounds.spec_words(found)} for any batch"
    raise refused(problem, "keep the batch as dimension 0, and reduce over the others")


def by_name(returned: Any) -> dict[str, Any]:
    """What forward() returned, by the names of outputs."""
    if isinstance(returned, Mapping):
        return {_name(key): value for key, value in returned.items()}
    if isinstance(returned, (tuple, list)) and returned:
        return {f"output_{index}": value for index, value in enumerate(returned)}
    return {"output": returned}


def named(returned: Any) -> dict[str, Stand]:
    """Likewise; raises InvalidModule for what is no tensor."""
    return {name: _output(value, name) for name, value in by_name(returned).items()}


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise refused(f"forward() returns {key!r} as a key", "name outputs by text")
    return key


def _output(value: Any, what: str) -> Stand:
    if type(value) is Stand and isinstance(value.few, Tensor):
        if value.stale is not None:
            problem = f"forward() returns a view of what {value.stale} wrote over"
            raise refused(problem, "write y = x + 1 instead of x += 1")
        return value
    raise _unanswerable(what, value)


def _unanswerable(what: str, value: Any) -> Exception:
    if dataclasses.is_dataclass(value):
        way_out = "return a dictionary of its tensors; its keys name the outputs"
        return refused(f"forward() returns {what} as {type(value).__name__}", way_out)
    if isinstance(value, Tensor):
        return refused(f"forward() returns {what} without computing it", "return what it computes")
    shown = "None" if value is None else type(value).__name__
    way_out = "return a tensor, a tuple of tensors or a dictionary of tensors"
    return refused(f"forward() returns {what} as {shown}", way_out)


def in_order(training: Mapping[str, Any], answered: Iterable[str]) -> list[Any]:
    """What training answers: first what eval mode answers too, by name or by place; the rest."""
    first = list(answered)
    if set(first) <= set(training):
        return [training[name] for name in (*first, *(n for n in training if n not in first))]
    if len(training) < len(first):
        shown = f"{len(training)} outputs in training and {len(first)} in eval mode"
        raise refused(f"forward() returns {shown}", "return what eval mode does, then the rest")
    return list(training.values())


def _acts(module: graph_pb2.Module) -> bool:
    """Whether a module draws random numbers or counts while it trains."""
    given = {name: values.to_literal(value) for name, value in module.arguments.items()}
    name = graph_pb2.ModuleKind.Name(module.kind)
    is_drawing = any(word in name for word in _DRAWING) or bool(given.get("dropout"))
    return is_drawing or given.get("track_running_stats") is True


def needed(
    nodes: Sequence[graph_pb2.Node], results: Sequence[str], active: Iterable[str]
) -> list[graph_pb2.Node]:
    """Nodes that results come from, functions that draw, and modules that are `active`."""
    wanted = set(results)
    found: list[graph_pb2.Node] = []
    for node in reversed(nodes):
        if node.name in wanted or node.input or node.module in active or _draws(node):
            found.append(node)
            for value in node.arguments:
                wanted.update(values.references(value))
    return found[::-1]


def _draws(node: graph_pb2.Node) -> bool:
    name = graph_pb2.Function.Name(node.function)
    return any(word in name for word in _DRAWING)


def _add_states(graph: graph_pb2.Graph, states: States) -> None:
    """States that no module of the graph has, what is tied, and what is frozen."""
    ours = {f"{module.path}.": module for module in graph.modules}
    read = {node.state for node in (*graph.nodes, *graph.eval_nodes) if node.state}
    for held in states.held():
        first, *others = held.paths
        is_constant = not held.is_persistent and not held.is_parameter
        for path in held.paths:
            is_inside = any(path.startswith(prefix) for prefix in ours)
            if not is_inside and (path in read or not is_constant):
                graph.states.append(spec_of(held, path))
        for path in others:
            graph.ties.add(path=path, source=first)
        if held.is_parameter and not held.tensor.requires_grad:
            graph.frozen.append(first)


def state(graph: graph_pb2.Graph, states: States) -> dict[str, Tensor]:
    """The tensors of a graph by path."""
    found = {held.paths[0]: held.tensor for held in states.held()}
    return {path: found[path].detach() for path in bounds.state_shapes(graph) if path in found}

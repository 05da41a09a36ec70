"""Shapes and element types of every node, in plain integers: nothing is allocated. No torch.

Dimension 0 of what depends on the batch is BATCH; states have no batch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twofold.errors import InvalidField
from twofold.nets import tables, values
from twofold.v1 import graph_pb2

BATCH = -1
_FLOATS = (graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_FP64)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a node computes."""

    data_type: graph_pb2.DataType
    dimensions: tuple[int, ...]

    @property
    def has_batch(self) -> bool:
        """Whether dimension 0 is the batch."""
        return self.dimensions[:1] == (BATCH,)

    @property
    def row_elements(self) -> int:
        """Elements per row; all elements of what has no batch."""
        return math.prod(self.dimensions[1:] if self.has_batch else self.dimensions)

    def __str__(self) -> str:
        name = graph_pb2.DataType.Name(self.data_type).removeprefix("DATA_TYPE_")
        return f"{name}{list(self.dimensions)}"


def infer(graph: graph_pb2.Graph, nodes: Sequence[graph_pb2.Node], where: str) -> dict[str, Shape]:
    """The shape of every node by name; the graph must have passed the checks of references.

    Raises:
        InvalidField: operands do not fit, or a row of a result is too large; names the node.
    """
    modules = {module.path: module for module in graph.modules}
    sources = {
        "input": {spec.name: _given(spec.data_type, spec.shape) for spec in graph.inputs},
        "state": {state.path: _given(state.data_type, state.shape) for state in graph.states},
    }
    shapes: dict[str, Shape] = {}
    for index, node in enumerate(nodes):
        path = f"{where}[{index}]"
        match node.WhichOneof("operation"):
            case "input":
                shape = sources["input"][node.input]
            case "state":
                shape = sources["state"][node.state]
            case "module":
                operand = shapes[node.arguments[0].node]
                shape = _of_module(path, modules[node.module], operand)
            case _:
                shape = _OF_FUNCTION[node.function](path, node.arguments, shapes)
        _check_size(path, shape)
        shapes[node.name] = shape
    return shapes


def _given(data_type: graph_pb2.DataType, dimensions: Sequence[int]) -> Shape:
    return Shape(data_type, tuple(dimensions))


def _check_size(path: str, shape: Shape) -> None:
    # States are bounded by the count of parameters instead.
    if shape.has_batch and shape.row_elements > tables.MAX_ROW_ELEMENTS:
        allowed = f"at most {tables.MAX_ROW_ELEMENTS} elements per row"
        raise InvalidField.of(path, str(shape), allowed)


def _of_module(path: str, module: graph_pb2.Module, operand: Shape) -> Shape:
    if operand.data_type not in _FLOATS or not operand.has_batch:
        raise InvalidField.of(path, str(operand), "an operand of floats with a batch")
    last = operand.dimensions[-1]
    if module.kind == graph_pb2.MODULE_KIND_LINEAR:
        width = module.arguments["in_features"].integer
        if last != width or len(operand.dimensions) == 1 or not _is_fp32(operand):
            raise InvalidField.of(path, str(operand), f"FP32[-1, ..., {width}]")
        out = module.arguments["out_features"].integer
        return Shape(operand.data_type, (*operand.dimensions[:-1], out))
    if module.kind == graph_pb2.MODULE_KIND_PRELU:
        count = module.arguments["num_parameters"].integer
        if not _is_fp32(operand) or (count > 1 and operand.dimensions[1:2] != (count,)):
            raise InvalidField.of(path, str(operand), f"FP32[-1, {count}, ...]")
    return operand


def _is_fp32(shape: Shape) -> bool:
    return shape.data_type == graph_pb2.DATA_TYPE_FP32


_Arguments = Sequence[graph_pb2.Value]
_Shapes = Mapping[str, Shape]


def _of_arithmetic(path: str, arguments: _Arguments, shapes: _Shapes) -> Shape:
    operands = [shapes[name] for value in arguments for name in values.references(value)]
    types = {operand.data_type for operand in operands}
    if len(types) != 1 or not types <= set(_FLOATS):
        raise InvalidField.of(path, _words(operands), "operands of one float type")
    dimensions = operands[0].dimensions
    for operand in operands[1:]:
        dimensions = _broadcast(dimensions, operand.dimensions)
    if BATCH in dimensions[1:] or 0 in dimensions:
        raise InvalidField.of(path, _words(operands), "operands that broadcast, batch first")
    return Shape(types.pop(), dimensions)


def _words(operands: Sequence[Shape]) -> str:
    return ", ".join(str(operand) for operand in operands)


def _broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape by torch's rules; 0 stands where two dimensions do not fit."""
    rank = max(len(left), len(right))
    left = (1,) * (rank - len(left)) + left
    right = (1,) * (rank - len(right)) + right
    return tuple(
        one if other in (one, 1) else other if one == 1 else 0
        for one, other in zip(left, right, strict=True)
    )


def _of_cat(path: str, arguments: _Arguments, shapes: _Shapes) -> Shape:
    operands = [shapes[name] for name in values.references(arguments[0])]
    axis = _axis(path, arguments[1].integer, operands[0])
    kinds = {
        (part.data_type, part.dimensions[:axis], part.dimensions[axis + 1 :]) for part in operands
    }
    ranks = {len(part.dimensions) for part in operands}
    if len(kinds) != 1 or len(ranks) != 1 or not operands[0].has_batch:
        raise InvalidField.of(path, _words(operands), f"operands alike but for dimension {axis}")
    first = operands[0].dimensions
    joined = sum(operand.dimensions[axis] for operand in operands)
    return Shape(operands[0].data_type, (*first[:axis], joined, *first[axis + 1 :]))


def _axis(path: str, axis: int, operand: Shape) -> int:
    rank = len(operand.dimensions)
    if not 1 <= axis < rank:
        raise InvalidField.of(path, axis, f"a dimension from 1 to {rank - 1} of {operand}")
    return axis


def _of_one_hot(path: str, arguments: _Arguments, shapes: _Shapes) -> Shape:
    operand = shapes[arguments[0].node]
    classes = values.to_integers(arguments[1]) or []
    expected = Shape(graph_pb2.DATA_TYPE_INT64, (BATCH, len(classes)))
    if operand != expected:
        raise InvalidField.of(path, str(operand), str(expected))
    if not all(1 <= count <= tables.MAX_ROW_ELEMENTS for count in classes):
        allowed = f"classes from 1 to {tables.MAX_ROW_ELEMENTS}"
        raise InvalidField.of(path, classes, allowed)
    return Shape(graph_pb2.DATA_TYPE_FP32, (BATCH, sum(classes)))


def _of_flatten(path: str, arguments: _Arguments, shapes: _Shapes) -> Shape:
    operand = shapes[arguments[0].node]
    start = _axis(path, arguments[1].integer, operand)
    kept = operand.dimensions[:start]
    return Shape(operand.data_type, (*kept, math.prod(operand.dimensions[start:])))


_OF_FUNCTION: Mapping[graph_pb2.Function, Callable[[str, _Arguments, _Shapes], Shape]] = {
    graph_pb2.FUNCTION_ADD: _of_arithmetic,
    graph_pb2.FUNCTION_SUB: _of_arithmetic,
    graph_pb2.FUNCTION_MUL: _of_arithmetic,
    graph_pb2.FUNCTION_DIV: _of_arithmetic,
    graph_pb2.FUNCTION_CAT: _of_cat,
    graph_pb2.FUNCTION_ONE_HOT: _of_one_hot,
    graph_pb2.FUNCTION_FLATTEN: _of_flatten,
}

"""A graph that grows node by node, for the catalogue's families. No torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from twofold.nets import tables, values
from twofold.v1 import graph_pb2


@dataclass(frozen=True, slots=True)
class Drawn:
    """A node of a draft that computes [batch, *shape], or [*shape] where it reads a state."""

    name: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Columns of a row, or channels of a map."""
        return self.shape[0]

    @property
    def elements(self) -> int:
        """Numbers per row."""
        return math.prod(self.shape)


@dataclass(slots=True)
class Draft:
    """A graph in the making; each method appends what it says and returns the new node."""

    graph: graph_pb2.Graph = field(
        default_factory=lambda: graph_pb2.Graph(format_version=tables.FORMAT_VERSION)
    )
    #: Numbers that all nodes together compute per row, what modules compute inside included.
    row_elements: int = 0
    #: Numbers per row of the largest node.
    largest: int = 0

    def read(
        self, name: str, data_type: graph_pb2.DataType, shape: tuple[int, ...], node: str = ""
    ) -> Drawn:
        """Reads a new input [batch, *shape]; the node has the input's name unless it is given."""
        self.graph.inputs.add(name=name, data_type=data_type, shape=[-1, *shape])
        self.graph.nodes.add(name=node or name, input=name)
        return self._drawn(node or name, shape)

    def read_state(self, path: str, shape: tuple[int, ...]) -> Drawn:
        """Reads a new buffer of float32, which has no batch."""
        self.graph.states.add(path=path, data_type=graph_pb2.DATA_TYPE_FP32, shape=shape)
        self.graph.nodes.add(name=path, state=path)
        return Drawn(path, shape)

    def call(
        self,
        name: str,
        function: graph_pb2.Function,
        operands: Sequence[graph_pb2.Value],
        shape: tuple[int, ...],
    ) -> Drawn:
        """Calls a function that computes `shape` per row."""
        self.graph.nodes.add(name=name, function=function, arguments=operands)
        return self._drawn(name, shape)

    def pair(self, name: str, function: graph_pb2.Function, left: Drawn, right: Drawn) -> Drawn:
        """Calls a function of two nodes that keeps the shape of the first."""
        return self.call(
            name, function, [values.node(left.name), values.node(right.name)], left.shape
        )

    def item(self, name: str, pieces: Drawn, place: int, shape: tuple[int, ...]) -> Drawn:
        """One of several results of a node, or of a tensor's first dimension; -1 is the last."""
        operands = [values.node(pieces.name), values.literal(place)]
        return self.call(name, graph_pb2.FUNCTION_GETITEM, operands, shape)

    def apply(
        self,
        path: str,
        operand: Drawn,
        kind: graph_pb2.ModuleKind,
        shape: tuple[int, ...] | None = None,
        **given: values.Literal,
    ) -> Drawn:
        """Calls a new module, which keeps the shape unless another one is given."""
        self.graph.modules.add(path=path, kind=kind, arguments=tables.arguments(kind, **given))
        self.graph.nodes.add(name=path, module=path, arguments=[values.node(operand.name)])
        return self._drawn(path, operand.shape if shape is None else shape)

    def linear(self, path: str, operand: Drawn, width: int) -> Drawn:
        """Calls a new linear layer of `width` outputs."""
        sizes = {"in_features": operand.width, "out_features": width}
        return self.apply(path, operand, graph_pb2.MODULE_KIND_LINEAR, (width,), **sizes)

    def dropout(self, path: str, operand: Drawn, rate: float) -> Drawn:
        """Calls a new dropout; nothing where the rate is 0."""
        if not rate:
            return operand
        return self.apply(path, operand, graph_pb2.MODULE_KIND_DROPOUT, p=rate)

    def _drawn(self, name: str, shape: tuple[int, ...]) -> Drawn:
        drawn = Drawn(name, shape)
        self.row_elements += drawn.elements
        self.largest = max(self.largest, drawn.elements)
        return drawn

"""Graphs that users send: checked, measured, compared with their weights, before a job is made."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Protocol

from trainer.datasets import need_weights
from trainer.reading.weights import read_shapes
from twofold import names, spec_loss, strict
from twofold.errors import InvalidField
from twofold.nets import bounds
from twofold.store import Store
from twofold.v1 import graph_pb2, spec_pb2

_TYPES: Mapping[str, graph_pb2.DataType] = {
    "F32": graph_pb2.DATA_TYPE_FP32,
    "F64": graph_pb2.DATA_TYPE_FP64,
    "I64": graph_pb2.DATA_TYPE_INT64,
    "I32": graph_pb2.DATA_TYPE_INT32,
    "BOOL": graph_pb2.DATA_TYPE_BOOL,
}


class MeasureGraph(Protocol):
    """See trainer.checker.GraphChecker."""

    def __call__(
        self, graph: graph_pb2.Graph | None, loss: graph_pb2.Graph | None = None, /
    ) -> Awaitable[int]:
        """Numbers that a network and a loss compute per row."""
        ...


@dataclass(frozen=True, slots=True)
class GraphDesk:
    """Where graphs are taken in."""

    measure: MeasureGraph
    max_parameters: int

    async def measured(self, spec: spec_pb2.TrainingSpec, store: Store, tenant: str) -> int:
        """Numbers that the graphs of a spec, network and loss, compute together per row; else 0.

        Raises:
            InvalidField: a graph is wrong in itself, or its weights are not those of the graph, or
                the loss takes other results than the network's.
            NotFound: there is no such data set of weights.
        """
        graph = loss = None
        if spec.network.HasField("graph"):
            graph = await self._checked(spec.network, store, tenant)
        if spec.training.HasField("loss_graph"):
            loss = graph_pb2.Graph()
            loss.CopyFrom(spec.training.loss_graph)
            spec_loss.check_graph(loss)
            if graph is not None:
                spec_loss.require_outputs(loss, graph.outputs)
        if graph is None and loss is None:
            return 0
        return await self.measure(graph, loss)

    async def _checked(
        self, network: spec_pb2.NetworkSpec, store: Store, tenant: str
    ) -> graph_pb2.Graph:
        """A network's graph, as far as that goes without torch."""
        strict.check(network, "network")
        graph = graph_pb2.Graph()
        graph.CopyFrom(network.graph)
        graph.head = graph.head or graph_pb2.HEAD_RAW
        try:
            bounds.check(graph, self.max_parameters)
        except InvalidField as error:
            field = f"network.{error.fields.get('field', 'graph')}"
            raise InvalidField(f"network.{error.message}", field=field) from error
        sha256 = names.check_sha256("network.weights", network.weights)
        path = await asyncio.to_thread(need_weights, store, tenant, sha256)
        require_same(graph, await asyncio.to_thread(read_shapes, path))
        return graph


def require_same(graph: graph_pb2.Graph, found: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """Raises InvalidField where weights are not one tensor per stored state of a checked graph."""
    expected = bounds.state_shapes(graph)
    for name in sorted(expected.keys() ^ found.keys()):
        problem = "weights without" if name in expected else "weights with the unknown"
        allowed = "one tensor per parameter and buffer of the graph"
        raise InvalidField.of("network.weights", f"{problem} {name}", allowed)
    for name, state in expected.items():
        data_type, shape = found[name]
        if (_TYPES.get(data_type), shape) != (state.data_type, state.shape):
            wanted = f"{graph_pb2.DataType.Name(state.data_type)}{list(state.shape)}"
            shown = f"{name} as {data_type}{list(shape)}"
            raise InvalidField.of("network.weights", shown, wanted)

"""The computation of a graph as a list of steps over numbered slots: no generated code.

Slots 0, 1, ... hold the inputs; every step appends one value. Steps refer to modules as plain
objects, never by closures, so that copying a net copies its steps onto the copied modules.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from twofold.nets import values
from twofold.v1 import graph_pb2

_ARITHMETIC: Mapping[graph_pb2.Function, Callable[[Tensor, Tensor], Tensor]] = {
    graph_pb2.FUNCTION_ADD: operator.add,
    graph_pb2.FUNCTION_SUB: operator.sub,
    graph_pb2.FUNCTION_MUL: operator.mul,
    graph_pb2.FUNCTION_DIV: operator.truediv,
}


class Step(Protocol):
    """One operation."""

    def run(self, slots: list[Tensor]) -> Tensor:
        """The value of the next slot."""
        ...


@dataclass(slots=True)
class Apply:
    """Calls a module on a slot."""

    module: nn.Module
    source: int

    def run(self, slots: list[Tensor]) -> Tensor:
        """See Step."""
        return self.module(slots[self.source])


@dataclass(slots=True)
class Read:
    """Reads a parameter or buffer, each time anew: moving a net to a device replaces buffers."""

    holder: nn.Module
    leaf: str

    def run(self, slots: list[Tensor]) -> Tensor:
        """See Step."""
        del slots
        found = self.holder._parameters.get(self.leaf)  # noqa: SLF001 - getattr would take user names
        if found is None:
            found = self.holder._buffers[self.leaf]  # noqa: SLF001 - likewise
        assert found is not None  # noqa: S101 - load put it there; narrows the type
        return found


@dataclass(slots=True)
class Arithmetic:
    """a + b and its like; an int is a slot, a float a literal."""

    function: Callable[[Tensor, Tensor], Tensor]
    left: int | float
    right: int | float

    def run(self, slots: list[Tensor]) -> Tensor:
        """See Step."""
        left = slots[self.left] if isinstance(self.left, int) else self.left
        right = slots[self.right] if isinstance(self.right, int) else self.right
        return self.function(left, right)  # pyright: ignore[reportArgumentType] - tensors take floats


@dataclass(slots=True)
class Cat:
    """torch.cat."""

    sources: list[int]
    axis: int

    def run(self, slots: list[Tensor]) -> Tensor:
        """See Step."""
        return torch.cat([slots[source] for source in self.sources], self.axis)


@dataclass(slots=True)
class Flatten:
    """x.flatten(start_dim)."""

    source: int
    start: int

    def run(self, slots: list[Tensor]) -> Tensor:
        """See Step."""
        return slots[self.source].flatten(self.start)


@dataclass(slots=True)
class Plan:
    """Steps and the slot of the result."""

    steps: list[Step]
    result: int

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """The result for these inputs."""
        slots = list(inputs)
        for step in self.steps:
            slots.append(step.run(slots))
        return slots[self.result]


@dataclass(slots=True)
class Parts:
    """What steps refer to, by the names that the graph gives them."""

    modules: Mapping[str, nn.Module]
    #: The container of a state's last name, by the state's path.
    holders: Mapping[str, nn.Module]
    #: The module of every one-hot node, by the node's name.
    one_hots: Mapping[str, nn.Module]


def plan(graph: graph_pb2.Graph, nodes: Sequence[graph_pb2.Node], parts: Parts) -> Plan:
    """The steps of checked nodes."""
    inputs = {spec.name: index for index, spec in enumerate(graph.inputs)}
    slots: dict[str, int] = {}
    steps: list[Step] = []
    for node in nodes:
        if node.WhichOneof("operation") == "input":
            slots[node.name] = inputs[node.input]
        else:
            slots[node.name] = len(inputs) + len(steps)
            steps.append(_step(node, slots, parts))
    return Plan(steps, slots[nodes[-1].name])


def _step(node: graph_pb2.Node, slots: Mapping[str, int], parts: Parts) -> Step:
    if node.WhichOneof("operation") == "state":
        return Read(parts.holders[node.state], node.state.rpartition(".")[2])
    first = node.arguments[0]
    if node.WhichOneof("operation") == "module":
        return Apply(parts.modules[node.module], slots[first.node])
    match node.function:
        case graph_pb2.FUNCTION_CAT:
            sources = [slots[name] for name in values.references(first)]
            return Cat(sources, node.arguments[1].integer)
        case graph_pb2.FUNCTION_ONE_HOT:
            return Apply(parts.one_hots[node.name], slots[first.node])
        case graph_pb2.FUNCTION_FLATTEN:
            return Flatten(slots[first.node], node.arguments[1].integer)
        case _:
            left, right = (_operand(value, slots) for value in node.arguments)
            return Arithmetic(_ARITHMETIC[node.function], left, right)


def _operand(value: graph_pb2.Value, slots: Mapping[str, int]) -> int | float:
    return slots[value.node] if value.WhichOneof("kind") == "node" else value.real

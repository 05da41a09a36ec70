"""The computation of a graph as a list of steps over numbered slots: no generated code.

Slots 0, 1, ... hold the inputs; every literal has a slot of its own, filled ahead, and every step
fills one. Steps refer to modules as plain objects, never by closures, so that copying a net copies
its steps onto the copied modules.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from twofold.nets import bounds, data_types, tables, values
from twofold.nets.functions import CALLS, FACTORIES
from twofold.v1 import graph_pb2

#: Tensors, numbers, tuples of them, and literals.
Slots = list[Any]


class Step(Protocol):
    """One operation."""

    def run(self, slots: Slots) -> Any:  # noqa: ANN401 - a tensor, a number or a tuple
        """The value of the step's slot."""
        ...


@dataclass(slots=True)
class Apply:
    """Calls a module on one slot."""

    module: nn.Module
    source: int

    def run(self, slots: Slots) -> Any:  # noqa: ANN401 - as the module
        """See Step."""
        return self.module(slots[self.source])


@dataclass(slots=True)
class ApplyAll:
    """Calls a module on several slots."""

    module: nn.Module
    sources: tuple[int, ...]

    def run(self, slots: Slots) -> Any:  # noqa: ANN401 - as the module
        """See Step."""
        return self.module(*[slots[source] for source in self.sources])


@dataclass(slots=True)
class Read:
    """Reads a parameter or buffer, each time anew: moving a net to a device replaces buffers."""

    holder: nn.Module
    leaf: str

    def run(self, slots: Slots) -> Tensor:
        """See Step."""
        del slots
        found = self.holder._parameters.get(self.leaf)  # noqa: SLF001 - getattr would take user names
        if found is None:
            found = self.holder._buffers[self.leaf]  # noqa: SLF001 - likewise
        assert found is not None  # noqa: S101 - load put it there; narrows the type
        return found


@dataclass(slots=True)
class Call:
    """Calls a function on slots."""

    function: Callable[..., Any]
    sources: tuple[int, ...]

    def run(self, slots: Slots) -> Any:  # noqa: ANN401 - as the function
        """See Step."""
        return self.function(*[slots[source] for source in self.sources])


@dataclass(slots=True)
class Collect:
    """Makes a tuple, list or slice of slots."""

    make: Callable[..., Any]
    sources: tuple[int, ...]

    def run(self, slots: Slots) -> Any:  # noqa: ANN401 - a tuple, list or slice
        """See Step."""
        return self.make(slots[source] for source in self.sources)


def to_slice(parts: Any) -> slice:  # noqa: ANN401 - an iterable of numbers and None
    """slice(start, stop, step) of three values."""
    return slice(*parts)


@dataclass(slots=True)
class Plan:
    """Steps, in order, and what they start from."""

    #: Literals in their slots, None in all others.
    template: Slots
    #: Each step, its slot, and the slots that nothing reads after it.
    steps: list[tuple[Step, int, tuple[int, ...]]]
    #: Slots of the results.
    results: tuple[int, ...]
    #: The node that each step belongs to, for messages.
    origins: list[int]

    def start(self, inputs: Sequence[Tensor]) -> Slots:
        """Slots before the first step."""
        slots = self.template.copy()
        slots[: len(inputs)] = inputs
        return slots

    def run(self, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """The result for these inputs; a tuple where there are several."""
        slots = self.template.copy()
        slots[: len(inputs)] = inputs
        for step, target, done in self.steps:
            slots[target] = step.run(slots)
            for slot in done:
                slots[slot] = None
        if len(self.results) == 1:
            return slots[self.results[0]]
        return tuple(slots[slot] for slot in self.results)


@dataclass(slots=True)
class Parts:
    """What steps refer to, by the names that the graph gives them."""

    modules: Mapping[str, nn.Module]
    #: Finds the module that holds a state, and the state's name in it, by the state's path.
    find: Callable[[str], tuple[nn.Module, str]]
    #: The modules of one-hot nodes, by their classes.
    one_hots: Mapping[tuple[int, ...], nn.Module]


def plan(graph: graph_pb2.Graph, parts: Parts, *, is_training: bool) -> Plan:
    """The steps of one mode of a checked graph."""
    kinds = {module.path: module.kind for module in graph.modules}
    planner = _Planner(parts, kinds, [None] * len(graph.inputs), is_training=is_training)
    planner.inputs.update({spec.name: index for index, spec in enumerate(graph.inputs)})
    planner.computed.update(range(len(graph.inputs)))
    nodes = graph.nodes if is_training else graph.eval_nodes or graph.nodes
    for index, node in enumerate(nodes):
        planner.origin = index
        planner.add(node)
    names = bounds.results(graph) if is_training else bounds.eval_results(graph)
    return planner.finish(tuple(planner.slots[name] for name in names))


@dataclass(slots=True)
class _Planner:
    """A plan that grows node by node."""

    parts: Parts
    kinds: Mapping[str, graph_pb2.ModuleKind]
    template: Slots
    is_training: bool
    inputs: dict[str, int] = field(default_factory=dict[str, int])
    #: The slot of every node so far.
    slots: dict[str, int] = field(default_factory=dict[str, int])
    steps: list[tuple[Step, int]] = field(default_factory=list[tuple[Step, int]])
    origins: list[int] = field(default_factory=list[int])
    #: Slots that are not known ahead: inputs and what steps fill.
    computed: set[int] = field(default_factory=set[int])
    #: The last step that reads each slot.
    last_reads: dict[int, int] = field(default_factory=dict[int, int])
    origin: int = 0

    def add(self, node: graph_pb2.Node) -> None:
        """Plans one node."""
        match node.WhichOneof("operation"):
            case "input":
                self.slots[node.name] = self.inputs[node.input]
            case "state":
                self.slots[node.name] = self._step(Read(*self.parts.find(node.state)), ())
            case "module":
                wanted = tables.MODULES[self.kinds[node.module]].forward
                sources = self._sources(node.arguments, wanted[: len(node.arguments)])
                self.slots[node.name] = self._apply(self.parts.modules[node.module], sources)
            case _:
                self.slots[node.name] = self._call(node)

    def finish(self, results: tuple[int, ...]) -> Plan:
        """The plan with these results."""
        kept = {*range(len(self.inputs)), *results}
        ends: dict[int, list[int]] = {}
        for slot, index in self.last_reads.items():
            if slot in self.computed and slot not in kept:
                ends.setdefault(index, []).append(slot)
        steps = [
            (step, target, tuple(ends.get(index, ())))
            for index, (step, target) in enumerate(self.steps)
        ]
        return Plan(self.template, steps, results, self.origins)

    def _step(self, step: Step, sources: tuple[int, ...]) -> int:
        for source in sources:
            self.last_reads[source] = len(self.steps)
        target = self._literal(None)
        self.steps.append((step, target))
        self.origins.append(self.origin)
        self.computed.add(target)
        return target

    def _apply(self, module: nn.Module, sources: tuple[int, ...]) -> int:
        is_one = len(sources) == 1
        step = Apply(module, sources[0]) if is_one else ApplyAll(module, sources)
        return self._step(step, sources)

    def _call(self, node: graph_pb2.Node) -> int:
        if node.function == graph_pb2.FUNCTION_ONE_HOT:
            source = self.slots[node.arguments[0].node]
            classes = tuple(values.to_integers(node.arguments[1]) or ())
            return self._apply(self.parts.one_hots[classes], (source,))
        sources = self._sources(node.arguments, tables.FUNCTIONS[node.function])
        if node.function in FACTORIES:  # on the device of the first input
            sources = (0, *sources)
            return self._step(Call(FACTORIES[node.function], sources), sources)
        return self._step(Call(CALLS[node.function], sources), sources)

    def _sources(
        self, arguments: Sequence[graph_pb2.Value], wanted: Sequence[tables.Parameter]
    ) -> tuple[int, ...]:
        """Slots of the arguments, and of the defaults of those left out."""
        found = [
            self._slot(value, parameter)
            for value, parameter in zip(arguments, wanted, strict=False)
        ]
        left_out = wanted[len(arguments) :]
        return (*found, *[self._literal(self._default(parameter)) for parameter in left_out])

    def _default(self, parameter: tables.Parameter) -> object:
        """`training` that is not said follows the net's mode."""
        return self.is_training if parameter.name == "training" else parameter.default

    def _slot(self, value: graph_pb2.Value, parameter: tables.Parameter) -> int:
        kind = value.WhichOneof("kind")
        if kind == "node":
            return self.slots[value.node]
        if kind == "none" and parameter.name == "training":
            return self._literal(self.is_training)
        if next(values.references(value), None) is None:
            return self._literal(_python(value, parameter))
        if kind == "slice":
            parts = (value.slice.start, value.slice.stop, value.slice.step)
            return self._collect(to_slice, [self._slot(part, parameter) for part in parts])
        return self._collect(tuple, [self._slot(entry, parameter) for entry in value.list.values])

    def _collect(self, make: Callable[..., object], sources: Sequence[int]) -> int:
        return self._step(Collect(make, tuple(sources)), tuple(sources))

    def _literal(self, value: object) -> int:
        self.template.append(value)
        return len(self.template) - 1


def _python(value: graph_pb2.Value, parameter: tables.Parameter, *, is_inner: bool = False) -> Any:  # noqa: ANN401 - a literal of any type
    """A literal in Python. A list is a tuple; in an index, where a tuple is several, a list in it.

    An infinite number is a choice.
    """
    kind = value.WhichOneof("kind")
    if kind == "list":
        entries = [_python(entry, parameter, is_inner=True) for entry in value.list.values]
        return entries if is_inner else tuple(entries)
    if kind == "slice":
        parts = (value.slice.start, value.slice.stop, value.slice.step)
        return to_slice(_python(part, parameter) for part in parts)
    if kind == "choice" and "real" in parameter.kinds:
        return math.inf if value.choice == "inf" else -math.inf
    if kind == "data_type":
        return data_types.DATA_TYPES[value.data_type]
    found: dict[str | None, object] = {"ellipsis": ..., None: None}
    return found[kind] if kind in found else values.to_literal(value)

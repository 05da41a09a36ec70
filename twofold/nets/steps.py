"""The computation of a graph as a list of steps over numbered slots: no generated code.

Slots 0, 1, ... hold the inputs, then come literals, then every step appends one value. Steps refer
to modules as plain objects, never by closures, so that copying a net copies its steps onto the
copied modules.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from twofold.nets import bounds, data_types, tables, values
from twofold.nets.functions import CALLS, FACTORIES, OF_TENSORS
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
class CallTwo:
    """Calls a function on two slots: most arithmetic, and faster than Call."""

    function: Callable[..., Any]
    left: int
    right: int

    def run(self, slots: Slots) -> Any:  # noqa: ANN401 - as the function
        """See Step."""
        return self.function(slots[self.left], slots[self.right])


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


def sources_of(step: Step) -> tuple[int, ...]:
    """The slots that a step reads, in the order of its operands."""
    match step:
        case Apply():
            return (step.source,)
        case CallTwo():
            return (step.left, step.right)
        case ApplyAll() | Call() | Collect():
            return step.sources
        case _:
            return ()


@dataclass(slots=True)
class Plan:
    """Steps, in order, and what they start from."""

    #: Values of the slots after the inputs'.
    literals: tuple[Any, ...]
    #: Each step fills the next slot.
    steps: list[Step]
    #: For each step, the slots that nothing reads after it.
    done: list[tuple[int, ...]]
    #: Slots of the results.
    results: tuple[int, ...]
    #: The node that each step belongs to, for messages.
    origins: list[int]
    #: Whether values are dropped as soon as nothing reads them any more: less memory, but about
    #: 0.2 us per step.
    is_lean: bool = True

    def run(self, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """The result for these inputs; a tuple where there are several."""
        slots: Slots = [*inputs, *self.literals]
        if self.is_lean:
            for step, done in zip(self.steps, self.done, strict=True):
                slots.append(step.run(slots))
                for slot in done:
                    slots[slot] = None
        else:
            for step in self.steps:
                slots.append(step.run(slots))
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
    inputs = {spec.name: index for index, spec in enumerate(graph.inputs)}
    planner = _Planner(parts, kinds, inputs, is_training=is_training)
    nodes = graph.nodes if is_training else graph.eval_nodes or graph.nodes
    for index, node in enumerate(nodes):
        planner.origin = index
        planner.add(node)
    names = bounds.results(graph) if is_training else bounds.eval_results(graph)
    return planner.finish([planner.slots[name] for name in names])


@dataclass(frozen=True, slots=True)
class _Reference:
    """A slot that has no number yet: how many literals there will be is not known."""

    kind: Literal["input", "literal", "step"]
    index: int


#: Makes a step of its sources' slots.
_Make = Callable[[tuple[int, ...]], Step]
_Sources = Sequence[_Reference]


@dataclass(slots=True)
class _Planner:
    """A plan that grows node by node."""

    parts: Parts
    kinds: Mapping[str, graph_pb2.ModuleKind]
    inputs: Mapping[str, int]
    is_training: bool
    #: Where the value of every node so far is.
    slots: dict[str, _Reference] = field(default_factory=dict[str, _Reference])
    literals: list[Any] = field(default_factory=list[Any])
    steps: list[tuple[_Make, _Sources]] = field(default_factory=list[tuple[_Make, _Sources]])
    origins: list[int] = field(default_factory=list[int])
    #: What is known to be a tensor; of arithmetic with it nothing need be checked.
    tensors: set[_Reference] = field(default_factory=set[_Reference])
    origin: int = 0

    def add(self, node: graph_pb2.Node) -> None:
        """Plans one node."""
        match node.WhichOneof("operation"):
            case "input":
                found = _Reference("input", self.inputs[node.input])
                self.tensors.add(found)
            case "state":
                holder, leaf = self.parts.find(node.state)
                found = self._step(lambda _: Read(holder, leaf), ())
                self.tensors.add(found)
            case "module":
                wanted = tables.MODULES[self.kinds[node.module]].forward
                sources = self._sources(node.arguments, wanted[: len(node.arguments)])
                found = self._apply(self.parts.modules[node.module], sources)
            case _:
                found = self._call(node)
        self.slots[node.name] = found

    def finish(self, results: _Sources) -> Plan:
        """The plan with these results."""
        last_reads: dict[_Reference, int] = {}
        for index, (_, sources) in enumerate(self.steps):
            last_reads |= dict.fromkeys(sources, index)
        done: list[list[int]] = [[] for _ in self.steps]
        for reference, index in last_reads.items():
            if reference.kind == "step" and reference not in results:
                done[index].append(self._number(reference))
        return Plan(
            tuple(self.literals),
            [make(self._numbers(sources)) for make, sources in self.steps],
            [tuple(slots) for slots in done],
            self._numbers(results),
            self.origins,
        )

    def _numbers(self, references: _Sources) -> tuple[int, ...]:
        return tuple(self._number(reference) for reference in references)

    def _number(self, reference: _Reference) -> int:
        """Inputs come first, then literals, then what steps fill."""
        before = {"input": 0, "literal": len(self.inputs)}
        return reference.index + before.get(reference.kind, len(self.inputs) + len(self.literals))

    def _step(self, make: _Make, sources: _Sources) -> _Reference:
        self.steps.append((make, sources))
        self.origins.append(self.origin)
        return _Reference("step", len(self.steps) - 1)

    def _apply(self, module: nn.Module, sources: _Sources) -> _Reference:
        if len(sources) == 1:
            return self._step(lambda slots: Apply(module, slots[0]), sources)
        return self._step(lambda slots: ApplyAll(module, slots), sources)

    def _call(self, node: graph_pb2.Node) -> _Reference:
        if node.function == graph_pb2.FUNCTION_ONE_HOT:
            classes = tuple(values.to_integers(node.arguments[1]) or ())
            return self._apply(self.parts.one_hots[classes], [self.slots[node.arguments[0].node]])
        sources = self._sources(node.arguments, tables.FUNCTIONS[node.function])
        if node.function in FACTORIES:  # on the device of the first input
            factory = FACTORIES[node.function]
            first = _Reference("input", 0)
            return self._step(lambda slots: Call(factory, slots), [first, *sources])
        function = CALLS[node.function]
        is_of_tensors = node.function in OF_TENSORS and not self.tensors.isdisjoint(sources)
        if is_of_tensors:
            function = OF_TENSORS[node.function]
        if len(sources) == 2:  # noqa: PLR2004 - a pair
            found = self._step(lambda slots: CallTwo(function, *slots), sources)
        else:
            found = self._step(lambda slots: Call(function, slots), sources)
        if is_of_tensors:
            self.tensors.add(found)
        return found

    def _sources(
        self, arguments: Sequence[graph_pb2.Value], wanted: Sequence[tables.Parameter]
    ) -> list[_Reference]:
        """The arguments, and the defaults of those left out."""
        found = [
            self._slot(value, parameter)
            for value, parameter in zip(arguments, wanted, strict=False)
        ]
        left_out = wanted[len(arguments) :]
        return [*found, *[self._literal(self._default(parameter)) for parameter in left_out]]

    def _default(self, parameter: tables.Parameter) -> object:
        """`training` that is not said follows the net's mode."""
        return self.is_training if parameter.name == "training" else parameter.default

    def _slot(self, value: graph_pb2.Value, parameter: tables.Parameter) -> _Reference:
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

    def _collect(self, make: Callable[..., object], sources: _Sources) -> _Reference:
        return self._step(lambda slots: Collect(make, slots), sources)

    def _literal(self, value: object) -> _Reference:
        self.literals.append(value)
        return _Reference("literal", len(self.literals) - 1)


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

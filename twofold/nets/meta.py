"""A run of a graph without memory: whether operands fit, how large every inner result is.

Torch's meta device computes shapes and element types and allocates nothing. Both computations run
for two batch sizes, training nodes in training mode and eval nodes in eval mode, and every inner
operation is looked at before a later run could allocate its result. Sizes by plain integers were
checked before, by `twofold.nets.bounds`.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from twofold.errors import InvalidField
from twofold.nets import bounds, costs, meta_batches, meta_shortcuts, modules, steps, tables
from twofold.nets.data_types import DATA_TYPES, NAMES
from twofold.v1 import graph_pb2

#: A batch of 1 is what serving often sees; batch norm trains on 2 rows at least.
_EVAL_BATCHES = (1, 2, 3, meta_batches.LARGE)
_TRAINING_BATCHES = (2, 3)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a graph computes."""

    #: Numbers that training, or eval mode where it is more, computes per row, those inside modules
    #: included.
    row_elements: int
    #: Multiply-adds of training per row: those of products of matrices and of convolutions.
    row_cost: int
    #: What eval mode answers; named as in the graph, "output" in format 1.
    outputs: list[graph_pb2.TensorSpec]
    #: What training mode answers, named by their nodes.
    training_results: list[graph_pb2.TensorSpec]


def measure(graph: graph_pb2.Graph, leaves: Mapping[str, nn.Module] | None = None) -> Measured:
    """Runs a graph that `bounds.check` passed, on the meta device.

    Args:
        graph: is not changed.
        leaves: its modules, on the meta device; made here if not given. They are left in eval mode.

    Raises:
        InvalidField: operands do not fit, a result is too large, or outputs are not what the graph
            says; names the node.
    """
    with torch.device("meta"):
        leaves = modules.make_all(graph) if leaves is None else leaves
        parts = steps.Parts(leaves, _Holders(graph, leaves).find, modules.one_hots(graph))
    limit = sum(state.elements for state in bounds.state_shapes(graph).values())
    with _countless_norms(leaves.values()):
        training = _run_mode(graph, parts, limit, is_training=True)
    few, _, many, _ = _run_mode(graph, parts, limit, is_training=False)
    answering = [few, many]
    outputs = _outputs(graph, answering)
    results = _training_results(graph, training, outputs)
    few, many = training
    return Measured(
        row_elements=max(_per_row(training), _per_row(answering)),
        row_cost=(many.cost - few.cost) // (many.batch - few.batch),
        outputs=outputs,
        training_results=results,
    )


def _per_row(runs: Sequence["_Run"]) -> int:
    few, many = runs
    return (many.elements - few.elements) // (many.batch - few.batch)


@contextlib.contextmanager
def _countless_norms(leaves: Iterable[nn.Module]) -> Generator[None]:
    """Batch norms without momentum divide by a count of batches, which meta does not know."""
    found = [each for each in leaves if isinstance(each, _BATCH_NORMS) and each.momentum is None]
    for module in found:
        module.momentum = 0.5
    try:
        yield
    finally:
        for module in found:
            module.momentum = None


class _Holders:
    """Finds what holds a state: containers of meta tensors stand for those of a net."""

    def __init__(self, graph: graph_pb2.Graph, leaves: Mapping[str, nn.Module]) -> None:
        self._leaves = leaves
        self._states: dict[str, nn.Module] = {}
        for state in graph.states:
            holder = self._states[state.path] = nn.Module()
            kind = DATA_TYPES[state.data_type]
            holder._buffers["value"] = torch.empty(tuple(state.shape), dtype=kind)  # noqa: SLF001 - ours

    def find(self, path: str) -> tuple[nn.Module, str]:
        """The container and the name in it."""
        if path in self._states:
            return self._states[path], "value"
        parts = path.split(".")
        end = next(end for end in range(len(parts)) if ".".join(parts[:end]) in self._leaves)
        holder = self._leaves[".".join(parts[:end])]
        for part in parts[end:-1]:
            inner = holder._modules[part]  # noqa: SLF001 - getattr would take user names
            assert inner is not None  # noqa: S101 - bounds.check saw to it
            holder = inner
        return holder, parts[-1]


@dataclass(frozen=True, slots=True)
class _Run:
    """One pass of one batch size."""

    batch: int
    slots: steps.Slots
    values: tuple[Any, ...]
    elements: int
    cost: int


def _run_mode(
    graph: graph_pb2.Graph, parts: steps.Parts, weights: int, *, is_training: bool
) -> list[_Run]:
    plan = steps.plan(graph, parts, is_training=is_training)
    for module in parts.modules.values():
        module.train(is_training)
    has_own = bool(graph.eval_nodes) and not is_training
    where = "graph.eval_nodes" if has_own else "graph.nodes"
    batches = _TRAINING_BATCHES if is_training else _EVAL_BATCHES
    runs = [_run(graph, plan, where, batch, weights) for batch in batches]
    if not is_training and bounds.has_rows(graph):  # a loss of one number is never served
        _check_growth(graph, plan, where, runs)
    return runs


def _check_growth(
    graph: graph_pb2.Graph, plan: steps.Plan, where: str, runs: Sequence[_Run]
) -> None:
    """Raises InvalidField where some batch might take far more than its rows let expect."""
    odd = meta_batches.first_odd(plan, [run.slots for run in runs], _EVAL_BATCHES)
    if odd is not None:
        origin = plan.origins[odd]
        allowed = (
            "in eval mode, sizes that are fixed or grow evenly with the batch's, and of that no "
            "other numbers as sizes than its multiples"
        )
        raise InvalidField.of(f"{where}[{origin}]", _words(graph, where, origin), allowed)
    elements = [run.elements for run in runs]
    if not meta_batches.is_proportional(elements, _EVAL_BATCHES):
        shown = (
            f"{elements[-2]} numbers for {runs[-2].batch} rows, {elements[-1]} for {runs[-1].batch}"
        )
        raise InvalidField.of(where, shown, "numbers in proportion to the rows, in eval mode")


def _run(graph: graph_pb2.Graph, plan: steps.Plan, where: str, batch: int, weights: int) -> _Run:
    inputs = [
        torch.empty((batch, *spec.shape[1:]), dtype=DATA_TYPES[spec.data_type], device="meta")
        for spec in graph.inputs
    ]
    limits = _Limits(batch * tables.MAX_ROW_ELEMENTS + weights)
    slots: steps.Slots = [*inputs, *plan.literals]
    with torch.no_grad(), limits:
        for step, origin in zip(plan.steps, plan.origins, strict=True):
            try:
                slots.append(_run_step(step, slots, limits))
            except _TooLargeError as error:
                raise InvalidField.of(f"{where}[{origin}]", error.shown, error.allowed) from None
            except modules.TORCH_ERRORS as error:
                operation = _words(graph, where, origin)
                allowed = f"operands that fit: {modules.first_line(error)}"
                raise InvalidField.of(f"{where}[{origin}]", operation, allowed) from error
    values = tuple(slots[slot] for slot in plan.results)
    return _Run(batch, slots, values, limits.elements, limits.cost)


def _words(graph: graph_pb2.Graph, where: str, index: int) -> str:
    """What a node does, for a message."""
    node = (graph.eval_nodes if where == "graph.eval_nodes" else graph.nodes)[index]
    match node.WhichOneof("operation"):
        case "function":
            name = graph_pb2.Function.Name(node.function).removeprefix("FUNCTION_").lower()
            return f"{name} of {node.name}"
        case "module":
            return f"module {node.module} of {node.name}"
        case _:
            return node.name


def _run_step(step: steps.Step, slots: steps.Slots, limits: "_Limits") -> Any:  # noqa: ANN401 - as the step
    module = getattr(step, "module", None)
    if not isinstance(module, nn.RNNBase):
        return step.run(slots)
    sources = step.sources if isinstance(step, steps.ApplyAll) else (step.source,)  # pyright: ignore[reportAttributeAccessIssue] - Apply
    first, *rest = (slots[source] for source in sources)
    return _recur(module, first, rest, limits)


def _recur(module: nn.RNNBase, x: Tensor, rest: Sequence[Any], limits: "_Limits") -> Any:  # noqa: ANN401 - as the module
    """One time step of a recurrent module stands for all: a long sequence is many operations."""
    axis = 1 if module.batch_first and x.dim() == 3 else 0  # noqa: PLR2004 - batch, time, features
    steps_count = x.size(axis)
    before = (limits.operations, limits.elements, limits.cost)
    output, hidden = module(x.narrow(axis, 0, 1), *rest)
    limits.repeat(before, steps_count - 1)
    shape = [*output.shape[:axis], steps_count, *output.shape[axis + 1 :]]
    return output.new_empty(shape), hidden


class _TooLargeError(Exception):
    """A result or a count that is beyond its limit."""

    def __init__(self, shown: str, allowed: str) -> None:
        super().__init__(shown)
        self.shown = shown
        self.allowed = allowed


class _Limits(TorchDispatchMode):
    """Counts every operation and its elements, and stops at the first that is too much.

    Views have no memory of their own, and do not count.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self.operations = 0
        self.elements = 0
        self.cost = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler, which takes a second, to keep it away from here."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an operation of torch
        types: Any,  # noqa: ANN401 - of torch's protocol
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - as the operation
        del types
        result = meta_shortcuts.run(func, args, kwargs or {})
        self._count(1)
        self.cost += costs.multiply_adds(func, args, result)
        if not func.is_view:
            for tensor in _tensors(result):
                self._add(tensor)
        return result

    def repeat(self, before: tuple[int, int, int], count: int) -> None:
        """Counts what happened since `before` `count` times more."""
        operations, elements, cost = before
        self.elements += (self.elements - elements) * count
        self.cost += (self.cost - cost) * count
        self._count((self.operations - operations) * count)

    def _count(self, count: int) -> None:
        self.operations += count
        if self.operations > tables.MAX_OPERATIONS:
            shown = f"{self.operations} operations of torch"
            raise _TooLargeError(shown, f"at most {tables.MAX_OPERATIONS} for one pass")

    def _add(self, tensor: Tensor) -> None:
        count = tensor.numel()
        self.elements += count
        if count > self._most:
            name = str(tensor.dtype).removeprefix("torch.")
            allowed = f"at most {tables.MAX_ROW_ELEMENTS} elements per row"
            raise _TooLargeError(f"{name}{list(tensor.shape)}", allowed)


def _tensors(result: Any) -> Iterator[Tensor]:  # noqa: ANN401 - as an operation
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, (tuple, list)):
        for entry in result:
            yield from _tensors(entry)


def _outputs(graph: graph_pb2.Graph, runs: Sequence[_Run]) -> list[graph_pb2.TensorSpec]:
    """What eval mode answers, which must be what the graph says and what its head takes."""
    names = [spec.name for spec in graph.outputs] or ["output"]
    found = _specs("graph.eval_results", names, runs)
    for index, (said, spec) in enumerate(zip(graph.outputs, found, strict=False)):
        if said != spec:
            allowed = f"{bounds.spec_words(spec)}, which eval mode computes"
            raise InvalidField.of(f"graph.outputs[{index}]", bounds.spec_words(said), allowed)
    bounds.check_head(graph, found)
    return found


def _training_results(
    graph: graph_pb2.Graph, runs: Sequence[_Run], outputs: Sequence[graph_pb2.TensorSpec]
) -> list[graph_pb2.TensorSpec]:
    """What training mode answers; a head's logits are alike in both modes."""
    found = _specs("graph.results", bounds.results(graph), runs)
    logits, said = found[0], outputs[0]
    is_same = (logits.data_type, logits.shape) == (said.data_type, said.shape)
    if graph.head != graph_pb2.HEAD_RAW and not is_same:
        allowed = f"{bounds.spec_words(said)}, as in eval mode"
        raise InvalidField.of("graph.results", bounds.spec_words(logits), allowed)
    return found


def _specs(where: str, names: Sequence[str], runs: Sequence[_Run]) -> list[graph_pb2.TensorSpec]:
    few, many = runs
    return [
        spec(
            f"{where}[{index}]",
            name,
            (few.values[index], few.batch),
            (many.values[index], many.batch),
        )
        for index, name in enumerate(names)
    ]


def spec(
    where: str, name: str, few: tuple[Any, int], many: tuple[Any, int]
) -> graph_pb2.TensorSpec:
    """Type and shape, whose first dimension may be the batch and no other may depend on it."""
    (small, few_rows), (large, many_rows) = few, many
    if not isinstance(small, Tensor) or not isinstance(large, Tensor):
        raise InvalidField.of(where, type(small).__name__, "a tensor")
    if small.dtype not in NAMES:
        raise InvalidField.of(where, str(small.dtype), "FP32, FP64, INT64, INT32 or BOOL")
    few_shape, many_shape = list(small.shape), list(large.shape)
    if few_shape[:1] == [few_rows] and many_shape[:1] == [many_rows]:
        few_shape[0] = many_shape[0] = bounds.BATCH
    if few_shape != many_shape:
        shown = f"{list(small.shape)} for {few_rows} rows, {list(large.shape)} for {many_rows}"
        raise InvalidField.of(where, shown, "no dimension but the first that depends on the batch")
    return graph_pb2.TensorSpec(name=name, data_type=NAMES[small.dtype], shape=many_shape)

"""A net in eval mode with its constants worked out: fewer and larger operations, as data.

Constants are computed once; what does nothing in eval mode is left out; batch normalisation after a
linear layer or a convolution becomes part of its weights; so does what standardises the features
before a linear layer, where that keeps the precision. What is left is a list of operations over the
numbered slots of the net's own plan: see twofold.nets.steps.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from inferer.forms import activations
from inferer.forms.form import Activation
from twofold.nets import steps
from twofold.nets.functions import CALLS, FACTORIES
from twofold.v1 import graph_pb2

Arithmetic = Callable[[Any, Any], Any]


@dataclass(slots=True)
class Dense:
    """source @ weight.T + bias over the last dimension, then the activation."""

    source: int
    weight: Tensor
    bias: Tensor | None
    activation: Activation | None = None


@dataclass(slots=True)
class Convolve:
    """A convolution with the module's strides, then the activation."""

    source: int
    module: nn.Conv1d | nn.Conv2d | nn.Conv3d
    weight: Tensor
    bias: Tensor | None
    activation: Activation | None = None


@dataclass(slots=True)
class Affine:
    """source * factor + offset per column, in the net's own steps, one constant after another."""

    source: int
    #: float64 [columns]; what the parts come to together.
    factor: Tensor
    offset: Tensor
    parts: list[tuple[Arithmetic, Tensor]]
    activation: Activation | None = None


@dataclass(slots=True)
class Activate:
    """An activation that no layer could take on."""

    source: int
    activation: Activation
    #: Whether its operand is a new tensor that nobody else reads.
    is_in_place: bool


@dataclass(slots=True)
class Same:
    """The value of another slot, for steps that only know this one."""

    source: int


@dataclass(slots=True)
class Other:
    """A step of the net as it is."""

    step: steps.Step


Operation = Dense | Convolve | Affine | Activate | Same | Other
#: What may take an activation on, since nobody has read its result before.
_Producer = Dense | Convolve | Affine

_IDENTITIES = (
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ARITHMETIC: Mapping[Arithmetic, str] = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
}
_DROPOUTS = {
    CALLS[graph_pb2.FUNCTION_DROPOUT],
    CALLS[graph_pb2.FUNCTION_DROPOUT1D],
    CALLS[graph_pb2.FUNCTION_DROPOUT2D],
    CALLS[graph_pb2.FUNCTION_DROPOUT3D],
    CALLS[graph_pb2.FUNCTION_ALPHA_DROPOUT],
    CALLS[graph_pb2.FUNCTION_FEATURE_ALPHA_DROPOUT],
}
#: Never constants.
_RANDOM = _DROPOUTS | {
    CALLS[graph_pb2.FUNCTION_RAND_LIKE],
    CALLS[graph_pb2.FUNCTION_RANDN_LIKE],
    FACTORIES[graph_pb2.FUNCTION_RAND],
    FACTORIES[graph_pb2.FUNCTION_RANDN],
}
#: Of their first operand they take the device alone.
_FACTORIES = set(FACTORIES.values()) - _RANDOM
_LINEAR = CALLS[graph_pb2.FUNCTION_LINEAR]
#: Features stay standardised by steps of their own where their mean is more deviations than this
#: from 0: subtracting it after the product would lose more than 4 of float32's 24 bits.
MOST_OFFSET = 16.0
#: Rows and columns.
_RANK = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """Shape and element type of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(slots=True)
class Folded:
    """A net as operations. Each computes one slot; they stand in order."""

    input_count: int
    #: Value of every slot that is neither an input nor computed; None for all others.
    constants: list[Any]
    operations: dict[int, Operation]
    results: tuple[int, ...]
    #: What every slot held for the examples: shape and element type; None where it is no tensor.
    kinds: list[Kind | None] = field(default_factory=list[Kind | None])


def fold(plan: steps.Plan, inputs: Sequence[Tensor]) -> Folded:
    """The operations of a plan of eval mode.

    Args:
        plan: its steps are kept, as far as they are needed.
        inputs: a few rows, which are run once; nothing is folded that depends on them.
    """
    slots: steps.Slots = [*inputs, *plan.literals]
    for step in plan.steps:
        slots.append(step.run(slots))
    folder = _Folder(plan, slots, len(inputs))
    first = len(slots) - len(plan.steps)
    for target, step in enumerate(plan.steps, first):
        folder.add(target, step)
    return folder.finish()


class _Folder:
    """A plan that is folded step by step. `slots` are those of a run."""

    def __init__(self, plan: steps.Plan, slots: steps.Slots, input_count: int) -> None:
        self._slots = slots
        self._inputs = input_count
        self._results = plan.results
        self._constant = set(range(input_count, len(slots) - len(plan.steps)))
        #: How many read a slot, results included.
        self._readers = Counter(plan.results)
        for step in plan.steps:
            self._readers.update(steps.sources_of(step))
        self._operations: dict[int, Operation] = {}
        #: Slots of arithmetic, whose results share memory with nothing.
        self._new = {
            target
            for target, step in enumerate(plan.steps, len(slots) - len(plan.steps))
            if isinstance(step, steps.CallTwo) and step.function in _ARITHMETIC
        }
        #: Slots that are others.
        self._alias: dict[int, int] = {}

    def add(self, target: int, step: steps.Step) -> None:
        """Folds one step."""
        if self._is_constant(step):
            self._constant.add(target)
        elif isinstance(step, steps.Apply):
            self._add_module(target, step)
        elif isinstance(step, (steps.Call, steps.CallTwo)):
            self._add_call(target, step)
        else:
            self._operations[target] = Other(step)

    def finish(self) -> Folded:
        """What was folded, without what nobody reads."""
        results = tuple(self._origin(slot) for slot in self._results)
        needed = set(results)
        kept: dict[int, Operation] = {}
        for target in sorted(self._operations.keys() | self._alias.keys(), reverse=True):
            if target in needed:
                kept[target] = self._operations.get(target) or Same(self._origin(target))
                needed.update(sources_of(kept[target]))
        constants = [
            value if slot in self._constant else None for slot, value in enumerate(self._slots)
        ]
        kinds = [
            Kind(tuple(value.shape), value.dtype) if isinstance(value, Tensor) else None
            for value in self._slots
        ]
        operations = {target: kept[target] for target in sorted(kept)}
        return Folded(self._inputs, constants, operations, results, kinds)

    def _origin(self, slot: int) -> int:
        while slot in self._alias:
            slot = self._alias[slot]
        return slot

    def _is_constant(self, step: steps.Step) -> bool:
        sources = steps.sources_of(step)
        if isinstance(step, (steps.Call, steps.CallTwo)):
            if step.function in _RANDOM:
                return False
            if step.function in _FACTORIES:
                sources = sources[1:]
        return self._constant.issuperset(sources)

    def _add_module(self, target: int, step: steps.Apply) -> None:
        module, source = step.module, self._origin(step.source)
        kind = type(module)
        if kind in _IDENTITIES:
            self._same(target, source)
        elif isinstance(module, nn.Linear) and kind is nn.Linear:
            self._add_dense(target, source, module.weight, module.bias)
        elif isinstance(module, _CONVOLUTIONS) and module.padding_mode == "zeros":
            self._operations[target] = Convolve(source, module, module.weight, module.bias)
        elif isinstance(module, _NORMS) and module.running_mean is not None:
            self._add_norm(target, source, module)
        elif activation := activations.of_module(module):
            self._add_activation(target, source, activation)
        else:
            self._operations[target] = Other(step)

    def _add_call(self, target: int, step: steps.Call | steps.CallTwo) -> None:
        sources = steps.sources_of(step)
        values = [self._slots[source] for source in sources]
        if step.function in _DROPOUTS and values[-1] is False:
            self._same(target, self._origin(sources[0]))
        elif step.function is _LINEAR and self._constant.issuperset(sources[1:]):
            self._add_dense(target, self._origin(sources[0]), values[1], values[2])
        elif isinstance(step, steps.CallTwo) and (affine := self._affine(target, step)):
            self._operations[target] = affine
        elif self._constant.issuperset(sources[1:]) and (
            activation := activations.of_function(step.function, values[1:])
        ):
            self._add_activation(target, self._origin(sources[0]), activation)
        else:
            self._operations[target] = Other(step)

    def _same(self, target: int, source: int) -> None:
        self._alias[target] = source
        self._readers[source] += self._readers[target] - 1

    def _add_activation(self, target: int, source: int, activation: Activation) -> None:
        producer = self._own(source)
        if producer is not None and producer.activation is None:
            producer.activation = activation
            self._same(target, source)
        else:
            is_new = source in self._new and self._readers[source] == 1
            self._operations[target] = Activate(source, activation, is_new)

    def _own(self, slot: int) -> _Producer | None:
        """What makes a slot that is read once, where it is one of ours."""
        operation = self._operations.get(slot)
        if isinstance(operation, (Dense, Convolve, Affine)) and self._readers[slot] == 1:
            return operation
        return None

    def _add_dense(self, target: int, source: int, weight: Tensor, bias: Tensor | None) -> None:
        before = self._own(source)
        if isinstance(before, Affine) and before.activation is None and _keeps_precision(before):
            source = before.source
            offset = weight.double() @ before.offset
            bias = (offset if bias is None else offset + bias.double()).to(weight.dtype)
            weight = (weight.double() * before.factor).to(weight.dtype)
        self._operations[target] = Dense(source, weight, bias)

    def _add_norm(self, target: int, source: int, module: Any) -> None:  # noqa: ANN401 - _NORMS
        factor, offset = _scale_of(module)
        producer = self._own(source)
        rank = len(self._slots[source].shape)
        if _can_scale(producer, rank):
            _scale(producer, factor, offset)
            self._same(target, source)
        elif rank == _RANK:
            dtype = self._slots[source].dtype
            parts = [(operator.mul, factor.to(dtype)), (operator.add, offset.to(dtype))]
            self._operations[target] = Affine(source, factor, offset, parts)
        else:
            self._operations[target] = Other(steps.Apply(module, source))

    def _affine(self, target: int, step: steps.CallTwo) -> Affine | None:
        """Arithmetic of columns with one constant each, joined to what stands before it."""
        sign = _ARITHMETIC.get(step.function)
        if sign is None or step.right not in self._constant or step.left in self._constant:
            return None
        source, value = self._origin(step.left), self._slots[step.right]
        if not self._is_per_column(target, source, value):
            return None
        constant = torch.as_tensor(value).detach()
        factor, offset = _line(sign, constant.double().reshape(-1), self._slots[source].shape[-1])
        parts = [(step.function, constant)]
        before = self._own(source)
        if isinstance(before, Affine) and before.activation is None:
            offset = before.offset * factor + offset
            factor = before.factor * factor
            source, parts = before.source, [*before.parts, *parts]
        return Affine(source, factor, offset, parts)

    def _is_per_column(self, target: int, source: int, value: Any) -> bool:  # noqa: ANN401 - a constant
        """Whether a constant has one number, or one for each column of float32 rows."""
        rows, result = self._slots[source], self._slots[target]
        is_kept = isinstance(rows, Tensor) and rows.dtype == torch.float32 == result.dtype
        if not is_kept or rows.dim() < _RANK or rows.shape != result.shape:
            return False
        if not isinstance(value, Tensor):
            return isinstance(value, (int, float))
        is_float = value.dtype == torch.float32
        return is_float and value.numel() in (1, rows.shape[-1]) and _is_row(value)


def _is_row(value: Tensor) -> bool:
    return value.numel() == 1 or value.shape[-1] == value.numel()


def _line(sign: str, constant: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Factor and offset of x sign constant, float64 [columns]."""
    one = torch.ones(columns, dtype=torch.float64)
    zero = torch.zeros(columns, dtype=torch.float64)
    match sign:
        case "+":
            return one, zero + constant
        case "-":
            return one, zero - constant
        case "*":
            return one * constant, zero
        case _:
            return one / constant, zero


def _keeps_precision(affine: Affine) -> bool:
    """Whether the offset may be added after the product with the weights instead of before."""
    return bool(affine.offset.abs().max() <= MOST_OFFSET and affine.factor.isfinite().all())


def _scale_of(module: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - one of _NORMS
    """Factor and offset per channel of a batch norm in eval mode, float64."""
    factor = (module.running_var.double() + module.eps).rsqrt()
    if module.weight is not None:
        factor = factor * module.weight.double()
    offset = -module.running_mean.double() * factor
    if module.bias is not None:
        offset = offset + module.bias.double()
    return factor, offset


def _can_scale(producer: _Producer | None, rank: int) -> TypeGuard[Dense | Convolve]:
    """Whether channels of a result are what a layer has its outputs for."""
    if isinstance(producer, Convolve):
        return rank == producer.weight.dim() and producer.activation is None
    return isinstance(producer, Dense) and rank == _RANK and producer.activation is None


def _scale(producer: Dense | Convolve, factor: Tensor, offset: Tensor) -> None:
    """Makes what comes after a layer part of its weights and bias."""
    weight, bias = producer.weight, producer.bias
    by_output = factor.reshape(-1, *[1] * (weight.dim() - 1))
    producer.weight = (weight.double() * by_output).to(weight.dtype)
    moved = offset if bias is None else bias.double() * factor + offset
    producer.bias = moved.to(weight.dtype)


def sources_of(operation: Operation) -> tuple[int, ...]:
    """The slots that an operation reads."""
    if isinstance(operation, Other):
        return steps.sources_of(operation.step)
    return (operation.source,)

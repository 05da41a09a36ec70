"""A folded net as a short list of torch's functions, without modules: `fused`.

Every operation is one Python call, or two; activations write over what the layer before made. With
the channels of maps side by side in memory convolutions may take a third of the time, or longer:
`channels last` is a form of its own.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inferer.forms import activations
from inferer.forms.eager import joined
from inferer.forms.folding import (
    Activate,
    Affine,
    Convolve,
    Dense,
    Folded,
    Operation,
    Other,
    Same,
    sources_of,
)
from inferer.forms.form import Columns, Inexpressible
from twofold.features import Scores
from twofold.nets import pieces, registry, steps
from twofold.nets.net import Net, apply_head

FUSED, CHANNELS_LAST = "fused", "channels last"
#: Rows, channels, height, width.
_MAPS = 4

Slots = list[Any]
_Run = Callable[[Slots], Any]
_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    3: torch.conv1d,
    4: torch.conv2d,
    5: torch.conv3d,
}


class FusedForm:
    """See Form. Raises Inexpressible where it would be the net as it is."""

    name = FUSED
    most_rows = None

    def __init__(self, net: Net, folded: Folded, *, is_channels_last: bool = False) -> None:
        if all(isinstance(operation, Other) for operation in folded.operations.values()):
            raise Inexpressible("nothing of it can be folded or fused")
        has_maps = any(_is_of_maps(operation) for operation in folded.operations.values())
        if is_channels_last and not has_maps:
            raise Inexpressible("it has no convolution of maps")
        self.name = CHANNELS_LAST if is_channels_last else FUSED
        graph = net.graph
        self._head = functools.partial(apply_head, graph.head, threshold=graph.head_threshold)
        self.row_elements = net.row_elements
        self._inputs = folded.input_count
        self._initial = [*folded.constants]
        self._results = folded.results
        self._steps = [
            (target, _run_of(operation, is_channels_last=is_channels_last))
            for target, operation in folded.operations.items()
        ]
        self._done = _done(folded)

    def put(self, columns: Columns, rows: int) -> list[Tensor]:
        """See Form."""
        del rows
        return [torch.from_numpy(joined(column)) for column in columns]

    @torch.inference_mode()
    def compute(self, batch: Sequence[Tensor]) -> Scores:
        """See Form."""
        return registry.arrays_of(self._head(pieces.run(self, batch)))

    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - as the net: one, or several
        """What the net answers."""
        slots = self._initial.copy()
        slots[: self._inputs] = inputs
        for (target, run), done in zip(self._steps, self._done, strict=True):
            slots[target] = run(slots)
            for slot in done:
                slots[slot] = None
        if len(self._results) == 1:
            return slots[self._results[0]]
        return tuple(slots[slot] for slot in self._results)


def _done(folded: Folded) -> list[tuple[int, ...]]:
    """For each operation the slots that nothing reads after it."""
    last: dict[int, int] = {}
    for index, operation in enumerate(folded.operations.values()):
        last |= dict.fromkeys(sources_of(operation), index)
    done: list[list[int]] = [[] for _ in folded.operations]
    for slot, index in last.items():
        if slot in folded.operations and slot not in folded.results:
            done[index].append(slot)
    return [tuple(slots) for slots in done]


def _is_of_maps(operation: Operation) -> bool:
    return isinstance(operation, Convolve) and operation.weight.dim() == _MAPS


def _run_of(operation: Operation, *, is_channels_last: bool) -> _Run:
    """The operation as a function of the slots."""
    match operation:
        case Dense():
            return _then(_dense(operation.source, operation.weight, operation.bias), operation)
        case Convolve():
            return _then(_convolve(operation, is_channels_last=is_channels_last), operation)
        case Affine():
            return _then(_affine(operation), operation)
        case Activate():
            return _activate(operation)
        case Same(source):
            return lambda slots: slots[source]
        case Other(step):
            return _step(step)


def _then(run: _Run, operation: Dense | Convolve | Affine) -> _Run:
    """What a layer computes, and its activation over it."""
    if operation.activation is None:
        return run
    function = activations.in_place(operation.activation)
    return lambda slots: function(run(slots))


def _dense(source: int, weight: Tensor, bias: Tensor | None) -> _Run:
    linear = functional.linear
    return lambda slots: linear(slots[source], weight, bias)


def _convolve(operation: Convolve, *, is_channels_last: bool) -> _Run:
    """A convolution; its results are laid out as its weights are."""
    module, source = operation.module, operation.source
    weight, bias = operation.weight, operation.bias
    if is_channels_last and weight.dim() == _MAPS:
        weight = weight.contiguous(memory_format=torch.channels_last)
    convolve = _CONVOLUTIONS[weight.dim()]
    given = (module.stride, module.padding, module.dilation, module.groups)
    return lambda slots: convolve(slots[source], weight, bias, *given)


def _affine(operation: Affine) -> _Run:
    source, parts = operation.source, operation.parts

    def run(slots: Slots) -> Tensor:
        value = slots[source]
        for function, constant in parts:
            value = function(value, constant)
        return value

    return run


def _activate(operation: Activate) -> _Run:
    of = activations.in_place if operation.is_in_place else activations.apart
    source, function = operation.source, of(operation.activation)
    return lambda slots: function(slots[source])


def _step(step: steps.Step) -> _Run:
    """A step of the net; a module without what torch does around its forward()."""
    if isinstance(step, steps.Apply):
        forward, source = _forward(step.module), step.source
        return lambda slots: forward(slots[source])
    return step.run


def _forward(module: nn.Module) -> Callable[..., Any]:
    """A module's forward(); modules of a net have no hooks."""
    if type(module) is nn.LayerNorm:
        weight, bias, eps = module.weight, module.bias, module.eps
        shape, norm = list(module.normalized_shape), torch.layer_norm
        return lambda x: norm(x, shape, weight, bias, eps)
    return module.forward

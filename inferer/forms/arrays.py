"""A folded net of rows of columns in numpy, for small batches: `arrays`.

A call of numpy costs a third of one of torch. Every buffer is allocated once, and every call is
bound to its views once per number of rows, so that a batch is a walk through a list of calls.

numpy's BLAS must not wake threads of its own for what takes microseconds: OpenBLAS uses one thread
for a product of at most _SERIAL_PRODUCT multiplications, so that larger ones are done in pieces of
rows. It uses several for a lone row times a matrix, so that a lone row is computed beside another
one, whose answers nobody sees.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import operator
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from inferer.forms.folding import Activate, Affine, Dense, Folded, Operation, Other, Same
from inferer.forms.form import Columns, Inexpressible
from inferer.forms.numpy_calls import Call, Last, activate, head_of
from twofold.features import Scores
from twofold.nets import modules, steps
from twofold.nets.net import Net
from twofold.tensors import Array
from twofold.v1 import graph_pb2

#: 65,536 times 4: interface/gemm.c of OpenBLAS.
_SERIAL_PRODUCT = 1 << 18
#: Rows that buffers are made for: of more, calls cost less than the arithmetic.
_MOST_ROWS = 64
#: Rows that are computed at least.
_LEAST_ROWS = 2
#: Rows and columns.
_RANK = 2

_UFUNCS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.true_divide,
}


@dataclass(frozen=True, slots=True)
class _Bound:
    """What is run for one number of rows."""

    inputs: list[Array]
    calls: list[Call]
    last: Last


class ArraysForm:
    """See Form. Raises Inexpressible where the net is more than products and elementwise steps."""

    name = "arrays"
    most_rows = _MOST_ROWS

    def __init__(self, net: Net, folded: Folded) -> None:
        self._graph = net.graph
        self._folded = folded
        self._weights = _weights(folded)
        _check_layers(folded)
        self._buffers = {
            slot: np.zeros((_MOST_ROWS, width), dtype)
            for slot, (width, dtype) in _widths(folded).items()
        }
        computed = folded.operations.keys() | set(range(folded.input_count))
        if not computed >= set(folded.results):
            raise Inexpressible("an output is a constant")
        # What is no number is answered as such, without a warning. Entering a context that says so
        # takes a tenth of saying so for each batch, which is 3 us.
        self._context = copy_context()
        self._context.run(np.seterr, all="ignore")
        self._bound: dict[int, _Bound] = {}
        self._bind(self.most_rows)

    def put(self, columns: Columns, rows: int) -> _Bound:
        """See Form."""
        bound = self._bound.get(rows) or self._bind(rows)
        for column, view in zip(columns, bound.inputs, strict=True):
            np.concatenate(column, out=view)
        return bound

    def compute(self, batch: _Bound) -> Scores:
        """See Form."""
        return self._context.run(_walk, batch)

    def _bind(self, rows: int) -> _Bound:
        """The calls for so many rows; raises Inexpressible."""
        folded = self._folded
        computed = max(rows, _LEAST_ROWS)
        views = {slot: buffer[:computed] for slot, buffer in self._buffers.items()}
        calls: list[Call] = []
        for target, operation in folded.operations.items():
            if isinstance(operation, Same):
                views[target] = views[operation.source]
            elif target in views:  # of a tuple of operands nothing is computed
                calls += self._calls(target, operation, views)
        inputs = [views[place][:rows] for place in range(folded.input_count)]
        if self._graph.head == graph_pb2.HEAD_RAW:
            results = [views[slot][:rows] for slot in folded.results]
            bound = _Bound(inputs, calls, lambda: [result.copy() for result in results])
        else:
            before, last = head_of(self._graph, views[folded.results[0]], rows)
            bound = _Bound(inputs, [*calls, *before], last)
        self._bound[rows] = bound
        return bound

    def _calls(self, target: int, operation: Operation, views: Mapping[int, Array]) -> list[Call]:
        into = views[target]
        match operation:
            case Dense():
                weight, bias = self._weights[target]
                calls: list[Call] = _products(views[operation.source], weight, into)
                if bias is not None:
                    calls.append(partial(np.add, into, bias, into))
            case Affine():
                calls, source = [], views[operation.source]
                for function, constant in operation.parts:
                    number = constant.float().numpy()
                    calls.append(partial(_UFUNCS[function], source, number, into))
                    source = into
            case Activate():
                return activate(operation.activation, views[operation.source], into)
            case Other(step):
                return _other(self._folded, step, views, into)
            case _:
                raise Inexpressible(f"numpy has no {type(operation).__name__}")
        if operation.activation is not None:
            calls += activate(operation.activation, into, into)
        return calls


def _walk(batch: _Bound) -> Scores:
    for call in batch.calls:
        call()
    return batch.last()


def _weights(folded: Folded) -> dict[int, tuple[Array, Array | None]]:
    """Weight [in, out] and bias of every linear layer, for numpy's products."""
    return {
        target: (
            np.ascontiguousarray(operation.weight.detach().numpy().T),
            None if operation.bias is None else operation.bias.detach().numpy(),
        )
        for target, operation in folded.operations.items()
        if isinstance(operation, Dense)
    }


def _products(source: Array, weight: Array, into: Array) -> list[Call]:
    """The product in pieces for one thread; the last one may begin within the one before it."""
    rows = len(source)
    size = min(rows, _SERIAL_PRODUCT // weight.size)
    starts = [min(start, rows - size) for start in range(0, rows, size)]
    pieces = [slice(start, start + size) for start in starts]
    return [partial(np.dot, source[piece], weight, into[piece]) for piece in pieces]


def _check_layers(folded: Folded) -> None:
    """Raises Inexpressible where a piece would be a lone row."""
    layers = [each for each in folded.operations.values() if isinstance(each, Dense)]
    if any(layer.weight.numel() * _LEAST_ROWS > _SERIAL_PRODUCT for layer in layers):
        raise Inexpressible("its layers are too large for numpy on one thread")


def _widths(folded: Folded) -> dict[int, tuple[int, Any]]:
    """Columns and element type of every slot that is rows of columns; raises Inexpressible.

    Tuples of operands are no such slots, nor is what another slot is.
    """
    slots = [*range(folded.input_count)]
    for target, operation in folded.operations.items():
        is_tuple = isinstance(operation, Other) and isinstance(operation.step, steps.Collect)
        if not is_tuple and not isinstance(operation, Same):
            slots.append(target)
    found: dict[int, tuple[int, Any]] = {}
    for slot in slots:
        kind = folded.kinds[slot]
        is_input = slot < folded.input_count and kind is not None and kind.dtype == torch.int64
        if kind is None or len(kind.shape) != _RANK:
            raise Inexpressible("not all of it is rows of columns")
        if kind.dtype != torch.float32 and not is_input:
            raise Inexpressible("not all of it is float32")
        found[slot] = (kind.shape[1], np.int64 if is_input else np.float32)
    return found


def _other(folded: Folded, step: steps.Step, views: Mapping[int, Array], into: Array) -> list[Call]:
    """Sums and products of two, columns side by side, one-hot columns; raises Inexpressible."""
    if isinstance(step, steps.Apply) and isinstance(step.module, modules.OneHot):
        column, position = step.module.column.numpy(), step.module.position.numpy()
        index = np.zeros((len(into), len(column)), np.int64)
        picked = partial(np.take, views[step.source], column, 1, index)
        return [picked, partial(np.equal, index, position, into)]
    if isinstance(step, steps.CallTwo):
        if step.function is torch.cat and folded.constants[step.right] in (1, -1):
            return [partial(np.concatenate, _pieces(folded, step.left, views), 1, into)]
        function = _UFUNCS.get(step.function)
        pair = [views.get(step.left), views.get(step.right)]
        if function and all(each is not None and each.shape == into.shape for each in pair):
            return [partial(function, *pair, into)]
    raise Inexpressible("numpy has not all of its operations")


def _pieces(folded: Folded, slot: int, views: Mapping[int, Array]) -> Sequence[Array]:
    """The operands that a slot holds as a tuple."""
    match folded.operations.get(slot):
        case Other(steps.Collect(_, sources)) if views.keys() >= set(sources):
            return [views[source] for source in sources]
        case _:
            pass
    raise Inexpressible("numpy has not all of its operations")

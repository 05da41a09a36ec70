"""Activations and heads as lists of numpy calls over buffers that are there already. No torch."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from inferer.forms.form import Activation, Inexpressible
from twofold.features import Scores
from twofold.tensors import Array
from twofold.v1 import graph_pb2

#: A function of numpy with all that it is called with, where it writes to included.
Call = Callable[[], object]

# As arrays: a number of Python's is made one at every call.
_ZERO = np.zeros((), np.float32)
_ONE = np.ones((), np.float32)


def activate(activation: Activation, source: Array, target: Array) -> list[Call]:
    """The activation of `source` in `target`, which may be the same array.

    Raises Inexpressible for one that numpy does not have.
    """
    make = _ACTIVATIONS.get(activation.name)
    if make is None:
        raise Inexpressible(f"numpy has no {activation.name}")
    return make(source, target, *activation.arguments)


def _relu(source: Array, target: Array) -> list[Call]:
    return [partial(np.maximum, source, _ZERO, out=target)]


def _tanh(source: Array, target: Array) -> list[Call]:
    return [partial(np.tanh, source, target)]


def _sigmoid(source: Array, target: Array) -> list[Call]:
    return [
        partial(np.negative, source, target),
        partial(np.exp, target, target),
        partial(np.add, target, _ONE, target),
        partial(np.reciprocal, target, target),
    ]


def _silu(source: Array, target: Array) -> list[Call]:
    inner = np.empty_like(source)
    return [*_sigmoid(source, inner), partial(np.multiply, source, inner, target)]


def _hardtanh(source: Array, target: Array, low: float, high: float) -> list[Call]:
    return [
        partial(np.maximum, source, np.float32(low), out=target),
        partial(np.minimum, target, np.float32(high), out=target),
    ]


def _leaky_relu(source: Array, target: Array, slope: float) -> list[Call]:
    if not 0 <= slope <= 1:
        raise Inexpressible(f"numpy has no leaky_relu with a slope of {slope}")
    inner = np.empty_like(source)
    return [
        partial(np.multiply, source, np.float32(slope), inner),
        partial(np.maximum, source, inner, out=target),
    ]


_ACTIVATIONS: Mapping[str, Callable[..., list[Call]]] = {
    "relu": _relu,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
}

#: The last call of a head: it answers new arrays.
Last = Callable[[], Scores]


def head_of(graph: graph_pb2.Graph, logits: Array, rows: int) -> tuple[list[Call], Last]:
    """What is served of logits [>= rows, K], which are written over: calls, and the last one."""
    match graph.head:
        case graph_pb2.HEAD_SOFTMAX:
            return _softmax(logits, rows)
        case graph_pb2.HEAD_SIGMOID:
            return _sigmoid(logits, logits), lambda: _both(logits[:rows])
        case graph_pb2.HEAD_MULTILABEL:
            return _sigmoid(logits, logits), logits[:rows].copy
        case graph_pb2.HEAD_STEP:
            return [], lambda: _both(_step(logits[:rows]))
        case graph_pb2.HEAD_THRESHOLD:
            threshold = np.float32(graph.head_threshold)
            return [], lambda: _both(_step(logits[:rows] - threshold))
        case _:
            return [], logits[:rows].copy


def _softmax(logits: Array, rows: int) -> tuple[list[Call], Last]:
    largest, total = (np.empty((len(logits), 1), np.float32) for _ in range(2))
    calls: list[Call] = [
        partial(np.maximum.reduce, logits, axis=1, out=largest, keepdims=True),
        partial(np.subtract, logits, largest, logits),
        partial(np.exp, logits, logits),
        partial(np.add.reduce, logits, axis=1, out=total, keepdims=True),
    ]
    parts, whole = logits[:rows], total[:rows]
    return calls, partial(np.divide, parts, whole)


def _both(score: Array) -> Array:
    """[B, 1] scores of class 1 to [B, 2] of both classes."""
    return np.concatenate((_ONE - score, score), 1)


def _step(z: Array) -> Array:
    """As twofold.nets.modules.step."""
    return np.where(np.isnan(z), z, (z >= 0).astype(np.float32))

"""What every permitted function does: torch callables of the tables' positional parameters.

The callables of FACTORIES get the net's first input before their own arguments: they make tensors
on its device.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from twofold.nets import arithmetic, modules, tables
from twofold.nets.functions_windows import WINDOW_CALLS
from twofold.v1 import graph_pb2

#: A value of a graph at run time: a tensor, a number, a tuple of them.
Run = Callable[..., Any]  # Any: torch's own functions are not typed

Dims = int | Sequence[int] | None


def _of(name: str) -> graph_pb2.Function:
    return getattr(graph_pb2, f"FUNCTION_{name}")  # names of this module alone


def _named(module: object, names: str) -> dict[graph_pb2.Function, Run]:
    """Functions that are called in the enumeration as in `module`."""
    return {_of(name.upper()): getattr(module, name) for name in names.split()}


def _check_pieces(count: int) -> None:
    if count > tables.MAX_PIECES:
        raise ValueError(f"{count} pieces, more than {tables.MAX_PIECES}")


def split(x: Tensor, size: int | Sequence[int], dim: int) -> tuple[Tensor, ...]:
    """torch.split of a bounded number of pieces."""
    pieces = len(size) if isinstance(size, Sequence) else -(-x.size(dim) // max(size, 1))
    _check_pieces(pieces)
    return torch.split(x, size, dim)  # pyright: ignore[reportArgumentType] - a tuple is a list here


def chunk(x: Tensor, chunks: int, dim: int) -> tuple[Tensor, ...]:
    """torch.chunk of a bounded number of pieces."""
    _check_pieces(chunks)
    return torch.chunk(x, chunks, dim)


def _part(p: float) -> float:
    """A probability, as the meta device does not look at it."""
    if not 0 <= p <= 1:
        raise ValueError(f"a probability of {p}; allowed: 0 to 1")
    return p


def unbind(x: Tensor, dim: int) -> tuple[Tensor, ...]:
    """torch.unbind of a bounded number of pieces."""
    _check_pieces(x.size(dim))
    return torch.unbind(x, dim)


def getitem(x: object, index: Any) -> Any:  # noqa: ANN401 - a tensor, number or tuple
    """x[index] of a tensor or of a tuple that another function gave."""
    if not isinstance(x, (Tensor, tuple)):
        raise TypeError(f"an index of {type(x).__name__}, which has none")
    return x[index]


def size(x: Tensor, dim: int | None) -> int | tuple[int, ...]:
    """x.size(dim), or all sizes."""
    return tuple(x.shape) if dim is None else x.size(dim)


def clamp(x: Tensor, low: Any, high: Any) -> Tensor:  # noqa: ANN401 - a tensor, number or None
    """torch.clamp."""
    return torch.clamp(x, low, high)


def squeeze(x: Tensor, dim: Dims) -> Tensor:
    """x.squeeze of the dimensions, or of all of size 1."""
    return x.squeeze() if dim is None else x.squeeze(dim)  # pyright: ignore[reportCallIssue, reportArgumentType] - a sequence too


def extreme(function: Run) -> Run:
    """torch.max or torch.min of one tensor."""
    return lambda x, dim, keep: function(x) if dim is None else function(x, dim, keep)


def reduction(function: Run) -> Run:
    """A reduction that has an overload without dimensions."""
    return lambda x, dim, keep: function(x) if dim is None else function(x, dim, keepdim=keep)


def spread(function: Run) -> Run:
    """torch.var and its like."""
    return lambda x, dim, correction, keep: function(x, dim, correction=correction, keepdim=keep)


def embedding(x: Tensor, weight: Tensor, padding: int | None) -> Tensor:
    """functional.embedding, which on a GPU takes an index out of range as modules.Embedding."""

    def look_up(index: Tensor) -> Tensor:
        return functional.embedding(index, weight, padding)

    return modules.known_rows(look_up, x, weight.size(0)) if x.is_cuda else look_up(x)


_UNARY = (
    "neg abs exp expm1 log log2 log10 log1p rsqrt square reciprocal sin cos tan asin acos atan "
    "sinh cosh tanh erf sign trunc logical_not bitwise_not isnan isinf isfinite sigmoid relu "
    "atan2 maximum minimum bmm outer matmul lerp logical_and logical_or logical_xor detach clone "
    "where gather index_select amax amin logsumexp triu tril flip movedim diagonal cat stack "
    "masked_fill unflatten unsqueeze transpose permute narrow"
)
_FUNCTIONAL = (
    "relu6 elu selu celu gelu silu mish softsign softplus leaky_relu prelu softshrink hardshrink "
    "hardsigmoid hardswish hardtanh logsigmoid tanhshrink threshold glu linear bilinear "
    "cosine_similarity pairwise_distance layer_norm group_norm rms_norm local_response_norm "
    "normalize dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"
)

_ELEMENTWISE: Mapping[graph_pb2.Function, Run] = {
    **_named(torch, _UNARY),
    **_named(functional, _FUNCTIONAL),
    **{_of(name): function for name, function in arithmetic.BINARY.items()},
    **{_of(name): function for name, function in arithmetic.UNARY.items()},
    graph_pb2.FUNCTION_BITWISE_AND: arithmetic.guarded(operator.and_),
    graph_pb2.FUNCTION_BITWISE_OR: arithmetic.guarded(operator.or_),
    graph_pb2.FUNCTION_BITWISE_XOR: arithmetic.guarded(operator.xor),
    graph_pb2.FUNCTION_ROUND: lambda x, decimals: torch.round(x, decimals=decimals),
    graph_pb2.FUNCTION_NAN_TO_NUM: torch.nan_to_num,
    graph_pb2.FUNCTION_GELU: lambda x, how: functional.gelu(x, approximate=how),
    graph_pb2.FUNCTION_SOFTMAX: lambda x, dim, kind: torch.softmax(x, dim, dtype=kind),
    graph_pb2.FUNCTION_LOG_SOFTMAX: lambda x, dim, kind: torch.log_softmax(x, dim, dtype=kind),
    graph_pb2.FUNCTION_SOFTMIN: lambda x, dim, kind: functional.softmin(x, dim, dtype=kind),
    graph_pb2.FUNCTION_CLAMP: clamp,
    graph_pb2.FUNCTION_TO_TYPE: lambda x, kind: x.to(kind),
    graph_pb2.FUNCTION_TYPE_AS: lambda x, other: x.type_as(other),
    graph_pb2.FUNCTION_CONTIGUOUS: lambda x: x.contiguous(),
}

#: Arithmetic where at least one of the two operands is known to be a tensor.
OF_TENSORS: Mapping[graph_pb2.Function, Run] = {
    graph_pb2.FUNCTION_ADD: operator.add,
    graph_pb2.FUNCTION_SUB: operator.sub,
    graph_pb2.FUNCTION_MUL: operator.mul,
    graph_pb2.FUNCTION_DIV: operator.truediv,
}

_ALGEBRA: Mapping[graph_pb2.Function, Run] = {
    graph_pb2.FUNCTION_EMBEDDING: embedding,
    graph_pb2.FUNCTION_ADDMM: lambda x, left, right, beta, alpha: torch.addmm(
        x, left, right, beta=beta, alpha=alpha
    ),
    graph_pb2.FUNCTION_EINSUM: lambda equation, parts: torch.einsum(equation, *parts),
    graph_pb2.FUNCTION_SCALED_DOT_PRODUCT_ATTENTION: (
        lambda query, key, value, mask, p, causal, scale, grouped: (
            functional.scaled_dot_product_attention(
                query, key, value, mask, _part(p), causal, scale=scale, enable_gqa=grouped
            )
        )
    ),
}

_RESHAPING: Mapping[graph_pb2.Function, Run] = {
    graph_pb2.FUNCTION_RESHAPE: lambda x, shape: x.reshape(shape),
    graph_pb2.FUNCTION_FLATTEN: lambda x, start, end: x.flatten(start, end),
    graph_pb2.FUNCTION_SQUEEZE: squeeze,
    graph_pb2.FUNCTION_EXPAND: lambda x, sizes: x.expand(sizes),
    graph_pb2.FUNCTION_EXPAND_AS: lambda x, other: x.expand_as(other),
    graph_pb2.FUNCTION_REPEAT: lambda x, repeats: x.repeat(repeats),
    graph_pb2.FUNCTION_REPEAT_INTERLEAVE: lambda x, count, dim: torch.repeat_interleave(
        x, count, dim=dim
    ),
    graph_pb2.FUNCTION_ROLL: lambda x, shifts, dims: torch.roll(
        x, shifts, () if dims is None else dims
    ),
    graph_pb2.FUNCTION_FLIP: lambda x, dims: (
        torch.flip(x, (dims,)) if isinstance(dims, int) else torch.flip(x, dims)
    ),
    graph_pb2.FUNCTION_SLIDE: lambda x, dim, size, step: x.unfold(dim, size, step),
    graph_pb2.FUNCTION_SIZE: size,
    graph_pb2.FUNCTION_NUMEL: lambda x: x.numel(),
    graph_pb2.FUNCTION_DIM: lambda x: x.dim(),
    graph_pb2.FUNCTION_SPLIT: split,
    graph_pb2.FUNCTION_CHUNK: chunk,
    graph_pb2.FUNCTION_UNBIND: unbind,
    graph_pb2.FUNCTION_MESHGRID: lambda parts, indexing: torch.meshgrid(*parts, indexing=indexing),
    graph_pb2.FUNCTION_GETITEM: getitem,
}

_REDUCTIONS: Mapping[graph_pb2.Function, Run] = {
    graph_pb2.FUNCTION_SUM: reduction(torch.sum),
    graph_pb2.FUNCTION_MEAN: reduction(torch.mean),
    graph_pb2.FUNCTION_PROD: reduction(torch.prod),
    graph_pb2.FUNCTION_ANY: reduction(torch.any),
    graph_pb2.FUNCTION_ALL: reduction(torch.all),
    graph_pb2.FUNCTION_AMAX: lambda x, dim, keep: torch.amax(x, () if dim is None else dim, keep),
    graph_pb2.FUNCTION_AMIN: lambda x, dim, keep: torch.amin(x, () if dim is None else dim, keep),
    graph_pb2.FUNCTION_MAX: extreme(torch.max),
    graph_pb2.FUNCTION_MIN: extreme(torch.min),
    graph_pb2.FUNCTION_ARGMAX: torch.argmax,
    graph_pb2.FUNCTION_ARGMIN: torch.argmin,
    graph_pb2.FUNCTION_STD: spread(torch.std),
    graph_pb2.FUNCTION_VAR: spread(torch.var),
    graph_pb2.FUNCTION_VAR_MEAN: spread(torch.var_mean),
    graph_pb2.FUNCTION_NORM: torch.linalg.vector_norm,
    graph_pb2.FUNCTION_CUMSUM: torch.cumsum,
    graph_pb2.FUNCTION_CUMPROD: torch.cumprod,
    graph_pb2.FUNCTION_TOPK: torch.topk,
    graph_pb2.FUNCTION_SORT: lambda x, dim, down: torch.sort(x, dim=dim, descending=down),
    graph_pb2.FUNCTION_ARGSORT: lambda x, dim, down: torch.argsort(x, dim=dim, descending=down),
}


def _sized(function: Run) -> Run:
    """A factory of a size, an integer or several."""
    return lambda like, shape, kind: function(
        (shape,) if isinstance(shape, int) else shape, dtype=kind, device=like.device
    )


#: Functions that make tensors on the device of their first argument.
FACTORIES: Mapping[graph_pb2.Function, Run] = {
    graph_pb2.FUNCTION_ARANGE: lambda like, start, end, step, kind: torch.arange(
        start, end, step, dtype=kind, device=like.device
    ),
    graph_pb2.FUNCTION_LINSPACE: lambda like, start, end, steps, kind: torch.linspace(
        start, end, steps, dtype=kind, device=like.device
    ),
    graph_pb2.FUNCTION_EYE: lambda like, rows, columns, kind: torch.eye(
        rows, rows if columns is None else columns, dtype=kind, device=like.device
    ),
    graph_pb2.FUNCTION_ZEROS: _sized(torch.zeros),
    graph_pb2.FUNCTION_ONES: _sized(torch.ones),
    graph_pb2.FUNCTION_RAND: _sized(torch.rand),
    graph_pb2.FUNCTION_RANDN: _sized(torch.randn),
    graph_pb2.FUNCTION_FULL: lambda like, shape, value, kind: torch.full(
        (shape,) if isinstance(shape, int) else shape, value, dtype=kind, device=like.device
    ),
}

_LIKE: Mapping[graph_pb2.Function, Run] = {
    graph_pb2.FUNCTION_ZEROS_LIKE: lambda x, kind: torch.zeros_like(x, dtype=kind),
    graph_pb2.FUNCTION_ONES_LIKE: lambda x, kind: torch.ones_like(x, dtype=kind),
    graph_pb2.FUNCTION_RAND_LIKE: lambda x, kind: torch.rand_like(x, dtype=kind),
    graph_pb2.FUNCTION_RANDN_LIKE: lambda x, kind: torch.randn_like(x, dtype=kind),
    graph_pb2.FUNCTION_FULL_LIKE: lambda x, value, kind: torch.full_like(x, value, dtype=kind),
}

_LOSSES: Mapping[graph_pb2.Function, Run] = {
    graph_pb2.FUNCTION_MSE_LOSS: lambda x, target, how: functional.mse_loss(
        x, target, reduction=how
    ),
    graph_pb2.FUNCTION_L1_LOSS: lambda x, target, how: functional.l1_loss(x, target, reduction=how),
    graph_pb2.FUNCTION_SMOOTH_L1_LOSS: lambda x, target, how, beta: functional.smooth_l1_loss(
        x, target, reduction=how, beta=beta
    ),
    graph_pb2.FUNCTION_HUBER_LOSS: lambda x, target, how, delta: functional.huber_loss(
        x, target, reduction=how, delta=delta
    ),
    graph_pb2.FUNCTION_CROSS_ENTROPY: (
        lambda x, target, weight, ignored, how, smoothing: functional.cross_entropy(
            x,
            target,
            weight,
            ignore_index=ignored,
            reduction=how,
            label_smoothing=smoothing,
        )
    ),
    graph_pb2.FUNCTION_NLL_LOSS: lambda x, target, weight, ignored, how: functional.nll_loss(
        x, target, weight, ignore_index=ignored, reduction=how
    ),
    graph_pb2.FUNCTION_BINARY_CROSS_ENTROPY: (
        lambda x, target, weight, how: functional.binary_cross_entropy(
            x, target, weight, reduction=how
        )
    ),
    graph_pb2.FUNCTION_BINARY_CROSS_ENTROPY_WITH_LOGITS: (
        lambda x, target, weight, how, positive: functional.binary_cross_entropy_with_logits(
            x, target, weight, reduction=how, pos_weight=positive
        )
    ),
    graph_pb2.FUNCTION_KL_DIV: lambda x, target, how, is_log: functional.kl_div(
        x, target, reduction=how, log_target=is_log
    ),
}

#: What a step calls for every function but ONE_HOT, which is a module, and FACTORIES.
CALLS: Mapping[graph_pb2.Function, Run] = {
    **_ELEMENTWISE,
    **_ALGEBRA,
    **_RESHAPING,
    **_REDUCTIONS,
    **WINDOW_CALLS,
    **_LIKE,
    **_LOSSES,
}

"""Shapes of torch's most frequent operations, faster than torch's own, and types that it lets pass.

On the meta device torch runs many operations in Python: a batch norm takes 1.3 ms there, a linear
layer 0.3 ms. `SHORTCUTS` gives the same result in microseconds where the operands are of the usual
kind, and NOTIMPLEMENTED otherwise; a test compares them. `check_types` refuses operands that meta
takes and a CPU or a GPU does not.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# ruff: noqa: SLF001 - torch's own operations have names with an underscore

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_aten: Any = torch.ops.aten  # its operations are found at run time
#: Dimensions of a matrix.
_MATRIX = 2


def _packets(names: str) -> frozenset[Any]:
    """All forms of these operations."""
    return frozenset(getattr(_aten, name) for name in names.split())


#: Operations whose tensors must all be of one float type: no device has others, or mixes them.
_OF_ONE_FLOAT_TYPE = _packets(
    "mm bmm addmm baddbmm convolution native_layer_norm native_batch_norm native_group_norm "
    "_fused_rms_norm binary_cross_entropy_with_logits huber_loss grid_sampler_2d grid_sampler_3d"
)
#: Operations whose first tensor must be of a float type.
_OF_FLOATS = _packets(
    "_softmax _log_softmax _safe_softmax gelu elu celu silu mish glu leaky_relu softplus hardtanh "
    "hardswish hardsigmoid hardshrink softshrink log_sigmoid_forward rrelu_with_noise "
    "nll_loss_forward avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
    "adaptive_max_pool2d adaptive_max_pool3d max_pool2d_with_indices max_pool3d_with_indices "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d "
    "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d _upsample_bilinear2d_aa "
    "_upsample_bicubic2d_aa im2col col2im std var var_mean round rand_like randn_like"
)
#: Operations that have no truth values.
_OF_NO_BOOLEANS = _packets(
    "abs argmax argmin ceil floor trunc relu threshold topk sub rsub reflection_pad1d "
    "reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d"
)
_OF_NO_FLOATS = _packets("bitwise_and bitwise_or bitwise_xor bitwise_not")
#: Operations whose sizes and steps are of 32 bits on a device.
_OF_SIDES = _packets("avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices")
#: Where smooth_l1_loss takes beta, last of all, if at all.
_BETA = 3
_MOST_SIDE = (1 << 31) - 1
_LARGEST = torch.finfo(torch.float32).max


def check_types(operation: Any, arguments: tuple[Any, ...]) -> None:  # noqa: ANN401 - an operation of torch
    """Raises TypeError for operands of types that the operation has on no device."""
    packet = operation.overloadpacket
    if packet in _CHECKED:
        types = [each.dtype for each in arguments if isinstance(each, Tensor)]
        if not _fit(packet, types):
            words = ", ".join(str(kind).removeprefix("torch.") for kind in types)
            raise TypeError(f"operands of {words}, which {packet.__name__} is not there for")
    if packet is _aten.convolution:
        _check_convolution(arguments)
    if packet is _aten.im2col and min(arguments[3]) < 0:
        raise TypeError(f"padding {list(arguments[3])} is negative")


def check_numbers(
    operation: Any,  # noqa: ANN401 - of torch
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
) -> None:
    """Raises TypeError for a number that the operation takes on no device."""
    packet = operation.overloadpacket
    for each in (*arguments, *options.values()):
        if isinstance(each, float):
            if math.isfinite(each) and abs(each) > _LARGEST:
                raise TypeError(f"{each} is more than 32-bit floats hold")
            if packet in _OF_NO_FLOATS:
                raise TypeError(f"{packet.__name__} of {each}, which is no whole number")
        elif packet in _OF_SIDES and isinstance(each, list) and max(each, default=0) > _MOST_SIDE:
            raise TypeError(f"a side of {max(each)}; the most is {_MOST_SIDE}")
    if packet is _aten.smooth_l1_loss and any(beta < 0 for beta in arguments[_BETA:]):
        raise TypeError(f"beta is {arguments[_BETA]}; it must be at least 0")


def check_dimension(
    operation: Any,  # noqa: ANN401 - of torch
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
) -> None:
    """Raises IndexError for a dimension that there is not, which these take on the meta device."""
    if operation.overloadpacket not in _OF_A_DIMENSION:
        return
    rank = max(arguments[0].dim(), 1)
    dim = options["dim"] if "dim" in options else (*arguments, -1)[1]
    if not -rank <= dim < rank:
        raise IndexError(f"dimension {dim} of a tensor of {rank}")


def _check_convolution(arguments: tuple[Any, ...]) -> None:
    """Raises TypeError for what no device takes of a convolution, and meta does."""
    rank = arguments[0].dim() - 2
    found = dict(zip(_SIDES, (arguments[3], arguments[4], arguments[5], arguments[7]), strict=True))
    for name, sides in found.items():
        least = 1 if name in ("stride", "dilation") else 0
        if len(sides) not in (1, rank) or min(sides) < least:
            raise TypeError(f"{name} {list(sides)} for {rank} dimensions")
    weight, bias = arguments[1], arguments[2]
    if bias is not None:
        channels = weight.shape[1] * arguments[8] if arguments[6] else weight.shape[0]
        if list(bias.shape) != [channels]:
            raise TypeError(f"a bias of shape {list(bias.shape)} for {channels} channels")
    if arguments[6]:
        stride, _, dilation, added = (_each(sides, rank) for sides in found.values())
        for size, limit in zip(added, map(max, stride, dilation), strict=True):
            if size >= limit:
                raise TypeError(f"output_padding {size} is not below stride or dilation")


def _each(sides: Sequence[int], rank: int) -> Sequence[int]:
    """A number per dimension."""
    return list(sides) * rank if len(sides) == 1 else sides


def _fit(packet: Any, types: list[torch.dtype]) -> bool:  # noqa: ANN401 - operations of torch
    if packet in _OF_NO_BOOLEANS:
        return torch.bool not in types
    if packet in _OF_NO_FLOATS:
        return not any(kind.is_floating_point for kind in types)
    is_one = packet not in _OF_ONE_FLOAT_TYPE or len(set(types)) == 1
    return is_one and all(kind.is_floating_point for kind in types[:1])


#: Sides of a convolution, as its operation takes them.
_SIDES = ("stride", "padding", "dilation", "output_padding")
_OF_A_DIMENSION = _packets("_softmax sort")
_CHECKED = _OF_ONE_FLOAT_TYPE | _OF_FLOATS | _OF_NO_BOOLEANS | _OF_NO_FLOATS


def _alike(x: Any, *rest: Any, **options: Any) -> Any:  # noqa: ANN401 - as torch
    """A result of the shape and type of its first operand, a float tensor."""
    del rest, options
    return _like(x) if x.dtype.is_floating_point else NotImplemented


def _like(x: Tensor) -> Tensor:
    """An empty tensor of the same shape and type; laid out likewise."""
    return x.new_empty(x.shape) if x.is_contiguous() else torch.empty_like(x)


def _itself(x: Tensor) -> Tensor:
    """What an operation in place gives."""
    return x


def _binary(a: Any, b: Any, **options: Any) -> Any:  # noqa: ANN401 - as torch
    """Elementwise of two tensors of one float type, one of which has the shape of the result."""
    if options or not isinstance(a, Tensor) or not a.is_contiguous():
        return NotImplemented
    if not isinstance(b, Tensor):
        return a.new_empty(a.shape) if a.dtype.is_floating_point else NotImplemented
    if a.dtype != b.dtype or not a.dtype.is_floating_point or not b.is_contiguous():
        return NotImplemented
    if a.shape == b.shape or _spreads(b.shape, a.shape):
        return a.new_empty(a.shape)
    return b.new_empty(b.shape) if _spreads(a.shape, b.shape) else NotImplemented


def _spreads(small: torch.Size, large: torch.Size) -> bool:
    """Whether a tensor of `small` broadcasts to `large`."""
    if len(small) > len(large):
        return False
    ends = zip(reversed(small), reversed(large), strict=False)
    return all(one in (other, 1) for one, other in ends)


def _addmm(bias: Tensor, left: Tensor, right: Tensor, **options: Any) -> Any:  # noqa: ANN401 - as torch
    if options or not _spreads(bias.shape, torch.Size((left.shape[0], right.shape[1]))):
        return NotImplemented
    return _mm(left, right)


def _mm(left: Tensor, right: Tensor) -> Any:  # noqa: ANN401 - as torch
    """Of matrices that fit; types were compared."""
    is_fit = left.dim() == right.dim() == _MATRIX and left.shape[1] == right.shape[0]
    return left.new_empty((left.shape[0], right.shape[1])) if is_fit else NotImplemented


def _cat(tensors: Any, dim: int = 0) -> Any:  # noqa: ANN401 - as torch
    """Side by side: tensors of one type, whose other sizes are equal."""
    first = tensors[0]
    rank = first.dim()
    if not -rank <= dim < rank or not all(each.is_contiguous() for each in tensors):
        return NotImplemented
    shapes = [list(each.shape) for each in tensors]
    along = [shape.pop(dim) for shape in shapes if len(shape) == rank]
    if len(along) < len(shapes) or any(shape != shapes[0] for shape in shapes):
        return NotImplemented  # torch says what is wrong
    if any(each.dtype != first.dtype for each in tensors):
        return NotImplemented
    shape = list(first.shape)
    shape[dim] = sum(along)
    return first.new_empty(shape)


def _equal(a: Any, b: Any) -> Any:  # noqa: ANN401 - as torch
    """Of two tensors of one type, one of which has the shape of the result."""
    if not isinstance(b, Tensor) or a.dtype != b.dtype:
        return NotImplemented
    if not (_spreads(b.shape, a.shape) or _spreads(a.shape, b.shape)):
        return NotImplemented
    if not (a.is_contiguous() and b.is_contiguous()):
        return NotImplemented
    shape = a.shape if _spreads(b.shape, a.shape) else b.shape
    return a.new_empty(shape, dtype=torch.bool)


def _columns(x: Tensor, indices: Any) -> Any:  # noqa: ANN401 - as torch
    """x[:, index] of a matrix and whole numbers."""
    if x.dim() != _MATRIX or len(indices) != _MATRIX or indices[0] is not None:
        return NotImplemented
    index = indices[1]
    if index.dim() != 1 or index.dtype != torch.int64:
        return NotImplemented
    return x.new_empty((x.shape[0], index.shape[0]))


def _to_type(x: Tensor, **options: Any) -> Any:  # noqa: ANN401 - as torch
    """A copy of another type, where nothing else is asked for."""
    if options.keys() != {"dtype"} or not x.is_contiguous():
        return NotImplemented
    return x.new_empty(x.shape, dtype=options["dtype"])


def _batch_norm(x: Tensor, *rest: Any) -> Any:  # noqa: ANN401 - as torch
    """The composite around it has compared the shapes."""
    del rest
    return _like(x), x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


def _layer_norm(x: Tensor, shape: Any, weight: Any, bias: Any, eps: float) -> Any:  # noqa: ANN401 - as torch
    del eps
    kept = x.dim() - len(shape)
    given = [each.shape for each in (weight, bias) if each is not None]
    if any(list(each) != list(shape) for each in [x.shape[kept:], *given]) or not len(shape):
        return NotImplemented  # torch says what is wrong
    statistics = x.new_empty((*x.shape[:kept], *(1 for _ in shape)))
    return x.new_empty(x.shape), statistics, x.new_empty(statistics.shape)


def _group_norm(x: Tensor, *rest: Any) -> Any:  # noqa: ANN401 - as torch
    """The composite around it has compared the shapes."""
    groups = (rest[2], rest[5])
    return x.new_empty(x.shape), x.new_empty(groups), x.new_empty(groups)


_ALIKE = (
    _aten.relu.default,
    _aten.sigmoid.default,
    _aten.tanh.default,
    _aten.gelu.default,
    _aten.silu.default,
    _aten.elu.default,
    _aten.leaky_relu.default,
    _aten._safe_softmax.default,
)
_IN_PLACE = (_aten.relu_.default, _aten.sigmoid_.default, _aten.tanh_.default)

#: Operations by what computes their results' shapes.
SHORTCUTS: Mapping[Any, Callable[..., Any]] = {
    **dict.fromkeys(_ALIKE, _alike),
    **dict.fromkeys(_IN_PLACE, _itself),
    _aten.add.Tensor: _binary,
    _aten.sub.Tensor: _binary,
    _aten.mul.Tensor: _binary,
    _aten.div.Tensor: _binary,
    _aten.cat.default: _cat,
    _aten.eq.Tensor: _equal,
    _aten.index.Tensor: _columns,
    _aten._to_copy.default: _to_type,
    _aten.mm.default: _mm,
    _aten.addmm.default: _addmm,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.native_group_norm.default: _group_norm,
}


def run(operation: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as torch
    """The operation's result on the meta device."""
    check_types(operation, arguments)
    check_numbers(operation, arguments, options)
    check_dimension(operation, arguments, options)
    shortcut = SHORTCUTS.get(operation)
    if shortcut is not None:
        result = shortcut(*arguments, **options)
        if result is not NotImplemented:
            return result
    return operation(*arguments, **options)

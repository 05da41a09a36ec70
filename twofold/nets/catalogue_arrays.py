"""Families for one array per row: images [C, H, W] and sequences [T, F]. No torch.

Positions become one row by mean and amax over their dimensions, and maps shrink by average pooling
and strides: unlike max pooling, none of these is refused where only deterministic algorithms run.

No family fails on a batch of one row, which the last of an epoch may be: batch normalisation is
only where a row has several positions, group normalisation where a group has several numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from twofold.errors import InvalidField
from twofold.nets import tables, values
from twofold.nets.catalogue_options import family_word
from twofold.nets.catalogue_tables import scaled, side_by_side
from twofold.nets.draft import Draft, Drawn
from twofold.v1 import graph_pb2, spec_pb2

_SEQUENCE, _IMAGE = 2, 3
_DIMENSIONS = {
    _SEQUENCE: "[time steps, features]",
    _IMAGE: "[channels, height, width]",
}
_RANKS = {
    spec_pb2.FAMILY_CNN: _IMAGE,
    spec_pb2.FAMILY_RESNET: _IMAGE,
    spec_pb2.FAMILY_CNN1D: _SEQUENCE,
    spec_pb2.FAMILY_GRU: _SEQUENCE,
}
#: Most groups of a group normalisation.
_GROUPS = 8
#: Operations of torch that twofold.nets.meta counts for a time step of one layer and direction,
#: for the time step itself, and for all that is not repeated, at most.
_LAYER_OPERATIONS, _STEP_OPERATIONS, _OTHER_OPERATIONS = 18, 6, 16
#: Numbers that it counts for each column of the hidden state at such a step.
_STEP_ELEMENTS = 26


def inputs(
    draft: Draft, name: str, shape: tuple[int, ...], network: spec_pb2.NetworkSpec, *, scaling: bool
) -> Drawn:
    """The array, each of its channels or features with mean 0 and deviation 1 if it is scaled.

    The node is called apart from every path, which a column's name may equal.
    """
    rank = _RANKS[network.family]
    if len(shape) != rank:
        shown = f"an array of {list(shape)} per row" if shape else "no array"
        allowed = f"one array {_DIMENSIONS[rank]} for {family_word(network.family)}"
        raise InvalidField.of("data.features", shown, allowed)
    x = draft.read(name, graph_pb2.DATA_TYPE_FP32, shape, node="input")
    if not scaling:
        return x
    return scaled(draft, x, (shape[0], 1, 1) if rank == _IMAGE else (1, shape[1]))


def cnn(draft: Draft, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """Blocks of convolution, normalisation, activation and average pooling by 2; then pooled."""
    _check_depth(network, x.shape[1:], least=2)
    return _pooled(draft, _blocks(draft, x, network), network)


def cnn1d(draft: Draft, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """As `cnn`, over time."""
    _check_depth(network, x.shape[:1], least=2)
    return _pooled(draft, _blocks(draft, _transposed(draft, x), network), network)


def resnet(draft: Draft, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """The ResNet for small images of He et al. 2016, 4.2; projections where sizes differ."""
    _check_depth(network, x.shape[1:], least=1)
    kind = tables.ACTIVATIONS[network.activation]
    x = _conv(draft, "stem.conv", x, _Kernel(network.channels[0], 3), network)
    x = draft.apply("stem.activation", _norm(draft, "stem.norm", x, network), kind)
    for stage, channels in enumerate(network.channels):
        for place in range(network.blocks):
            stride = 2 if stage and not place else 1
            x = _basic_block(draft, f"stages.{stage}.{place}", x, (channels, stride), network)
    return _pooled(draft, x, network)


def gru(draft: Draft, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """Layers of gated recurrent units; their last states, or what they answer, pooled over time."""
    steps, directions = x.shape[0], 2 if network.bidirectional else 1
    passes = network.layers * directions
    spare = tables.MAX_OPERATIONS - _OTHER_OPERATIONS
    most = spare // (_LAYER_OPERATIONS * passes + _STEP_OPERATIONS)
    if steps > most:
        allowed = f"at most {most:,} time steps for {passes} layers, those backwards included"
        raise InvalidField.of("data.features", f"sequences of {steps:,} time steps", allowed)
    width = network.width * directions
    draft.row_elements += steps * passes * network.width * _STEP_ELEMENTS
    answers = draft.apply(
        "gru",
        x,
        graph_pb2.MODULE_KIND_GRU,
        (steps, width),
        input_size=x.shape[1],
        hidden_size=network.width,
        num_layers=network.layers,
        batch_first=True,
        dropout=network.dropout,
        bidirectional=network.bidirectional,
    )
    if network.pooling == spec_pb2.POOLING_LAST:
        states = draft.item("gru.states", answers, 1, (passes, network.width))
        ends = [
            draft.item(f"gru.state.{place}", states, place - directions, (network.width,))
            for place in range(directions)
        ]
        return side_by_side(draft, "pooled", ends)
    outputs = draft.item("gru.outputs", answers, 0, (steps, width))
    return _reduced(draft, outputs, (1,), (width,), network)


def _check_depth(network: spec_pb2.NetworkSpec, sides: Sequence[int], least: int) -> None:
    """Raises InvalidField where the last block, or stage, is left sides below `least`."""
    side = min(sides)
    most = max(0, (side // least).bit_length())
    shown_sides = " x ".join(map(str, sides))
    if not most:
        allowed = f"sides of at least {least} for {family_word(network.family)}"
        raise InvalidField.of("data.features", f"arrays of {shown_sides}", allowed)
    if len(network.channels) > most:
        allowed = f"at most {most} entries for arrays of {shown_sides}: each halves them"
        raise InvalidField.of("network.channels", list(network.channels), allowed)


def _blocks(draft: Draft, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    kind = tables.ACTIVATIONS[network.activation]
    is_image = len(x.shape) == _IMAGE
    pool = graph_pb2.MODULE_KIND_AVG_POOL2D if is_image else graph_pb2.MODULE_KIND_AVG_POOL1D
    for place, channels in enumerate(network.channels):
        x = _conv(draft, f"conv.{place}", x, _Kernel(channels, network.kernel_size), network)
        x = draft.apply(f"activation.{place}", _norm(draft, f"norm.{place}", x, network), kind)
        shape = (channels, *[side // 2 for side in x.shape[1:]])
        x = draft.apply(f"pool.{place}", x, pool, shape, kernel_size=2)
    return x


def _basic_block(
    draft: Draft, path: str, x: Drawn, size: tuple[int, int], network: spec_pb2.NetworkSpec
) -> Drawn:
    """activation(norm(conv(activation(norm(conv(x))))) + x); x projected where sizes differ."""
    channels, stride = size
    kind = tables.ACTIVATIONS[network.activation]
    inner = _conv(draft, f"{path}.conv1", x, _Kernel(channels, 3, stride), network)
    inner = _norm(draft, f"{path}.norm1", inner, network)
    inner = draft.apply(f"{path}.activation1", inner, kind)
    inner = _conv(draft, f"{path}.conv2", inner, _Kernel(channels, 3), network)
    inner = _norm(draft, f"{path}.norm2", inner, network)
    if x.shape != inner.shape:
        x = _conv(draft, f"{path}.shortcut.conv", x, _Kernel(channels, 1, stride), network)
        x = _norm(draft, f"{path}.shortcut.norm", x, network)
    total = draft.pair(f"{path}.sum", graph_pb2.FUNCTION_ADD, inner, x)
    return draft.apply(f"{path}.activation2", total, kind)


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A convolution that keeps the sides of a map, or divides them by its stride, rounding up."""

    channels: int
    side: int
    stride: int = 1


def _conv(
    draft: Draft, path: str, x: Drawn, kernel: _Kernel, network: spec_pb2.NetworkSpec
) -> Drawn:
    is_image = len(x.shape) == _IMAGE
    sides = [-(-side // kernel.stride) for side in x.shape[1:]]
    return draft.apply(
        path,
        x,
        graph_pb2.MODULE_KIND_CONV2D if is_image else graph_pb2.MODULE_KIND_CONV1D,
        (kernel.channels, *sides),
        in_channels=x.width,
        out_channels=kernel.channels,
        kernel_size=kernel.side,
        stride=kernel.stride,
        padding=kernel.side // 2,
        # What a normalisation adds stands for the bias.
        bias=network.normalization == spec_pb2.NORMALIZATION_NONE,
    )


def _norm(draft: Draft, path: str, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """Normalises a map; raises InvalidField where one row alone has nothing to compare."""
    if network.normalization == spec_pb2.NORMALIZATION_NONE:
        return x
    groups = math.gcd(_GROUPS, max(1, x.width // 2)) if x.width % 2 == 0 else 1
    by_group = network.normalization == spec_pb2.NORMALIZATION_GROUP
    positions = x.elements // x.width
    if positions * (x.width // groups if by_group else 1) == 1:
        shown = f"{list(network.channels)}, which leave a map of 1 x 1"
        ways = "2 channels or more" if by_group else "network.normalization group"
        raise InvalidField.of("network.channels", shown, f"fewer entries, or {ways}")
    if by_group:
        kind = graph_pb2.MODULE_KIND_GROUP_NORM
        return draft.apply(path, x, kind, num_groups=groups, num_channels=x.width)
    is_image = len(x.shape) == _IMAGE
    module = graph_pb2.MODULE_KIND_BATCH_NORM2D if is_image else graph_pb2.MODULE_KIND_BATCH_NORM1D
    return draft.apply(path, x, module, num_features=x.width)


def _transposed(draft: Draft, x: Drawn) -> Drawn:
    """[T, F] to [F, T]."""
    operands = (values.node(x.name), values.literal(1), values.literal(2))
    shape = (x.shape[1], x.shape[0])
    return draft.call("transposed", graph_pb2.FUNCTION_TRANSPOSE, operands, shape)


def _pooled(draft: Draft, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """A map [C, ...] to [C]."""
    return _reduced(draft, x, tuple(range(2, 1 + len(x.shape))), (x.width,), network)


def _reduced(
    draft: Draft,
    x: Drawn,
    dimensions: tuple[int, ...],
    shape: tuple[int, ...],
    network: spec_pb2.NetworkSpec,
) -> Drawn:
    is_mean = network.pooling == spec_pb2.POOLING_MEAN
    function = graph_pb2.FUNCTION_MEAN if is_mean else graph_pb2.FUNCTION_AMAX
    operands = (values.node(x.name), values.integers(dimensions))
    return draft.call("pooled", function, operands, shape)

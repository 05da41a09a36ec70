"""Families for the columns of a table: their inputs, hidden layers, residual blocks, embeddings.

No torch.
"""

from collections.abc import Sequence

from twofold.errors import InvalidField
from twofold.nets import tables, values
from twofold.nets.draft import Draft, Drawn
from twofold.v1 import graph_pb2, spec_pb2

#: Most category columns with an embedding each: a module and two nodes per column.
MAX_EMBEDDINGS = 4_000


def one_hot_inputs(
    draft: Draft, numeric_count: int, category_counts: Sequence[int], *, scaling: bool
) -> Drawn:
    """The features of a row, side by side: numeric ones first, then one-hot categories."""
    parts = _numeric(draft, numeric_count, scaling=scaling)
    if category_counts:
        index = draft.read("category", graph_pb2.DATA_TYPE_INT64, (len(category_counts),))
        operands = (values.node(index.name), values.integers(category_counts))
        width = sum(category_counts)
        parts.append(draft.call("one_hot", graph_pb2.FUNCTION_ONE_HOT, operands, (width,)))
    return side_by_side(draft, "features", parts)


def embedded_inputs(
    draft: Draft,
    numeric_count: int,
    category_counts: Sequence[int],
    network: spec_pb2.NetworkSpec,
    *,
    scaling: bool,
) -> Drawn:
    """The features of a row, side by side: numeric ones first, then each category's embedding.

    Row 0 of an embedding is that of unknown values, whose index is -1: zeros, which no training
    changes. Raises InvalidField where there are no categories, or too many.
    """
    if not 1 <= len(category_counts) <= MAX_EMBEDDINGS:
        shown = f"{len(category_counts):,} category columns"
        allowed = f"1 to {MAX_EMBEDDINGS:,} of them for embedding_mlp; mlp takes any"
        raise InvalidField.of("data.features", shown, allowed)
    parts = _numeric(draft, numeric_count, scaling=scaling)
    columns = len(category_counts)
    index = draft.read("category", graph_pb2.DATA_TYPE_INT64, (columns,))
    operands = (values.node(index.name), values.literal(1))
    row = draft.call("category.row", graph_pb2.FUNCTION_ADD, operands, (columns,))
    operands = (values.node(row.name), values.literal(1))
    rows = draft.call("category.rows", graph_pb2.FUNCTION_UNBIND, operands, ())
    for place, count in enumerate(category_counts):
        column = draft.item(f"category.{place}", rows, place, ())
        width = network.embedding_dim or embedding_width(count)
        sizes = {"num_embeddings": count + 1, "embedding_dim": width, "padding_idx": 0}
        kind = graph_pb2.MODULE_KIND_EMBEDDING
        parts.append(draft.apply(f"embedding.{place}", column, kind, (width,), **sizes))
    return side_by_side(draft, "features", parts)


def embedding_width(count: int) -> int:
    """Columns for a category of `count` values: fast.ai's rule, min(600, 1.6 count^0.56)."""
    return min(600, max(1, round(1.6 * count**0.56)))


def side_by_side(draft: Draft, name: str, parts: Sequence[Drawn]) -> Drawn:
    """Columns of several nodes as one node; of one node as they are."""
    if len(parts) == 1:
        return parts[0]
    operands = (values.nodes(part.name for part in parts), values.literal(1))
    width = sum(part.width for part in parts)
    return draft.call(name, graph_pb2.FUNCTION_CAT, operands, (width,))


def scaled(draft: Draft, x: Drawn, shape: tuple[int, ...]) -> Drawn:
    """Mean 0 and deviation 1 of what is read, by states of `shape` that training sets."""
    mean = draft.read_state(tables.SCALE_MEAN, shape)
    deviation = draft.read_state(tables.SCALE_DEVIATION, shape)
    centred = draft.pair("scale.centred", graph_pb2.FUNCTION_SUB, x, mean)
    return draft.pair("scale.scaled", graph_pb2.FUNCTION_DIV, centred, deviation)


def hidden(draft: Draft, operand: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """The hidden layers of an MLP."""
    kind = tables.ACTIVATIONS[network.activation]
    for index, width in enumerate(network.hidden):
        operand = draft.linear(f"hidden.{index}", operand, width)
        operand = draft.apply(f"activation.{index}", operand, kind)
        operand = draft.dropout(f"dropout.{index}", operand, network.dropout)
    return operand


def residual(draft: Draft, operand: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """The ResNet for tables of Gorishniy et al. 2021, with layer in place of batch normalisation.

    x + dropout(linear(dropout(activation(linear(norm(x)))))), block after block; a norm and an
    activation end it.
    """
    kind = tables.ACTIVATIONS[network.activation]
    x = draft.linear("stem", operand, network.width)
    for place in range(network.blocks):
        path = f"blocks.{place}"
        inner = _layer_norm(draft, f"{path}.norm", x, network)
        inner = draft.linear(f"{path}.first", inner, network.width * network.expansion)
        inner = draft.apply(f"{path}.activation", inner, kind)
        inner = draft.dropout(f"{path}.dropout1", inner, network.dropout)
        inner = draft.linear(f"{path}.second", inner, network.width)
        inner = draft.dropout(f"{path}.dropout2", inner, network.dropout)
        x = draft.pair(f"{path}.sum", graph_pb2.FUNCTION_ADD, x, inner)
    return draft.apply("activation", _layer_norm(draft, "norm", x, network), kind)


def _layer_norm(draft: Draft, path: str, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    if network.normalization == spec_pb2.NORMALIZATION_NONE:
        return x
    if x.width == 1:  # one number less its mean is 0
        allowed = "at least 2 columns to normalise, or network.normalization none"
        raise InvalidField.of("network.width", x.width, allowed)
    return draft.apply(path, x, graph_pb2.MODULE_KIND_LAYER_NORM, normalized_shape=x.width)


def _numeric(draft: Draft, count: int, *, scaling: bool) -> list[Drawn]:
    if not count:
        return []
    x = draft.read("x", graph_pb2.DATA_TYPE_FP32, (count,))
    return [scaled(draft, x, x.shape) if scaling else x]

"""Modules of the user's over rows that are arrays, made by hand: what a tracer would send."""

from collections.abc import Sequence

from twofold.nets import tables, values
from twofold.v1 import graph_pb2

FP32, INT64 = graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_INT64


def empty() -> graph_pb2.Graph:
    return graph_pb2.Graph(format_version=tables.FORMAT_VERSION)


def read(
    graph: graph_pb2.Graph,
    name: str,
    shape: Sequence[int],
    data_type: graph_pb2.DataType = FP32,
) -> str:
    """Reads a new input [batch, *shape]."""
    graph.inputs.add(name=name, data_type=data_type, shape=[-1, *shape])
    graph.nodes.add(name=name, input=name)
    return name


def apply(
    graph: graph_pb2.Graph,
    path: str,
    operand: str,
    kind: graph_pb2.ModuleKind,
    **given: values.Literal,
) -> str:
    """Calls a new module."""
    graph.modules.add(path=path, kind=kind, arguments=tables.arguments(kind, **given))
    graph.nodes.add(name=path, module=path, arguments=[values.node(operand)])
    return path


def call(
    graph: graph_pb2.Graph, name: str, function: graph_pb2.Function, *operands: graph_pb2.Value
) -> str:
    """Calls a function."""
    graph.nodes.add(name=name, function=function, arguments=operands)
    return name


def answer(
    graph: graph_pb2.Graph,
    name: str,
    node: str,
    shape: Sequence[int],
    data_type: graph_pb2.DataType = FP32,
) -> graph_pb2.Graph:
    """Answers a node as the next output."""
    graph.outputs.add(name=name, data_type=data_type, shape=[-1, *shape])
    graph.results.append(node)
    return graph


def conv(
    shape: tuple[int, int, int] = (3, 6, 6),
    labels: int = 2,
    name: str = "image",
    *,
    maps: bool = False,
) -> graph_pb2.Graph:
    """Images to logits; with `maps` also what the convolution sees, and the best label's index."""
    channels, height, width = shape
    graph = empty()
    image = read(graph, name, shape)
    seen = apply(
        graph, "conv", image, graph_pb2.MODULE_KIND_CONV2D,
        in_channels=channels, out_channels=4, kernel_size=3, padding=1,
    )  # fmt: skip
    norm = apply(graph, "norm", seen, graph_pb2.MODULE_KIND_BATCH_NORM2D, num_features=4)
    active = apply(graph, "active", norm, graph_pb2.MODULE_KIND_RELU)
    flat = apply(graph, "flat", active, graph_pb2.MODULE_KIND_FLATTEN)
    logits = apply(
        graph, "last", flat, graph_pb2.MODULE_KIND_LINEAR,
        in_features=4 * height * width, out_features=labels,
    )  # fmt: skip
    answer(graph, "output" if not maps else "logits", logits, [labels])
    if maps:
        best = call(
            graph, "argmax", graph_pb2.FUNCTION_ARGMAX, values.node(logits), values.literal(1)
        )
        answer(graph, "maps", active, [4, height, width])
        answer(graph, "best", best, [], INT64)
    return graph


def tokens(length: int = 4, vocabulary: int = 10, labels: int = 2) -> graph_pb2.Graph:
    """Identifiers [T] and two numbers, in this order, to logits."""
    graph = empty()
    ids = read(graph, "tokens", [length], INT64)
    numbers = read(graph, "x", [2])
    embedded = apply(
        graph, "embedding", ids, graph_pb2.MODULE_KIND_EMBEDDING,
        num_embeddings=vocabulary, embedding_dim=3,
    )  # fmt: skip
    mean = call(graph, "mean", graph_pb2.FUNCTION_MEAN, values.node(embedded), values.literal(1))
    both = call(
        graph, "both", graph_pb2.FUNCTION_CAT, values.nodes([mean, numbers]), values.literal(1)
    )
    logits = apply(
        graph, "last", both, graph_pb2.MODULE_KIND_LINEAR, in_features=5, out_features=labels
    )
    return answer(graph, "output", logits, [labels])

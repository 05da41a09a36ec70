"""Losses of a user's as they arrive, for tests: small graphs made by hand."""

from twofold.nets import meta, values
from twofold.v1 import graph_pb2

FP32, INT64 = graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_INT64


def _begun(*inputs: tuple[str, graph_pb2.DataType, list[int]]) -> graph_pb2.Graph:
    graph = graph_pb2.Graph(format_version=2, head=graph_pb2.HEAD_RAW)
    for name, data_type, shape in inputs:
        graph.inputs.add(name=name, data_type=data_type, shape=[-1, *shape])
        graph.nodes.add(name=name, input=name)
    return graph


def _call(graph: graph_pb2.Graph, name: str, *operands: graph_pb2.Value) -> graph_pb2.Value:
    """Calls the function of this name, in lower case; its node is called alike."""
    function = graph_pb2.Function.Value(f"FUNCTION_{name.upper()}")
    node = f"{name}_{len(graph.nodes)}"
    graph.nodes.add(name=node, function=function, arguments=operands)
    return values.node(node)


def _ended(graph: graph_pb2.Graph) -> graph_pb2.Graph:
    graph.outputs.extend(meta.measure(graph).outputs)
    return graph


def squared(width: int = 1, *, has_rows: bool = True) -> graph_pb2.Graph:
    """(output - target)^2, mean over the columns and, without rows, over all."""
    graph = _begun(("output", FP32, [width]), ("target", FP32, [width]))
    error = _call(graph, "sub", values.node("output"), values.node("target"))
    found = _call(graph, "square", error)
    _call(graph, "mean", found, *([values.integers([1])] if has_rows else []))
    return _ended(graph)


def cross_entropy(classes: int) -> graph_pb2.Graph:
    """Cross-entropy of each row."""
    graph = _begun(("output", FP32, [classes]), ("target", INT64, []))
    none = values.literal(None)
    operands = (none, values.literal(-100), values.literal("none"))
    _call(graph, "cross_entropy", values.node("output"), values.node("target"), *operands)
    return _ended(graph)


def of_two(width: int = 1) -> graph_pb2.Graph:
    """As `squared` of the sum of two outputs."""
    graph = _begun(
        ("target", FP32, [width]), ("output_1", FP32, [width]), ("output_0", FP32, [width])
    )
    both = _call(graph, "add", values.node("output_0"), values.node("output_1"))
    error = _call(graph, "sub", both, values.node("target"))
    _call(graph, "mean", _call(graph, "square", error), values.integers([1]))
    return _ended(graph)


def of_logarithm() -> graph_pb2.Graph:
    """log(output) of each row, which is no number where the output is below 0."""
    graph = _begun(("output", FP32, [1]), ("target", FP32, [1]))
    found = _call(graph, "log", values.node("output"))
    _call(graph, "mean", found, values.integers([1]))
    return _ended(graph)


def without_gradient() -> graph_pb2.Graph:
    """target^2: training cannot change it."""
    graph = _begun(("output", FP32, [1]), ("target", FP32, [1]))
    found = _call(graph, "square", values.node("target"))
    _call(graph, "mean", found, values.integers([1]))
    return _ended(graph)

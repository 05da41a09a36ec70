"""Graphs for the tests of this package."""

from collections.abc import Sequence

from twofold.nets import catalogue, meta, tables, values
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

FP32 = graph_pb2.DATA_TYPE_FP32
INT64 = graph_pb2.DATA_TYPE_INT64


def features(
    numeric: int = 2, vocabularies: Sequence[int] = (), labels: Sequence[str] = ("0", "1")
) -> model_pb2.FeatureSpec:
    """A FeatureSpec of these widths; no labels: a regression."""
    task = spec_pb2.TASK_CLASSIFICATION if labels else spec_pb2.TASK_REGRESSION
    spec = model_pb2.FeatureSpec(target="y", task=task, labels=labels)
    spec.numeric_columns.extend(f"x{index}" for index in range(numeric))
    for index, count in enumerate(vocabularies):
        words = [f"w{number}" for number in range(count)]
        spec.category_columns.add(name=f"c{index}", vocabulary=words)
    return spec


def built(
    family: spec_pb2.Family,
    loss: spec_pb2.Loss = spec_pb2.LOSS_UNSPECIFIED,
    *,
    data: model_pb2.FeatureSpec | None = None,
    scaling: bool = False,
    activation: spec_pb2.Activation = spec_pb2.ACTIVATION_UNSPECIFIED,
    hidden: Sequence[int] = (),
) -> graph_pb2.Graph:
    """A graph of the catalogue."""
    network = spec_pb2.NetworkSpec(family=family, activation=activation, hidden=hidden)
    return catalogue.build(network, data or features(), scaling=scaling, loss=loss)


def of_module(kind: graph_pb2.ModuleKind, **given: values.Literal) -> graph_pb2.Graph:
    """x of 3 columns -> one module; a regression."""
    graph = of_nodes()
    graph.modules.add(path="m", kind=kind, arguments=tables.arguments(kind, **given))
    graph.nodes.add(name="m", module="m", arguments=[values.node("x")])
    return graph


def of_nodes(width: int = 3) -> graph_pb2.Graph:
    """x and nothing else; a regression."""
    graph = graph_pb2.Graph(format_version=1, head=graph_pb2.HEAD_IDENTITY)
    graph.inputs.add(name="x", data_type=FP32, shape=[-1, width])
    graph.nodes.add(name="x", input="x")
    return graph


def call(
    graph: graph_pb2.Graph, name: str, function: graph_pb2.Function, *operands: graph_pb2.Value
) -> graph_pb2.Graph:
    """The graph with one more node."""
    graph.nodes.add(name=name, function=function, arguments=operands)
    return graph


def raw(*shapes: Sequence[int], names: str = "xyz") -> graph_pb2.Graph:
    """Inputs x, y, ... float32 of these shapes behind the batch, answered as they are."""
    graph = graph_pb2.Graph(format_version=2, head=graph_pb2.HEAD_RAW)
    for name, shape in zip(names, shapes, strict=False):
        graph.inputs.add(name=name, data_type=FP32, shape=[-1, *shape])
        graph.nodes.add(name=name, input=name)
    return graph


def finished(graph: graph_pb2.Graph) -> graph_pb2.Graph:
    """The graph through its bytes, with the outputs that it computes."""
    graph.outputs.extend(meta.measure(graph).outputs)
    return graph_pb2.Graph.FromString(graph.SerializeToString())

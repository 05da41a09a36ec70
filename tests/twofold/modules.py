"""A user's module as it arrives, for tests: a small MLP's graph without a head."""

from twofold.nets import catalogue
from twofold.v1 import graph_pb2, spec_pb2


def graph_of(columns: int, outputs: int, width: int = 4) -> graph_pb2.Graph:
    """FP32 x [-1, columns] to FP32 output [-1, outputs]."""
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=[width])
    sizes = catalogue.Sizes(columns, label_count=max(outputs, 2))
    loss = spec_pb2.LOSS_BCE if outputs == 1 else spec_pb2.LOSS_CROSS_ENTROPY
    task = spec_pb2.TASK_CLASSIFICATION
    graph = catalogue.build_sized(network, sizes, task, scaling=False, loss=loss).graph
    graph.ClearField("head")
    return graph


def network_of(columns: int, outputs: int) -> spec_pb2.NetworkSpec:
    """What a client sends."""
    return spec_pb2.NetworkSpec(graph=graph_of(columns, outputs), weights="ab" * 32)

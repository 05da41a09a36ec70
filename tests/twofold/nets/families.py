"""Small networks of the catalogue's deep families, and inputs for them."""
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping

import torch
from torch import Tensor

from twofold.nets import catalogue
from twofold.v1 import graph_pb2, spec_pb2

CLASSIFICATION, REGRESSION = spec_pb2.TASK_CLASSIFICATION, spec_pb2.TASK_REGRESSION
#: A column's name may be that of a node or a path.
IMAGES = catalogue.Sizes(0, (), 3, (2, 8, 9), "output")
SEQUENCES = catalogue.Sizes(0, (), 3, (7, 2), "scale.mean")
MIXED = catalogue.Sizes(3, (4, 9), 3)

SIZES: Mapping[spec_pb2.Family, catalogue.Sizes] = {
    spec_pb2.FAMILY_RESIDUAL_MLP: MIXED,
    spec_pb2.FAMILY_EMBEDDING_MLP: MIXED,
    spec_pb2.FAMILY_CNN: IMAGES,
    spec_pb2.FAMILY_RESNET: IMAGES,
    spec_pb2.FAMILY_CNN1D: SEQUENCES,
    spec_pb2.FAMILY_GRU: SEQUENCES,
}

#: A network of each family; small ones, but of every part.
NETWORKS: Mapping[spec_pb2.Family, spec_pb2.NetworkSpec] = {
    network.family: network
    for network in (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESIDUAL_MLP, width=8),
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_EMBEDDING_MLP, hidden=[6]),
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN, channels=[4, 6]),
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESNET, channels=[4, 6], blocks=1),
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN1D, channels=[4, 6]),
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_GRU, width=5, bidirectional=True),
    )
}


def built(
    network: spec_pb2.NetworkSpec,
    sizes: catalogue.Sizes | None = None,
    task: spec_pb2.Task = CLASSIFICATION,
    *,
    scaling: bool = True,
) -> catalogue.Built:
    """A network's graph; by default for the sizes of its family."""
    return catalogue.build_sized(
        network,
        SIZES[network.family] if sizes is None else sizes,
        task,
        scaling=scaling,
        loss=spec_pb2.LOSS_UNSPECIFIED,
    )


def rows(graph: graph_pb2.Graph, count: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Inputs of a graph; categories with some that are unknown."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randint(-1, 4, (count, *spec.shape[1:]), generator=generator)
        if spec.data_type == graph_pb2.DATA_TYPE_INT64
        else torch.randn((count, *spec.shape[1:]), generator=generator)
        for spec in graph.inputs
    )

"""One request's odd index must not take a GPU from all the others."""
# pyright: reportUnknownMemberType=false

import pytest
import torch
from torch import nn

from tests.twofold.nets import graphs
from twofold.nets import modules, tables, values
from twofold.nets.net import init
from twofold.v1 import graph_pb2


def test_an_index_out_of_range_gives_nan_where_it_would_stop_the_device() -> None:
    """A GPU's twin on the CPU; the CPU itself raises."""
    table = nn.Embedding(3, 2)

    rows = modules.known_rows(table, torch.tensor([[0, 2, 3], [-1, 1, 1 << 40]]), 3)

    assert torch.equal(rows[:, 1], table(torch.tensor([2, 1])))
    assert torch.equal(rows[0, 0], table(torch.tensor(0)))
    assert rows[0, 2].isnan().all()
    assert rows[1, 0].isnan().all()
    assert rows[1, 2].isnan().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_lives_on_after_an_index_out_of_range() -> None:
    kind = graph_pb2.MODULE_KIND_EMBEDDING
    graph = graphs.raw((3,))
    graph.inputs[0].data_type = graphs.INT64
    arguments = tables.arguments(kind, num_embeddings=5, embedding_dim=2)
    graph.modules.add(path="m", kind=kind, arguments=arguments)
    graph.nodes.add(name="m", module="m", arguments=[values.node("x")])
    net = init(graphs.finished(graph), 0).eval().cuda()

    rows = net(torch.tensor([[0, 5, -1]], device="cuda"))

    assert rows.isnan().any(2).tolist() == [[False, True, True]]

"""One request's odd index must not take a GPU from all the others."""
# pyright: reportUnknownMemberType=false

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.twofold.nets import graphs
from twofold.nets import modules, tables, values
from twofold.nets.functions import CALLS
from twofold.nets.net import Net, init
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


@pytest.mark.parametrize(("device", "asked"), [("cpu", []), ("cuda", [4])])
def test_the_function_looks_at_indices_where_the_device_would_stop(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: list[int]
) -> None:
    """By what it calls: a fake device computes nothing."""
    counts: list[int] = []

    def known_rows(look_up: Callable[[Tensor], Tensor], index: Tensor, count: int) -> Tensor:
        counts.append(count)
        return look_up(index)

    monkeypatch.setattr(modules, "known_rows", known_rows)
    with FakeTensorMode():
        index = torch.zeros(3, dtype=torch.int64, device=device)
        CALLS[graph_pb2.FUNCTION_EMBEDDING](index, torch.zeros(4, 2, device=device), None)

    assert counts == asked


def test_whole_numbers_of_unknown_rows_are_told_apart() -> None:
    table = torch.tensor([[1, 2], [3, 4]])

    rows = modules.known_rows(lambda index: table[index], torch.tensor([1, 2]), 2)

    assert rows.tolist() == [[3, 4], [-1, -1]]


def bags(**given: values.Literal) -> Net:
    """Inputs x and y, INT64 [-1]: indices of 5 rows, and where bags of them begin."""
    kind = graph_pb2.MODULE_KIND_EMBEDDING_BAG
    graph = graphs.raw((), ())
    for each in graph.inputs:
        each.data_type = graphs.INT64
    arguments = tables.arguments(kind, num_embeddings=5, embedding_dim=2, **given)
    graph.modules.add(path="m", kind=kind, arguments=arguments)
    operands = [values.node("x"), values.node("y")]
    graph.nodes.add(name="m", module="m", arguments=operands)
    return init(graphs.finished(graph), 0).eval()


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
@pytest.mark.parametrize("begins", [[0, -2_000_000_000, 3, 3], [0, 3, 1, 4], [0, 1 << 40, 2, 3]])
def test_bags_begin_within_the_input_and_in_order(mode: str, begins: list[int]) -> None:
    """Else torch's sum ends the process, or answers what was left in memory."""
    index, wanted = torch.tensor([0, 1, 2, 4]), torch.tensor([0, 1, 1, 3])
    net = bags(mode=mode)
    plain = nn.EmbeddingBag(5, 2, mode=mode)
    plain.load_state_dict({"weight": net.state_dict()["m.weight"]})

    assert torch.equal(net(index, wanted), plain(index, wanted))
    with pytest.raises(IndexError, match="offsets of bags that do not rise from 0 to at most 4"):
        net(index, torch.tensor(begins))


def test_bags_are_moved_where_nobody_can_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """In compiled code, as on a GPU."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)

    moved = modules.in_order(torch.tensor([0, -9, 3, 1 << 40]), 4)

    assert moved.tolist() == [0, 0, 3, 4]


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

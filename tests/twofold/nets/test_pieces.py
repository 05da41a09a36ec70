"""A batch runs in as many pieces as keep a pass within its bound."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from tests.twofold.nets.graphs import FP32, built, call, features, raw
from twofold.nets import pieces, values
from twofold.nets.net import Net, init
from twofold.v1 import graph_pb2, spec_pb2


def one_output() -> Net:
    return init(built(spec_pb2.FAMILY_MLP, data=features(labels=()), hidden=[50]), 0).eval()


def two_outputs() -> Net:
    graph = raw([3], [2])
    call(graph, "twice", graph_pb2.FUNCTION_ADD, values.node("y"), values.node("y"))
    graph.results.extend(["x", "twice"])
    for name, width in (("first", 3), ("second", 2)):
        graph.outputs.add(name=name, data_type=FP32, shape=[-1, width])
    return init(graph, 0).eval()


def several(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (found,) if isinstance(found, Tensor) else found


@pytest.mark.parametrize(
    ("make", "widths", "numbers", "sizes"),
    [
        (one_output, [2], 1 << 28, [7]),
        (one_output, [2], 320, [3, 3, 1]),
        (one_output, [2], 1, [1] * 7),
        (two_outputs, [3, 2], 4, [2, 2, 2, 1]),
    ],
)
def test_pieces_give_what_the_whole_gives(
    make: Callable[[], Net],
    widths: Sequence[int],
    numbers: int,
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = make()
    inputs = [torch.randn(7, width) for width in widths]
    whole = net(*inputs)
    seen: list[int] = []
    net.register_forward_hook(lambda _, rows, __: seen.append(len(rows[0])))
    monkeypatch.setattr(pieces, "PASS_NUMBERS", numbers)
    joined = pieces.run(net, inputs)

    assert seen == sizes
    for one, other in zip(several(joined), several(whole), strict=True):
        assert torch.allclose(one, other, atol=1e-6)

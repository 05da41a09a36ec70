# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.trainer.jobs import truth_data, truth_spec
from trainer import recipe
from trainer.machine import SMALL_STEP
from trainer.rows import Rows
from twofold.nets import tables
from twofold.nets.net import Net, init
from twofold.nets.pieces import rows_at_once
from twofold.v1 import graph_pb2


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        (
            {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            torch.optim.SGD,
            {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        ),
        ({"optimizer": "adam"}, torch.optim.Adam, {"lr": 0.001, "weight_decay": 0}),
        (
            {"optimizer": "adamw", "learning_rate": 0.5},
            torch.optim.AdamW,
            {"lr": 0.5, "weight_decay": 0.01},
        ),
    ],
)
def test_the_optimizer_is_the_one_asked_for(
    options: dict[str, str | float | bool],
    kind: type[torch.optim.Optimizer],
    expected: dict[str, float | bool],
) -> None:
    asked = truth_spec("xor", network={"family": "mlp"}, training=options)
    made = recipe.make(asked, truth_data("xor", asked), torch.device("cpu"), threads=1)
    (optimizer,) = made.optimizer.parts
    (group,) = optimizer.param_groups

    assert type(optimizer) is kind
    assert {name: group[name] for name in expected} == expected
    assert len(group["params"]) == len(list(made.net.parameters())) == 4


def test_without_held_out_rows_the_training_rows_are_evaluated() -> None:
    asked = truth_spec("xor", network={"family": "mlp"})
    made = recipe.make(asked, truth_data("xor", asked), torch.device("cpu"), threads=1)

    assert len(made.training) == len(made.evaluation) == 4


def test_rows_are_taken_and_cut_alike() -> None:
    rows = Rows((torch.arange(10).reshape(5, 2), torch.arange(5)), torch.arange(5) * 10)
    taken = rows.take(torch.tensor([3, 1]))

    assert [tensor.tolist() for tensor in taken.inputs] == [[[6, 7], [2, 3]], [3, 1]]
    assert taken.target.tolist() == [30, 10]
    assert [tensor.tolist() for tensor in rows.piece(4, 9).inputs] == [[[8, 9]], [4]]


def test_bf16_is_for_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and weights stay float32; the products differ, but not by more than 8 bits say."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    made = [
        recipe.make(asked, truth_data("xor", asked), torch.device("cpu"), threads=1)
        for asked in (
            truth_spec("xor", network={"family": "mlp"}, training={"precision": name})
            for name in ("fp32", "bf16")
        )
    ]
    losses = [one.loss_of(one.training) for one in made]

    assert [one.choices.precision for one in made] == ["fp32", "bf16"]
    assert all(loss.dtype == torch.float32 for loss in losses)
    assert all(parameter.dtype == torch.float32 for parameter in made[1].net.parameters())
    assert losses[0].item() != losses[1].item()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.02)


def test_threads_follow_the_multiply_adds_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows of a network of few parameters, as convolutions have, whose pass is long."""
    asked = truth_spec("xor", network={"family": "mlp"})

    def costly(graph: graph_pb2.Graph, seed: int) -> Net:
        net = init(graph, seed)
        net.row_cost = SMALL_STEP // 4
        return net

    plain = recipe.init
    monkeypatch.setattr(recipe, "init", costly)
    many = recipe.make(asked, truth_data("xor", asked), torch.device("cpu"), threads=2)
    monkeypatch.setattr(recipe, "init", plain)
    one = recipe.make(asked, truth_data("xor", asked), torch.device("cpu"), threads=2)

    assert (many.choices.threads, one.choices.threads) == (2, 1)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 1, 1), 1), ((5,), 3), ((4, 1), 2), ((1, 1, 1), None)]
)
def test_figures_of_an_array_have_the_shape_of_the_states(
    shape: tuple[int, ...], axis: int | None
) -> None:
    """States are broadcast over rows: the one dimension that is not 1 says which axis they are."""
    image = np.random.default_rng(0).normal(3, 2, (6, 2, 4, 5)).astype(np.float32)
    asked = truth_spec("xor", network={"family": "mlp"})
    data = replace(
        truth_data("xor", asked), arrays={"image": image}, training_rows=np.arange(6),
        scales_arrays=True,
    )  # fmt: skip
    graph = graph_pb2.Graph(format_version=2, head=graph_pb2.HEAD_RAW)
    graph.inputs.add(name="image", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 2, 4, 5])
    for path in (tables.SCALE_MEAN, tables.SCALE_DEVIATION):
        graph.states.add(path=path, data_type=graph_pb2.DATA_TYPE_FP32, shape=shape)
    graph.nodes.add(name="image", input="image")
    graph.outputs.add(name="image", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 2, 4, 5])
    net = init(graph, 0)

    recipe._set_scale(net, data)

    state = net.state_dict()
    others = tuple(place for place in range(4) if place != axis)
    expected = image.astype(np.float64)
    mean = torch.tensor(expected.mean(axis=others)).float().reshape(shape)
    deviation = torch.tensor(expected.std(axis=others)).float().reshape(shape)
    torch.testing.assert_close(state[tables.SCALE_MEAN], mean)
    torch.testing.assert_close(state[tables.SCALE_DEVIATION], deviation)


def test_a_pass_has_fewer_rows_of_a_network_that_computes_much() -> None:
    assert rows_at_once(65_536, 1) == rows_at_once(65_536, 4_096) == 65_536
    assert rows_at_once(65_536, 1 << 20) == 256
    assert rows_at_once(65_536, 1 << 40) == 1


@pytest.mark.parametrize("piece_bytes", [1, 500, 64 << 20])
def test_images_stand_channels_last_and_a_gather_keeps_them_so(
    monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(recipe, "_PIECE_BYTES", piece_bytes)
    images = np.arange(4 * 3 * 4 * 5, dtype=np.float32).reshape(4, 3, 4, 5)
    tensor = recipe._resident(images, np.array([3, 0, 2]), torch.device("cpu"))
    taken = Rows((tensor,), torch.zeros(3)).take(torch.tensor([1, 0])).inputs[0]

    assert torch.equal(tensor, torch.from_numpy(images[[3, 0, 2]]))
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert taken.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(taken, torch.from_numpy(images[[0, 3]]))


def test_sequences_and_identifiers_stand_as_they_are() -> None:
    for array in (np.ones((3, 4, 2), np.float32), np.ones((3, 5, 2, 2, 2), np.int64)):
        tensor = recipe._resident(array, np.array([2, 1]), torch.device("cpu"))

        assert tensor.is_contiguous()
        assert torch.equal(tensor, torch.from_numpy(array[[2, 1]]))

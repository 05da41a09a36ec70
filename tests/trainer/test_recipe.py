# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import numpy as np
import pytest
import torch

from tests.trainer.jobs import truth_data, truth_spec
from trainer import recipe
from trainer.rows import Rows


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


def test_images_stand_channels_last_and_a_gather_keeps_them_so() -> None:
    images = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    tensor = recipe._resident(images, torch.device("cpu"))
    taken = Rows((tensor,), torch.zeros(2)).take(torch.tensor([1, 0])).inputs[0]

    assert torch.equal(tensor, torch.from_numpy(images))
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert taken.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(taken, torch.from_numpy(images[[1, 0]]))

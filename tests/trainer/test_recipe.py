# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from collections.abc import Iterator

import pytest
import torch

from tests.trainer.jobs import truth_data, truth_spec
from trainer import recipe
from trainer.rows import Rows
from twofold.errors import WrongState
from twofold.v1 import spec_pb2


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """The settings are the process's: other tests share it."""
    threads = torch.get_num_threads()
    yield
    recipe.settle_process(torch.device("cpu"), threads, seed=0)


@pytest.mark.parametrize(
    ("asked", "step_cost", "available", "threads"),
    [
        (None, recipe.SMALL_STEP - 1, 8, 1),
        (None, recipe.SMALL_STEP, 8, 8),
        (3, 1, 8, 3),
        (16, 1, 8, 8),
    ],
)
def test_small_steps_get_one_thread_and_nobody_more_than_there_are(
    asked: int | None, step_cost: int, available: int, threads: int
) -> None:
    options = spec_pb2.TrainingOptions(threads=asked)

    assert recipe.choose_threads(options, step_cost, available) == threads


def test_nothing_of_the_process_is_inherited_from_the_job_before() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(mode=True)
    torch.set_num_threads(2)
    torch.rand(7)
    recipe.settle_process(torch.device("cpu"), threads=1, seed=5)
    drawn = torch.rand(3)

    assert drawn.tolist() == torch.rand(3, generator=torch.Generator().manual_seed(5)).tolist()
    assert drawn.dtype == torch.float32
    assert torch.get_num_threads() == 1
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.allow_tf32


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(WrongState, match="TWOFOLD_DEVICE"):
        recipe.choose_device("cuda:0")

    assert recipe.choose_device("") == torch.device("cpu")


def test_the_best_device_there_is_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    assert recipe.choose_device("") == torch.device("cuda:0")
    assert recipe.choose_device("cpu") == torch.device("cpu")


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

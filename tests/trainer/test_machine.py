# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from collections.abc import Iterator

import pytest
import torch

from trainer import machine
from twofold.errors import WrongState
from twofold.v1 import spec_pb2


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """The settings are the process's: other tests share it."""
    threads = torch.get_num_threads()
    yield
    machine.settle_process(torch.device("cpu"), threads, seed=0)


@pytest.mark.parametrize(
    ("asked", "step_cost", "available", "expected"),
    [
        (None, machine.SMALL_STEP - 1, 8, (1, "small")),
        (None, machine.SMALL_STEP, 8, (8, "all")),
        (3, 1, 8, (3, "asked for")),
        (16, 1, 8, (8, "16 were asked for")),
    ],
)
def test_small_steps_get_one_thread_and_nobody_more_than_there_are(
    asked: int | None, step_cost: int, available: int, expected: tuple[int, str]
) -> None:
    options = spec_pb2.TrainingOptions(threads=asked)

    threads, reason = machine.choose_threads(options, step_cost, available)

    assert threads == expected[0]
    assert expected[1] in reason


def test_nothing_of_the_process_is_inherited_from_the_job_before() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.deterministic = True
    torch.set_num_threads(2)
    torch.rand(7)
    machine.settle_process(torch.device("cpu"), threads=1, seed=5)
    drawn = torch.rand(3)

    assert drawn.tolist() == torch.rand(3, generator=torch.Generator().manual_seed(5)).tolist()
    assert drawn.dtype == torch.float32
    assert torch.get_num_threads() == 1
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.deterministic


def test_tf32_and_determinism_are_set_from_the_job() -> None:
    machine.settle_process(torch.device("cpu"), 1, 0, tf32=True, deterministic=True)

    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.allow_tf32
    assert torch.are_deterministic_algorithms_enabled()


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(WrongState, match="TWOFOLD_DEVICE"):
        machine.choose_device("cuda:0")

    assert machine.choose_device("") == torch.device("cpu")


def test_the_best_device_there_is_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    assert machine.choose_device("") == torch.device("cuda:0")
    assert machine.choose_device("cpu") == torch.device("cpu")

"""What a recorded step does, with a recorder that runs on the CPU; CUDA's needs a GPU."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable

import pytest
import torch

from tests.trainer.test_loop import plane_loop, run_to_end
from trainer.cuda_step import WARM_UP_STEPS, CudaRecorder, GraphStep, obstacle
from trainer.execution import make_step
from trainer.loop import Loop
from trainer.steps import EagerStep
from twofold.toml_spec import Value
from twofold.v1 import spec_pb2

OPTIONS: dict[str, Value] = {
    "epochs": 3,
    "batch_size": 10,
    "optimizer": "adamw",
    "ema_decay": 0.9,
    "clip_norm": 0.5,
    "micro_batch_size": 4,
    "schedule": {"kind": "cosine"},
}


class FakeRecorder:
    """Replays by calling again, as a graph does: recording itself runs nothing."""

    def __init__(self, *, can_record: bool = True) -> None:
        self.seen: list[str] = []
        self._can_record = can_record

    def run_aside(self, work: Callable[[], None]) -> None:
        self.seen.append("aside")
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.seen.append("recorded")
        if not self._can_record:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

        def replay() -> None:
            self.seen.append("replayed")
            work()

        return replay


def graph_loop(options: dict[str, Value], recorder: FakeRecorder) -> Loop:
    loop = plane_loop("mlp", options, dropout=0.2)
    eager = EagerStep(loop.recipe, loop.total)
    size = loop.recipe.choices.batch_size
    loop.step = GraphStep(eager, size, recorder, loop.recipe.choices)
    return loop


def assert_same(one: Loop, other: Loop) -> None:
    assert one.position == other.position
    for name, tensor in one.best.items():
        assert torch.equal(tensor, other.best[name]), name


@pytest.mark.parametrize("batch_size", [10, 16, 1000])
def test_recorded_steps_train_as_eager_ones_do(batch_size: int) -> None:
    """48 rows: 4 full batches of 10 and one of 8; 3 of 16; or all rows at once."""
    options = {**OPTIONS, "batch_size": batch_size}
    recorder = FakeRecorder()
    loop = run_to_end(graph_loop(options, recorder))

    assert_same(loop, run_to_end(plane_loop("mlp", options, dropout=0.2)))
    full = {10: 12, 16: 9, 1000: 3}[batch_size]
    replays = full - WARM_UP_STEPS
    expected = ["aside"] * WARM_UP_STEPS + (["recorded"] + ["replayed"] * replays) * (replays > 0)
    assert recorder.seen == expected


def test_what_cannot_be_recorded_goes_on_eagerly_and_says_why() -> None:
    recorder = FakeRecorder(can_record=False)
    loop = run_to_end(graph_loop(OPTIONS, recorder))

    assert_same(loop, run_to_end(plane_loop("mlp", OPTIONS, dropout=0.2)))
    assert recorder.seen.count("recorded") == 1
    assert loop.choices.execution == "eager"
    assert loop.choices.execution_reason == (
        "the step cannot be a CUDA graph: operation not permitted when stream is capturing"
    )


@pytest.mark.parametrize(
    ("device", "optimizer", "reason"),
    [
        ("cpu", spec_pb2.OPTIMIZER_ADAM, "for GPUs"),
        ("cuda", spec_pb2.OPTIMIZER_LBFGS, "lbfgs"),
        ("cuda", spec_pb2.OPTIMIZER_MUON, "muon"),
        ("cuda", spec_pb2.OPTIMIZER_ADAM, ""),
        ("cuda", spec_pb2.OPTIMIZER_SGD, ""),
        ("cuda", spec_pb2.OPTIMIZER_RMSPROP, ""),
    ],
)
def test_what_stands_against_a_graph(
    device: str, optimizer: spec_pb2.Optimizer, reason: str
) -> None:
    found = obstacle(device, spec_pb2.TrainingOptions(optimizer=optimizer))

    assert bool(found) == bool(reason)
    assert reason in found


def test_on_a_gpu_the_step_is_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(device: str, options: spec_pb2.TrainingOptions) -> str:
        del device, options
        return ""

    loop = plane_loop("mlp", OPTIONS)
    monkeypatch.setattr("trainer.execution.obstacle", nothing)
    step = make_step(loop.recipe, loop.total, lambda _: FakeRecorder())

    assert isinstance(step, GraphStep)
    assert loop.choices.execution == "cuda graph"
    assert "replayed" in loop.choices.execution_reason


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_graph_replays_what_was_recorded() -> None:
    device = torch.device("cuda:0")
    total, rows = torch.zeros(3, device=device), torch.tensor([0, 2], device=device)
    recorder = CudaRecorder(device)

    def work() -> None:
        total.index_add_(0, rows, torch.ones(2, device=device))

    recorder.run_aside(work)
    total.zero_()
    replay = recorder.record(work)
    replay()
    rows.copy_(torch.tensor([0, 1], device=device))
    replay()

    assert total.tolist() == [2, 1, 1]

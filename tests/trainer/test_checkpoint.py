# pyright: reportUnknownMemberType=false
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer.test_loop import plane_loop, run_to_end
from trainer import checkpoint, machine
from trainer.loop import Interrupted, Loop
from twofold.errors import Corrupt
from twofold.toml_spec import Value

OPTIONS: dict[str, dict[str, Value]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.01},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "patience": {"optimizer": "adam", "patience": 3, "learning_rate": 0.3},
    "full batch": {"optimizer": "adamw", "batch_size": 1_000},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.5, "centered": True},
    "muon": {"optimizer": "muon", "learning_rate": 0.01},
    "lbfgs": {"optimizer": "lbfgs", "iterations": 3, "batch_size": 60},
    "average": {"optimizer": "adamw", "ema_decay": 0.95, "clip_norm": 1.0},
    "accumulation": {"optimizer": "adam", "micro_batch_size": 4},
    "bf16": {"optimizer": "adamw", "precision": "bf16"},
    "step": {"schedule": {"kind": "step", "step_epochs": 3, "warmup_epochs": 1.5}},
    "cosine": {"schedule": {"kind": "cosine", "floor": 0.1}},
    "one cycle": {"schedule": {"kind": "one_cycle"}},
    "plateau": {
        "schedule": {"kind": "plateau", "plateau_epochs": 0, "threshold": 0.2},
        "optimizer": "sgd",
        "momentum": 0.9,
        "learning_rate": 0.05,
    },
}


def make(options: dict[str, Value]) -> Loop:
    return plane_loop("mlp", {"epochs": 12, "batch_size": 11, **options}, dropout=0.3)


def stop_after(loop: Loop, steps: int) -> None:
    """Trains until `steps` steps are done in all."""
    while loop.position.step_count < steps and not loop.is_done:
        try:
            loop.run_epoch(lambda: loop.position.step_count >= steps)
        except Interrupted:
            return


def assert_equal(one: Loop, other: Loop) -> None:
    assert one.position == other.position
    for name, tensor in one.recipe.net.state_dict().items():
        assert torch.equal(tensor, other.recipe.net.state_dict()[name]), name
    for name, tensor in one.best.items():
        assert torch.equal(tensor, other.best[name]), name


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("steps", [1, 5, 10, 17])
def test_resumed_training_is_equal_to_the_bit(
    options: dict[str, Value], steps: int, tmp_path: Path
) -> None:
    """2N steps = N, a stop, and N more: within an epoch, at its end, with dropout and shuffling."""
    straight = run_to_end(make(options))

    stopped = make(options)
    stop_after(stopped, steps)
    path = checkpoint.write(tmp_path, stopped)
    torch.manual_seed(999)  # what another job left behind
    torch.rand(3)
    resumed = make(options)
    checkpoint.read(path, resumed)

    assert_equal(straight, run_to_end(resumed))


def test_a_checkpoint_does_not_change_what_it_was_taken_of(tmp_path: Path) -> None:
    straight, watched = make({}), make({})
    run_to_end(straight)
    torch.manual_seed(watched.recipe.spec.training.seed)
    watched = make({})
    while not watched.is_done:
        watched.run_epoch(lambda: False)
        checkpoint.write(tmp_path, watched)

    assert_equal(straight, watched)


def test_the_last_two_are_kept_by_number_not_by_name(tmp_path: Path) -> None:
    loop = make({})
    for _ in range(4):
        loop.run_epoch(lambda: False)
        checkpoint.write(tmp_path, loop)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["15.safetensors", "20.safetensors"]


def test_a_checkpoint_that_stands_is_not_written_again(tmp_path: Path) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    first = checkpoint.write(tmp_path, loop)
    inode = first.stat().st_ino

    assert checkpoint.write(tmp_path, loop) == first
    assert first.stat().st_ino == inode


def test_damage_is_refused_wherever_it_is(tmp_path: Path) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    path = checkpoint.write(tmp_path, loop)
    data = path.read_bytes()

    for cut in (0, 7, 8, 200, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(Corrupt):
            checkpoint.read(path, make({}))


def test_another_jobs_checkpoint_is_refused(tmp_path: Path) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    path = checkpoint.write(tmp_path, loop)

    with pytest.raises(Corrupt, match="another spec"):
        checkpoint.read(path, make({"learning_rate": 0.5}))


def test_a_newer_format_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 3)
        path = checkpoint.write(tmp_path, loop)

    with pytest.raises(Corrupt, match="format 3; this release reads 2"):
        checkpoint.read(path, make({}))


def test_other_surroundings_are_reported_not_silently_taken_as_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    path = checkpoint.write(tmp_path, loop)
    then = torch.__version__
    assert checkpoint.read(path, make({})) == []

    monkeypatch.setattr(torch, "__version__", "9.9")
    assert checkpoint.read(path, make({})) == [f"torch version was {then} and is 9.9"]


def test_other_threads_and_another_device_are_reported(tmp_path: Path) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    path = checkpoint.write(tmp_path, loop)
    other = make({})
    other.recipe = replace(other.recipe, device=torch.device("cpu", 0))
    other.recipe.choices.threads = 3

    assert checkpoint.read(path, other) == [
        "device was cpu and is cpu:0",
        "threads was 1 and is 3",
    ]


def test_the_header_says_what_it_is_in_plain_json(tmp_path: Path) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    data = checkpoint.write(tmp_path, loop).read_bytes()

    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["twofold"])
    assert header["format_version"] == 2
    assert header["position"]["epoch"] == 1


def test_a_plateau_is_remembered(tmp_path: Path) -> None:
    """Otherwise the case above would prove nothing of it."""
    loop = run_to_end(make(OPTIONS["plateau"]))
    assert loop.position.plateau.drop_count > 0

    resumed = make(OPTIONS["plateau"])
    checkpoint.read(checkpoint.write(tmp_path, loop), resumed)

    assert resumed.position.plateau == loop.position.plateau


def test_a_lack_of_memory_is_not_taken_for_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or all that was trained would be lost, for a reason that passes."""
    path, loop = checkpoint.write(tmp_path, make({})), make({})

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory, artificially")

    monkeypatch.setattr(torch, "set_rng_state", full)
    with pytest.raises(torch.OutOfMemoryError):
        checkpoint.read(path, loop)


def test_another_processor_is_reported_and_is_still_known_after_one_more_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make({})
    loop.run_epoch(lambda: False)
    path = checkpoint.write(tmp_path, loop)
    here = machine.processor(torch.device("cpu"))
    monkeypatch.setattr(machine, "processor", str)
    second = make({})
    told = [f"processor was {here} and is cpu"]

    assert checkpoint.read(path, second) == told

    second.run_epoch(lambda: False)
    assert checkpoint.read(checkpoint.write(tmp_path, second), make({})) == told


def test_the_checkpoints_of_a_job_are_ordered_by_their_steps(tmp_path: Path) -> None:
    names = ["A/90", "A/100", "B/20", "B/9", "B/weights"]
    for name in names:
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.touch()

    found = checkpoint.of_job(tmp_path / "A" / "100.safetensors")

    shown = [str(path.relative_to(tmp_path).with_suffix("")) for path in found]
    assert shown == ["A/100", "A/90", "B/20", "B/9"]

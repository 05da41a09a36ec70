"""The bench of steps, tiny and on the CPU."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench import gpu
from tests import bare
from trainer import checkpoint
from trainer.loop import Loop

CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_networks_their_training_and_this_bench_run_on_a_bare_gpu_image() -> None:
    printed = bare.run(
        """
import trainer.loop, trainer.recipe, trainer.steps, trainer.cuda_step, trainer.checkpoint
import inferer.engine, twofold.nets
from bench import gpu
gpu.main(["--device", "cpu", "--quick"])
"""
    )

    lines = printed.splitlines()
    steps = [line for line in lines if line.startswith("| 16 x 16 | 64 |")]
    assert len(steps) == 1
    assert "eager, bf16" in steps[0] or "eager, fp32" in steps[0]  # without bf16 in hardware
    assert "| 16 x 16 | 256 |" in printed
    assert len([line for line in lines if line.startswith("| 16 x 16 |") and " s | " in line]) == 2
    assert "- fp32: 2 epochs, a checkpoint, and 2 more equal 4 epochs to the bit." in lines
    assert "- bf16: 2 epochs, a checkpoint, and 2 more equal 4 epochs to the bit." in lines


@pytest.mark.slow
@pytest.mark.parametrize("module", ["pyarrow", "grpc", "redis", "google.rpc"])
def test_a_bare_image_lacks_what_the_services_have(module: str) -> None:
    with pytest.raises(AssertionError, match="No module named"):
        bare.run(f"import {module}")


def test_operations_of_a_step_are_those_of_its_products() -> None:
    # 28 x 16 forward and the weights' gradients; 16 x 8 and 8 x 2 the inputs' gradients, too.
    assert gpu.flops_per_row([16, 8]) == 4 * 28 * 16 + 6 * (16 * 8 + 8 * 2)


def _begins_anew(_: Path, __: Loop) -> list[str]:
    return []


def _forgets_the_weights(_: Path, loop: Loop) -> list[str]:
    loop.position.epoch = 2
    return []


@pytest.mark.parametrize("read", [_begins_anew, _forgets_the_weights])
def test_a_resume_that_does_not_go_on_where_it_was_is_told(
    read: Callable[[Path, Loop], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, gpu.Value] = {"batch_size": 64, "epochs": 4}
    assert gpu.resume_differences(options, 256, gpu.QUICK, CPU) == []

    monkeypatch.setattr(checkpoint, "read", read)
    assert gpu.resume_differences(options, 256, gpu.QUICK, CPU) != []


def test_an_unknown_part_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no 'all'; there are steps, epoch, resume"):
        gpu.main(["--device", "cpu", "--only", "all"])
    assert "the CPU" in capsys.readouterr().out

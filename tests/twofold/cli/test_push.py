"""`twofold models push`."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.packing import stand_in
from tests.twofold.client.serving import Servers
from twofold.v1 import training_pb2

SOURCE = """
from torch import nn

class Own(nn.Linear):
    def __init__(self, width=2):
        super().__init__(width, 1)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    stand_in(monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "pushed_nets.py"
    file.write_text(SOURCE, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "pushed_nets", raising=False)
    return f"{file}:Own"


def test_a_module_is_published_with_the_weights_of_a_file(
    twofold: CommandLine, servers: Servers, module: str, tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(1, 3), "bias": torch.tensor([5.0])}, file)
    more = ["--module-arg", "width=3", "--set", "gates.min_metric=0.5"]

    result = twofold(
        "models", "push", "own", "--module", module, "--weights", str(file), "--data", "xor", *more
    )

    (request,) = servers.training.requests
    (job,) = servers.training.jobs
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [job.removeprefix("jobs/"), "digits@7"]
    assert (request.spec.model, request.spec.training.epochs) == ("own", 0)
    assert request.spec.gates.min_metric == 0.5
    sent = load(servers.datasets.contents[request.spec.network.weights])
    assert sent["bias"].tolist() == [5.0]


def test_a_job_may_be_left_to_itself(twofold: CommandLine, servers: Servers, module: str) -> None:
    result = twofold("models", "push", "own", "--module", module, "--data", "xor", "--no-watch")

    assert len(result.stdout.splitlines()) == 1
    assert servers.script.count("WatchTrainingJob") == 0


def test_a_gate_that_refuses_is_told(twofold: CommandLine, servers: Servers, module: str) -> None:
    servers.training.ending = training_pb2.TrainingJob(
        state=training_pb2.JOB_STATE_FAILED,
        reason=training_pb2.JOB_REASON_NOT_BLESSED,
        message="not published: accuracy 0.1; needed is at least 0.9 (gates.min_metric)",
    )

    result = twofold("models", "push", "own", "--module", module, "--data", "xor")

    assert result.exit_code == 1
    assert "FAILED (NOT_BLESSED): not published: accuracy 0.1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "absent.safetensors"], "weights is absent.safetensors; allowed: a safete"),
        (["--set", "training.epochs=5"], "training.epochs is 5; allowed: 0, or nothing"),
        (["--module-arg", "depth=5"], "Own(depth) raises TypeError"),
    ],
)
def test_what_is_wrong_is_one_line(
    twofold: CommandLine, module: str, arguments: list[str], message: str
) -> None:
    result = twofold("models", "push", "own", "--module", module, "--data", "xor", *arguments)

    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_rows_are_required(twofold: CommandLine, module: str) -> None:
    result = twofold("models", "push", "own", "--module", module)

    assert result.exit_code == 2
    assert "--data" in result.stderr

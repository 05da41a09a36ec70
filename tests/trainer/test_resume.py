"""2N steps are N steps, SIGKILL, and N more: to the bit, by real processes."""

import signal
from pathlib import Path

import pytest

from tests.trainer.jobs import FakeReporter, request_for, truth_spec
from trainer import childproc
from trainer.session import Session
from twofold.internal.v1 import child_pb2
from twofold.toml_spec import Value
from twofold.v1 import model_pb2, spec_pb2

pytestmark = pytest.mark.slow

CASES: dict[str, dict[str, Value]] = {
    "momentum, plateau and patience": {
        "optimizer": "sgd",
        "momentum": 0.9,
        "learning_rate": 0.05,
        "patience": 30,
        "schedule": {"kind": "plateau", "plateau_epochs": 2, "threshold": 0.1},
    },
    "an average, accumulation and a cosine": {
        "optimizer": "adamw",
        "ema_decay": 0.9,
        "micro_batch_size": 2,
        "clip_norm": 1.0,
        "schedule": {"kind": "cosine", "warmup_epochs": 2},
    },
}


def asked_for(options: dict[str, Value]) -> spec_pb2.TrainingSpec:
    """Dropout and shuffling in every case; a checkpoint after every epoch."""
    return truth_spec(
        "xor",
        network={"family": "mlp", "dropout": 0.3},
        training={"epochs": 40, "batch_size": 3, "checkpoint_interval": 0, **options},
    )


def newest_of(folder: Path) -> Path:
    return max(folder.glob("*.safetensors"), key=lambda path: int(path.stem))


def weights_of(manifest: model_pb2.Manifest) -> str:
    (digest,) = [file.sha256 for file in manifest.files if file.name == "weights.safetensors"]
    return digest


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
async def test_after_sigkill_the_rest_is_equal_to_the_bit(
    options: dict[str, Value], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = Session(request_for(asked_for(options), tmp_path, "straight"), FakeReporter()).run()

    monkeypatch.setenv("TWOFOLD_FAULTS", "child.checkpointed=kill@17")
    child = await childproc.start()
    first = request_for(asked_for(options), tmp_path, "first")
    await child.send(child_pb2.ChildRequest(train=first))
    while await child.receive() is not None:
        pass
    assert await child.exit_code() == -signal.SIGKILL
    await child.close()
    newest = newest_of(Path(first.checkpoint_path))
    reporter = FakeReporter()
    order = request_for(asked_for(options), tmp_path, "second", str(newest))
    resumed = Session(order, reporter).run()

    assert reporter.progress[-1].resumed_epoch == 17
    assert not reporter.progress[-1].resume_warning
    assert weights_of(resumed) == weights_of(straight)

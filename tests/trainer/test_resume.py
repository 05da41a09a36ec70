"""2N steps are N steps, SIGKILL, and N more: to the bit, by real processes."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.trainer.jobs import FakeReporter, points, request_for, table_request, truth_spec
from tests.twofold import losses
from trainer import childproc
from trainer.session import Session
from twofold import toml_spec
from twofold.internal.v1 import child_pb2
from twofold.toml_spec import Value
from twofold.v1 import model_pb2

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


#: Cases over a table, by networks, losses and data of their own; each with shuffling and dropout.
TABLES: dict[str, toml_spec.Tree] = {
    "several labels, weights of rows, one cycle and patience that ends it": {
        "data": {"features": ["a", "b"], "targets": ["up", "right"], "weight": "weight"},
        "training": {
            "epochs": 90,
            "optimizer": "adamw",
            "learning_rate": 0.3,
            "class_weights": {"right": 2},
            "patience": 12,
            "schedule": {"kind": "one_cycle"},
        },
    },
    "a loss of the user's, momentum and steps": {
        "data": {"features": ["a", "b"], "target": "sum"},
        "training": {
            "epochs": 40,
            "optimizer": "sgd",
            "momentum": 0.9,
            "learning_rate": 0.05,
            "schedule": {"kind": "step", "step_epochs": 8},
        },
    },
}

Request = Callable[[Path, str, str], child_pb2.TrainRequest]


def of_options(options: dict[str, Value]) -> Request:
    """Dropout and shuffling in every case; a checkpoint after every epoch."""
    asked = truth_spec(
        "xor",
        network={"family": "mlp", "dropout": 0.3},
        training={"epochs": 40, "batch_size": 3, "checkpoint_interval": 0, **options},
    )
    return lambda folder, attempt, resume: request_for(asked, folder, attempt, resume)


def of_table(tree: toml_spec.Tree) -> Request:
    """Likewise; a loss of the user's where there is one target."""
    training = cast("dict[str, object]", tree["training"])
    whole = {
        **tree,
        "network": {"family": "mlp", "hidden": [8], "dropout": 0.3},
        "training": {**training, "batch_size": 25, "checkpoint_interval": 0},
    }
    loss = None if "patience" in training else losses.squared()
    return lambda folder, attempt, resume: table_request(
        points(), whole, folder, attempt, resume=resume, loss=loss
    )


REQUESTS = {
    **{name: of_options(options) for name, options in CASES.items()},
    **{name: of_table(tree) for name, tree in TABLES.items()},
}


def newest_of(folder: Path) -> Path:
    return max(folder.glob("*.safetensors"), key=lambda path: int(path.stem))


def weights_of(manifest: model_pb2.Manifest) -> str:
    (digest,) = [file.sha256 for file in manifest.files if file.name == "weights.safetensors"]
    return digest


@pytest.mark.parametrize("name", REQUESTS)
async def test_after_sigkill_the_rest_is_equal_to_the_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = REQUESTS[name]
    whole = FakeReporter()
    straight = Session(request(tmp_path, "straight", ""), whole).run()

    monkeypatch.setenv("TWOFOLD_FAULTS", "child.checkpointed=kill@17")
    child = await childproc.start()
    first = request(tmp_path, "first", "")
    await child.send(child_pb2.ChildRequest(train=first))
    while await child.receive() is not None:
        pass
    assert await child.exit_code() == -signal.SIGKILL
    await child.close()
    newest = newest_of(Path(first.checkpoint_path))
    reporter = FakeReporter()
    resumed = Session(request(tmp_path, "second", str(newest)), reporter).run()

    assert reporter.progress[-1].resumed_epoch == 17
    assert not reporter.progress[-1].resume_warning
    assert reporter.progress[-1].epoch == whole.progress[-1].epoch
    if "ends it" in name:
        assert whole.progress[-1].epoch < whole.progress[-1].epoch_count
    assert weights_of(resumed) == weights_of(straight)
    assert resumed.metrics == straight.metrics

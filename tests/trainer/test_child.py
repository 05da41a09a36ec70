import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch

from tests.trainer.jobs import FakeReporter, request_for, truth_spec
from trainer import child as child_process
from trainer import childproc, training
from trainer.childproc import Child
from trainer.loop import Diverged
from twofold.errors import Corrupt, InvalidData, InvalidField
from twofold.internal.v1 import child_pb2
from twofold.store import StoreError
from twofold.v1 import dataset_pb2, model_pb2, spec_pb2, training_pb2

pytestmark = pytest.mark.slow
shared = pytest.mark.asyncio(loop_scope="module")


def xor(epochs: int = 100) -> spec_pb2.TrainingSpec:
    return truth_spec("xor", network={"family": "mlp"}, training={"epochs": epochs})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def child() -> AsyncIterator[Child]:
    """One training process for all jobs that must not end it: starting one takes two seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWOFOLD_FAULTS", "")
        started = await childproc.start()
    yield started
    await started.close()


async def receive_end(child: Child) -> child_pb2.ChildEvent:
    """The first event that is not progress."""
    while (event := await child.receive()) is not None:
        if event.WhichOneof("event") not in ("progressed", "checkpointed"):
            return event
    raise AssertionError("the child ended")


@shared
async def test_a_child_trains_one_request_after_the_other(child: Child, tmp_path: Path) -> None:
    manifests: list[model_pb2.Manifest] = []
    for attempt in ("a", "b"):
        order = request_for(xor(), tmp_path, attempt)
        await child.send(child_pb2.ChildRequest(train=order))
        manifests.append((await receive_end(child)).trained.manifest)

    weights = [[file.sha256 for file in made.files] for made in manifests]
    assert weights[0] == weights[1]
    assert manifests[0].model == "xor"


@shared
async def test_a_stop_is_answered_and_the_checkpoint_is_there(child: Child, tmp_path: Path) -> None:
    order = request_for(xor(1_000_000), tmp_path)
    await child.send(child_pb2.ChildRequest(train=order))
    await child.receive()
    await child.send(child_pb2.ChildRequest(stop=child_pb2.StopRequest()))

    assert (await receive_end(child)).HasField("stopped")
    names = os.listdir(order.checkpoint_path)  # noqa: PTH208 - pathlib is not for coroutines
    assert [name for name in names if name.endswith(".safetensors")]


@shared
async def test_a_stop_without_a_job_is_answered(child: Child) -> None:
    await child.send(child_pb2.ChildRequest(stop=child_pb2.StopRequest()))

    assert (await receive_end(child)).HasField("stopped")


@shared
async def test_a_failure_has_a_reason_and_no_path(child: Child, tmp_path: Path) -> None:
    order = request_for(xor(), tmp_path)
    order.spec.data.dataset = "0" * 64
    order.data_path = str(tmp_path / "nowhere.csv")
    order.data_format = dataset_pb2.DATASET_FORMAT_CSV
    await child.send(child_pb2.ChildRequest(train=order))
    failed = (await receive_end(child)).failed

    assert failed.reason == training_pb2.JOB_REASON_STORE
    assert str(tmp_path) not in failed.message


async def test_the_end_of_the_socket_ends_the_child_in_the_middle_of_a_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TWOFOLD_FAULTS", "")
    child = await childproc.start()
    order = request_for(xor(1_000_000), tmp_path)
    await child.send(child_pb2.ChildRequest(train=order))
    await child.receive()
    child._writer.close()

    assert await child.exit_code() == 0
    await child.close()


async def test_a_fault_point_kills_where_it_is_armed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TWOFOLD_FAULTS", "child.epoch=kill@3")
    child = await childproc.start()
    await child.send(child_pb2.ChildRequest(train=request_for(xor(), tmp_path)))
    with pytest.raises(AssertionError, match="ended"):
        await receive_end(child)

    assert await child.exit_code() == -signal.SIGKILL
    await child.close()


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (Diverged("the training loss became nan in epoch 3"), "DIVERGED", "learning_rate"),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            "OOM",
            " GiB); try a smaller training.batch",
        ),
        (MemoryError(), "OOM", "in the training process (peak "),
        (RuntimeError("alloc_cpu.cpp DefaultCPUAllocator: can't allocate"), "OOM", "(peak "),
        (InvalidField.of("data.target", "z", "a column"), "INVALID_SPEC", "data.target"),
        (InvalidData("row 3 is empty", row=3), "DATA", "row 3"),
        (OSError(28, "No space left on device", "/secret/path"), "STORE", "No space left"),
        (StoreError("the store is away"), "STORE", "the store is away"),
        (Corrupt("the checkpoint is of format 2"), "INTERNAL", "format 2"),
        (ZeroDivisionError("secret"), "INTERNAL", "internal error"),
    ],
)
def test_every_failure_has_its_reason(error: Exception, reason: str, text: str) -> None:
    explained = training.explain(error)

    assert training_pb2.JobReason.Name(explained.reason) == f"JOB_REASON_{reason}"
    assert text in explained.message
    assert "secret" not in explained.message


def test_training_in_process_tells_how_it_ended(tmp_path: Path) -> None:
    trained = training.train(request_for(xor(5), tmp_path, "a"), FakeReporter())
    stopped = training.train(request_for(xor(50), tmp_path, "b"), FakeReporter(lambda _: True))
    broken = request_for(xor(5), tmp_path, "c")
    broken.artifact_path = str(tmp_path / "nowhere")
    failed = training.train(broken, FakeReporter())

    assert trained.trained.manifest.model == "xor"
    assert stopped.HasField("stopped")
    assert failed.failed.reason == training_pb2.JOB_REASON_STORE


def test_a_child_whose_parent_is_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(child_process.ctypes, "CDLL", FakeLibrary)
    child_process.die_with_parent(-1)

    assert codes == [0]


class FakeLibrary:
    def __init__(self, name: str | None) -> None:
        del name

    def prctl(self, option: int, signal_number: int) -> None:
        assert (option, signal_number) == (1, signal.SIGKILL)

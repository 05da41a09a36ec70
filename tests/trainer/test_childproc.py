"""A supervisor and its child process, with a child that does what it is told."""

import os
import signal

import pytest

from tests.trainer.fakes import eventually
from tests.trainer.toy_child import PROGRAM
from trainer import childproc
from trainer.childproc import ChildLost
from twofold.internal.v1 import child_pb2
from twofold.v1 import spec_pb2


def train(model: str) -> child_pb2.ChildRequest:
    spec = spec_pb2.TrainingSpec(model=model)
    return child_pb2.ChildRequest(train=child_pb2.TrainRequest(job="J", attempt="A", spec=spec))


async def events_of(child: childproc.Child) -> list[str]:
    found: list[str] = []
    while (event := await child.receive()) is not None:
        found.append(str(event.WhichOneof("event")))
        if found[-1] in {"trained", "failed"}:
            break
    return found


async def test_a_child_trains_and_takes_the_next_job() -> None:
    child = await childproc.start(program=PROGRAM)
    try:
        for _ in range(2):
            await child.send(train("good"))
            assert await events_of(child) == ["progressed", "checkpointed", "trained"]
        assert repr(child) == f"Child(pid {child.pid}, alive)"
    finally:
        await child.close()

    assert not child.is_alive
    assert repr(child) == f"Child(pid {child.pid}, exit code -9)"


async def test_a_child_runs_niced_in_a_process_group_of_its_own() -> None:
    child = await childproc.start(program=PROGRAM, nice=7)
    try:
        assert os.getpgid(child.pid) == child.pid
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == max(
            7, os.getpriority(os.PRIO_PROCESS, 0)
        )
    finally:
        await child.close()


async def test_a_childs_environment_holds_no_setting_of_the_trainer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWOFOLD_REDIS_URL", "redis://:secret@somewhere")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    child = await childproc.start(program=PROGRAM)
    try:
        await child.send(train("environment"))
        await child.receive()
        event = await child.receive()
    finally:
        await child.close()

    assert event is not None
    names = set(event.failed.message.split(","))
    assert {"OMP_NUM_THREADS", "PATH", "PYTHONPATH"} <= names
    assert not {"TWOFOLD_REDIS_URL", "AWS_SECRET_ACCESS_KEY"} & names


@pytest.mark.parametrize(("model", "code"), [("dies", -signal.SIGKILL), ("exits", 3)])
async def test_the_end_of_a_child_is_seen_with_its_code(model: str, code: int) -> None:
    child = await childproc.start(program=PROGRAM)
    try:
        await child.send(train(model))

        assert await events_of(child) == ["progressed"]
        assert await child.exit_code() == code
    finally:
        await child.close()


async def test_junk_is_told_from_an_end() -> None:
    child = await childproc.start(program=PROGRAM)
    try:
        await child.send(train("junk"))
        await child.receive()
        with pytest.raises(ChildLost, match="something else"):
            await child.receive()
    finally:
        await child.close()


async def flood(child: childproc.Child) -> None:
    """Sends more than a socket's buffer holds."""
    for _ in range(1_000):
        await child.send(train("good"))


async def test_sending_to_a_dead_child_says_so() -> None:
    child = await childproc.start(program=PROGRAM)
    child.kill()
    await child.exit_code()
    child.kill()
    try:
        await eventually(lambda: child._reader.at_eof() or child._writer.is_closing())
        with pytest.raises(ChildLost):
            await flood(child)
    finally:
        await child.close()


async def test_a_child_that_never_gets_ready_is_reported() -> None:
    with pytest.raises(ChildLost, match="code 7"):
        await childproc.start(("broken",), program=PROGRAM)


async def test_a_child_that_hangs_at_its_start_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(childproc, "START_LIMIT_S", 0.2)
    hang = "import time; time.sleep(60)"

    with pytest.raises(ChildLost, match="not ready"):
        await childproc.start(program=("-c", hang))


async def test_nothing_is_left_open_where_no_process_can_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/does/not/exist")

    with pytest.raises(FileNotFoundError):
        await childproc.spawn(program=PROGRAM)

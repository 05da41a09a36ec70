"""The child's side of the socket, in this process: what it reads, answers and ends on."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.trainer.jobs import request_for, truth_spec
from trainer import child as child_process
from trainer import limits
from trainer.child import Supervisor
from trainer.wire import read_message, write_message
from twofold import faults, log
from twofold.internal.v1 import child_pb2
from twofold.v1 import dataset_pb2, training_pb2

STOP = child_pb2.ChildRequest(stop=child_pb2.StopRequest())


@dataclass(slots=True)
class Ends:
    """A supervisor's end of a socket pair, and the child's with a clock that tests move."""

    theirs: socket.socket
    ours: socket.socket
    now_s: float = 100.0

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.ours, lambda: self.now_s)

    def ask(self, request: child_pb2.ChildRequest) -> None:
        write_message(self.theirs, request)

    def events(self) -> list[child_pb2.ChildEvent]:
        """Everything sent so far; nothing is sent after it."""
        self.ours.close()
        events: list[child_pb2.ChildEvent] = []
        while (event := read_message(self.theirs, child_pb2.ChildEvent)) is not None:
            events.append(event)
        return events


@pytest.fixture
def ends() -> Iterator[Ends]:
    theirs, ours = socket.socketpair()
    with theirs, ours:
        yield Ends(theirs, ours)


@pytest.fixture
def threads_as_they_were() -> Iterator[None]:
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


def test_progress_and_checkpoints_are_events(ends: Ends) -> None:
    supervisor = ends.supervisor
    supervisor.progressed(training_pb2.JOB_PHASE_TRAINING, training_pb2.Progress(epoch=3))
    supervisor.checkpointed(Path("/somewhere/7.safetensors"), 3)
    first, second = ends.events()

    assert first.progressed.phase == training_pb2.JOB_PHASE_TRAINING
    assert first.progressed.progress.epoch == 3
    assert (second.checkpointed.path, second.checkpointed.epoch) == ("/somewhere/7.safetensors", 3)


def test_a_supervisor_that_is_gone_ends_the_process(ends: Ends) -> None:
    supervisor = ends.supervisor
    ends.theirs.close()

    assert supervisor.receive() is None
    with pytest.raises(SystemExit) as sent:
        supervisor.progressed(training_pb2.JOB_PHASE_TRAINING)
    with pytest.raises(SystemExit) as looked:
        supervisor.should_stop()
    assert (sent.value.code, looked.value.code) == (0, 0)


def test_junk_is_the_end_of_requests(ends: Ends) -> None:
    ends.theirs.sendall(b"\x01\x00\x00\x00\xff")

    assert ends.supervisor.receive() is None


def test_training_looks_for_a_stop_every_now_and_then(ends: Ends) -> None:
    supervisor = ends.supervisor
    nothing_yet = supervisor.should_stop()
    ends.ask(STOP)
    too_early = supervisor.should_stop()
    ends.now_s += 0.06
    in_time = supervisor.should_stop()

    assert (nothing_yet, too_early, in_time) == (False, False, True)


@pytest.mark.usefixtures("threads_as_they_were")
def test_jobs_are_trained_until_the_socket_ends(ends: Ends, tmp_path: Path) -> None:
    asked = truth_spec("xor", network={"family": "mlp"}, training={"epochs": 2})
    ends.ask(child_pb2.ChildRequest(train=request_for(asked, tmp_path)))
    # A stop that meets the running job stops it; this one comes after it. Read as it is sent:
    # the socket holds less than a job may say.
    events: list[child_pb2.ChildEvent] = []

    def supervise() -> None:
        while (event := read_message(ends.theirs, child_pb2.ChildEvent)) is not None:
            events.append(event)
            if event.HasField("trained"):
                ends.ask(STOP)
            if event.HasField("stopped"):
                ends.theirs.shutdown(socket.SHUT_WR)

    watching = threading.Thread(target=supervise)
    watching.start()
    child_process.serve_training(ends.supervisor)
    ends.ours.close()
    watching.join()

    kinds = [event.WhichOneof("event") for event in events]
    assert (kinds[0], kinds[-2:]) == ("ready", ["trained", "stopped"])
    assert set(kinds[1:-2]) == {"progressed"}
    assert events[0].ready.torch_version == torch.__version__


def test_files_are_checked_until_the_socket_ends(
    ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardened: list[bool] = []
    monkeypatch.setattr(limits, "harden", lambda: hardened.append(True))
    monkeypatch.setattr(limits, "BASE_BYTES", 1 << 46)  # this process has long used more
    path = tmp_path / "f.csv"
    path.write_text("a,b\n1,2\n")
    check = child_pb2.CheckRequest(path=str(path), format=dataset_pb2.DATASET_FORMAT_CSV)
    ends.ask(STOP)  # means nothing here
    ends.ask(child_pb2.ChildRequest(check=check))
    ends.theirs.shutdown(socket.SHUT_WR)
    child_process.serve_checks(ends.supervisor)
    ready, checked = ends.events()

    assert hardened == [True]
    assert ready.ready == child_pb2.Ready()
    assert checked.checked.dataset.row_count == 1


@pytest.fixture
def quiet_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Keeps main() from changing this process; what it would have done is remembered."""
    done: list[str] = []

    def remember(name: str) -> None:
        done.append(name)

    monkeypatch.setattr(child_process, "die_with_parent", lambda _: remember("die"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] - the parent's id
    monkeypatch.setattr(log, "setup", remember)
    monkeypatch.setattr(faults, "arm_from", remember)
    before = signal.getsignal(signal.SIGINT)
    yield done
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "served"),
    [
        ([], "serve_training"),
        (["--check"], "serve_checks"),
        (["--check-graphs"], "serve_graphs"),
    ],
)
def test_the_process_serves_what_it_is_started_for(
    arguments: list[str],
    served: str,
    quiet_process: list[str],
    monkeypatch: pytest.MonkeyPatch,
    ends: Ends,
) -> None:
    monkeypatch.setenv("TWOFOLD_FAULTS", "child.epoch=kill")
    for name in ("serve_training", "serve_checks", "serve_graphs"):
        monkeypatch.setattr(child_process, name, FakeServe(name, quiet_process))
    child_process.main([str(os.dup(ends.ours.fileno())), *arguments])

    assert quiet_process == ["die", "child", "child.epoch=kill", served]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


class FakeServe:
    def __init__(self, name: str, called: list[str]) -> None:
        self._name = name
        self._called = called

    def __call__(self, supervisor: Supervisor) -> None:
        assert isinstance(supervisor, Supervisor)
        self._called.append(self._name)

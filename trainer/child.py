"""The process that trains: `python -m trainer.child FD`, FD being a socket to its supervisor.

It stays warm (torch imported, an optimizer built once), serves one request at a time until the
socket ends, and knows no Redis, no secret and no address. With `--check` it describes uploaded
files under limits on memory and time, and does not import torch; with `--check-graphs` it measures
graphs of users under such limits.
"""

import ctypes
import importlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trainer import data, limits
from trainer.wire import WireError, read_message, write_message
from twofold import faults, log, spec_loss
from twofold.errors import InvalidData, InvalidField
from twofold.internal.v1 import child_pb2
from twofold.v1 import graph_pb2, training_pb2

#: Seconds between two looks at the socket while training: a look is a system call.
_LOOK_GAP_S = 0.05
_PR_SET_PDEATHSIG = 1
_META = "twofold.nets.meta"
_CHECKS = "--check"
_GRAPHS = "--check-graphs"

logger = logging.getLogger(__name__)


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when its parent ends; ends it if that was before.

    Linux only; elsewhere the end of the socket does it, a little later.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


class Supervisor:
    """The other end of the socket; see trainer.session.Reporter."""

    def __init__(self, stream: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._looked_s = 0.0

    def send(self, event: child_pb2.ChildEvent) -> None:
        """Sends an event; a supervisor that is gone ends this process."""
        try:
            write_message(self._stream, event)
        except OSError:
            sys.exit(0)

    def receive(self) -> child_pb2.ChildRequest | None:
        """The next request; None at the end."""
        try:
            return read_message(self._stream, child_pb2.ChildRequest)
        except (OSError, WireError):
            return None

    def progressed(
        self, phase: training_pb2.JobPhase, progress: training_pb2.Progress | None = None
    ) -> None:
        """See Reporter."""
        event = child_pb2.Progressed(phase=phase, progress=progress)
        self.send(child_pb2.ChildEvent(progressed=event))

    def checkpointed(self, path: Path, epoch: int) -> None:
        """See Reporter."""
        event = child_pb2.Checkpointed(path=str(path), epoch=epoch)
        self.send(child_pb2.ChildEvent(checkpointed=event))

    def should_stop(self) -> bool:
        """See Reporter: anything that arrives while training, or the end, means stop."""
        now_s = self._clock()
        if now_s - self._looked_s < _LOOK_GAP_S:
            return False
        self._looked_s = now_s
        readable, _, _ = select.select([self._stream], [], [], 0)
        if not readable:
            return False
        if self.receive() is None:
            sys.exit(0)
        return True


def serve_training(supervisor: Supervisor) -> None:
    """Trains what is asked for until the socket ends."""
    # Not at the top: the process that checks files starts without torch.
    training = importlib.import_module("trainer.training")
    training.warm_up()
    supervisor.send(child_pb2.ChildEvent(ready=training.describe()))
    while (request := supervisor.receive()) is not None:
        if request.HasField("train"):
            supervisor.send(training.train(request.train, supervisor))
        elif request.HasField("stop"):  # crossed the end of a job
            supervisor.send(child_pb2.ChildEvent(stopped=child_pb2.Stopped()))


def serve_checks(supervisor: Supervisor) -> None:
    """Describes files under limits until the socket ends."""
    limits.harden()
    data.use_threads(limits.THREADS)
    supervisor.send(child_pb2.ChildEvent(ready=child_pb2.Ready()))
    while (request := supervisor.receive()) is not None:
        if request.HasField("check"):
            supervisor.send(child_pb2.ChildEvent(checked=check(request.check)))


def serve_graphs(supervisor: Supervisor) -> None:
    """Measures graphs under limits until the socket ends."""
    # Before the limits, for it looks for a place for temporary files; then, it takes a second.
    importlib.import_module("torch._dynamo")
    importlib.import_module(_META)
    limits.harden()
    supervisor.send(child_pb2.ChildEvent(ready=child_pb2.Ready()))
    while (request := supervisor.receive()) is not None:
        if request.HasField("check_graph"):
            asked = request.check_graph
            graph = asked.graph if asked.HasField("graph") else None
            loss = asked.loss_graph if asked.HasField("loss_graph") else None
            measured = check_graphs(graph, loss)
            supervisor.send(child_pb2.ChildEvent(graph_checked=measured))


def check(request: child_pb2.CheckRequest) -> child_pb2.Checked:
    """Rows and columns of a file, or why it is refused."""
    path = Path(request.path)
    try:
        with limits.checking(path.stat().st_size):
            return child_pb2.Checked(dataset=data.describe(path, request.format))
    except InvalidData as error:
        row = error.fields.get("row", "")
        return child_pb2.Checked(
            refusal=error.message,
            row=int(row) if row.isdecimal() else 0,
            column=error.fields.get("column", ""),
        )
    except MemoryError:
        return child_pb2.Checked(refusal="the file needs more memory to read than its size permits")
    except Exception:  # the top of the process: a parser's defect must not look like a crash
        logger.exception("file could not be checked")
        return child_pb2.Checked(refusal="the file cannot be read in this format; is it damaged?")


def check_graphs(
    graph: graph_pb2.Graph | None, loss: graph_pb2.Graph | None
) -> child_pb2.GraphChecked:
    """What a network's graph and that of its loss compute per row, or why one is refused."""
    if graph is None and loss is not None:
        return check_graph(loss, "training.loss_")
    if graph is None:
        return child_pb2.GraphChecked(refusal="there is no graph", field="network.graph")
    measured = check_graph(graph)
    if measured.refusal or loss is None:
        return measured
    of_loss = check_graph(loss, "training.loss_", graph)
    of_loss.row_elements += measured.row_elements
    return of_loss


def check_graph(
    graph: graph_pb2.Graph, prefix: str = "network.", before: graph_pb2.Graph | None = None
) -> child_pb2.GraphChecked:
    """What a graph computes per row, or why it is refused.

    Args:
        graph: checked for what needs no torch.
        prefix: where it stands in a spec.
        before: of a loss the network, whose results in training mode it takes.
    """
    meta = importlib.import_module(_META)  # not at the top: files are checked without torch
    try:
        with limits.measuring():
            if before is not None:
                spec_loss.require_results(graph, meta.measure(before).training_results)
            return child_pb2.GraphChecked(row_elements=meta.measure(graph).row_elements)
    except InvalidField as error:
        field = error.fields.get("field", "graph")
        has_prefix = field.startswith(prefix)
        return child_pb2.GraphChecked(
            refusal=error.message if has_prefix else f"{prefix}{error.message}",
            field=field if has_prefix else f"{prefix}{field}",
            value=error.fields.get("value", ""),
            allowed=error.fields.get("allowed", ""),
        )
    except (limits.OutOfTime, MemoryError):
        text = "the graph takes more time or memory to measure than is allowed; make it smaller"
        return child_pb2.GraphChecked(refusal=text, field=f"{prefix}graph")
    except Exception:  # the top of the process
        logger.exception("graph could not be measured")
        text = "the graph cannot be run; the trainer's log has the details"
        return child_pb2.GraphChecked(refusal=text, field=f"{prefix}graph")


def main(arguments: list[str]) -> None:
    """Serves the socket whose number is the first argument."""
    die_with_parent(os.getppid())
    # Ctrl-C goes to the whole terminal's group; the supervisor decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.setup("child")
    faults.arm_from(os.environ.get("TWOFOLD_FAULTS", ""))
    with socket.socket(fileno=int(arguments[0])) as stream:
        supervisor = Supervisor(stream)
        serve = {_CHECKS: serve_checks, _GRAPHS: serve_graphs}
        serve.get("".join(arguments[1:]), serve_training)(supervisor)


if __name__ == "__main__":
    main(sys.argv[1:])

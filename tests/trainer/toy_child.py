"""A child without torch that does what a job's model name, or a file's content, says."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

from google.protobuf.message import Message

from trainer.wire import read_message, write_message
from twofold.internal.v1 import child_pb2
from twofold.v1 import dataset_pb2, graph_pb2, training_pb2

PROGRAM = ("-m", "tests.trainer.toy_child")


def main() -> None:
    if "broken" in sys.argv:
        sys.exit(7)
    with socket.socket(fileno=int(sys.argv[1])) as stream:
        _send(stream, ready=child_pb2.Ready(torch_version="none", device="cpu"))
        while (request := read_message(stream, child_pb2.ChildRequest)) is not None:
            if request.HasField("train"):
                _train(stream, request.train)
            elif request.HasField("check"):
                _check(stream, request.check)
            elif request.HasField("check_graph"):
                _measure(stream, request.check_graph.graph)


def _train(stream: socket.socket, order: child_pb2.TrainRequest) -> None:
    progress = training_pb2.Progress(epoch=3, epoch_count=3, loss=0.5, resumed_epoch=1)
    phase = training_pb2.JOB_PHASE_TRAINING
    _send(stream, progressed=child_pb2.Progressed(phase=phase, progress=progress))
    match order.spec.model:
        case "slow":
            read_message(stream, child_pb2.ChildRequest)
            _send(stream, stopped=child_pb2.Stopped())
        case "deaf" | "stubborn" | "junk" | "dies" | "exits":
            _misbehave(stream, order.spec.model)
        case "environment":
            _fail(stream, ",".join(sorted(os.environ)))
        case "fails":
            _fail(stream, "the loss became NaN in epoch 3")
        case _:
            _finish(stream, order)


def _misbehave(stream: socket.socket, how: str) -> None:
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exits":
        sys.exit(3)
    if how == "deaf":
        stream.close()
    if how == "junk":
        stream.sendall(b"\x02\x00\x00\x00\xff\xff")
    time.sleep(60)


def _fail(stream: socket.socket, message: str) -> None:
    reason = training_pb2.JOB_REASON_DIVERGED
    _send(stream, failed=child_pb2.ChildFailed(reason=reason, message=message))


def _finish(stream: socket.socket, order: child_pb2.TrainRequest) -> None:
    _send(stream, checkpointed=child_pb2.Checkpointed(path=order.checkpoint_path, epoch=3))
    trained = child_pb2.Trained()
    trained.manifest.lineage.training_row_count = 10
    trained.manifest.lineage.device = order.device
    _send(stream, trained=trained)


def _measure(stream: socket.socket, graph: graph_pb2.Graph) -> None:
    """Does what the first input's name says."""
    name = graph.inputs[0].name
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hang":
        time.sleep(60)
    measured = child_pb2.GraphChecked(row_elements=os.getpid())
    if name == "refuse":
        text = "network.graph.nodes[1] is 3; allowed: 2"
        measured = child_pb2.GraphChecked(
            refusal=text, field="network.graph.nodes[1]", value="3", allowed="2"
        )
    _send(stream, graph_checked=measured)


def _check(stream: socket.socket, check: child_pb2.CheckRequest) -> None:
    content = Path(check.path).read_bytes()
    checked = child_pb2.Checked()
    if content.startswith(b"refuse"):
        checked = child_pb2.Checked(refusal="not a number", row=3, column="a")
    elif content.startswith(b"vague"):
        checked = child_pb2.Checked(refusal="no rows")
    elif content.startswith(b"hang"):
        time.sleep(60)
    elif content.startswith(b"die"):
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        column = dataset_pb2.Column(name="a", kind=dataset_pb2.COLUMN_KIND_REAL)
        label = dataset_pb2.Column(
            name="label", kind=dataset_pb2.COLUMN_KIND_INTEGER, distinct_count=2
        )
        checked.dataset.row_count = 4
        checked.dataset.columns.extend((column, label))
    _send(stream, checked=checked)


def _send(stream: socket.socket, **event: Message) -> None:
    write_message(stream, child_pb2.ChildEvent(**event))  # pyright: ignore[reportArgumentType] - one field of the oneof


if __name__ == "__main__":
    main()

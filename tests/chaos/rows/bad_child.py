"""A child without torch that stands still or dies where its job's model name says so."""

import hashlib
import os
import signal
import socket
import sys
from pathlib import Path

from trainer.wire import read_message, write_message
from twofold.internal.v1 import child_pb2
from twofold.v1 import training_pb2

PROGRAM = "tests.chaos.rows.bad_child"


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as stream:
        ready = child_pb2.Ready(torch_version="none", device="cpu")
        write_message(stream, child_pb2.ChildEvent(ready=ready))
        while (request := read_message(stream, child_pb2.ChildRequest)) is not None:
            if request.HasField("train"):
                write_message(stream, _train(stream, request.train))


def _train(stream: socket.socket, order: child_pb2.TrainRequest) -> child_pb2.ChildEvent:
    phase = training_pb2.JOB_PHASE_TRAINING
    progressed = child_pb2.Progressed(phase=phase, progress=training_pb2.Progress(epoch=1))
    write_message(stream, child_pb2.ChildEvent(progressed=progressed))
    if order.spec.model == "hangs":
        while True:
            signal.pause()
    if order.spec.model == "segfaults":
        os.kill(os.getpid(), signal.SIGSEGV)
    trained = child_pb2.Trained()
    for name in ("graph.pb", "weights.safetensors", "golden.safetensors"):
        data = f"{name} of {order.job}".encode()
        Path(order.artifact_path, name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        trained.manifest.files.add(name=name, size_bytes=len(data), sha256=digest)
    trained.manifest.format_version = 1
    return child_pb2.ChildEvent(trained=trained)


if __name__ == "__main__":
    main()

"""A training process whose training is the toy job: `LOG SLOT SECONDS FD`.

It speaks the protocol of trainer.child: stops when told to, ends when its supervisor does, and
writes an artifact of three files, which the supervisor publishes.
"""

import hashlib
import os
import select
import socket
import sys
from pathlib import Path

from bench.killing.own import name_of
from bench.peers import toy
from trainer.wire import read_message, write_message
from twofold.internal.v1 import child_pb2
from twofold.v1 import training_pb2

_FILES = ("graph.pb", "weights.safetensors", "golden.safetensors")


def main() -> None:
    """Serves the socket until it ends."""
    log, slot, seconds, fd = sys.argv[1:5]
    os.environ.update(
        {toy.LOG_VARIABLE: log, toy.SLOT_VARIABLE: slot, toy.SECONDS_VARIABLE: seconds}
    )
    with socket.socket(fileno=int(fd)) as stream:
        _send(stream, child_pb2.ChildEvent(ready=child_pb2.Ready(device="cpu")))
        while (request := read_message(stream, child_pb2.ChildRequest)) is not None:
            if request.HasField("train"):
                _send(stream, _train(stream, request.train))
            else:  # a stop that crossed the end of a job
                _send(stream, child_pb2.ChildEvent(stopped=child_pb2.Stopped()))


def _train(stream: socket.socket, order: child_pb2.TrainRequest) -> child_pb2.ChildEvent:
    name = name_of(order.spec.training.seed)
    phase = training_pb2.JOB_PHASE_TRAINING
    _send(stream, child_pb2.ChildEvent(progressed=child_pb2.Progressed(phase=phase)))
    toy.note("begin", name)
    told, _, _ = select.select([stream], [], [], toy.duration_s())
    if told:
        if read_message(stream, child_pb2.ChildRequest) is None:
            sys.exit(0)
        return child_pb2.ChildEvent(stopped=child_pb2.Stopped())
    toy.note("end", name)
    return child_pb2.ChildEvent(trained=_export(Path(order.artifact_path), name))


def _export(folder: Path, name: str) -> child_pb2.Trained:
    trained = child_pb2.Trained()
    for file in _FILES:
        content = f"{file} of {name}".encode()
        with (folder / file).open("wb") as writer:
            writer.write(content)
            os.fsync(writer.fileno())
        sha256 = hashlib.sha256(content).hexdigest()
        trained.manifest.files.add(name=file, size_bytes=len(content), sha256=sha256)
    trained.manifest.format_version = 1
    return trained


def _send(stream: socket.socket, event: child_pb2.ChildEvent) -> None:
    write_message(stream, event)


if __name__ == "__main__":
    main()

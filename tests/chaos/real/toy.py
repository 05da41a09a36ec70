"""A child that trains nothing, in the worker's own process: it waits, and writes real files.

An epoch takes `epoch_s` and ends with a checkpoint. What a job does beyond that its model's name
says: "fails..." fails after its last epoch, "relapses..." does if it resumed, "dies..." dies there
by a signal.
"""

import asyncio
import hashlib
import signal
import time
from pathlib import Path

from tests.chaos.history import Event, Sink, Value
from trainer import durable, tasks
from trainer.childproc import Child
from twofold.faults import fault
from twofold.internal.v1 import child_pb2
from twofold.v1 import model_pb2, training_pb2

FILES = ("graph.pb", "weights.safetensors", "golden.safetensors")
_TRAINING = training_pb2.JOB_PHASE_TRAINING


def content(name: str, job: str, attempt: str) -> bytes:
    """What an attempt writes to the file `name` of its artifact."""
    return f"{name} of {job} by {attempt}".encode()


class ToyChild(Child):
    """See trainer.childproc.Child, of which it has no process and no socket."""

    def __init__(self, actor: str, epoch_s: float, sink: Sink) -> None:  # pyright: ignore[reportMissingSuperCall] - nothing to share
        self._actor = actor
        self._epoch_s = epoch_s
        self._sink = sink
        self._events: asyncio.Queue[child_pb2.ChildEvent | None] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._order: child_pb2.TrainRequest | None = None
        self._training: asyncio.Task[None] | None = None
        self._is_alive = True

    def __repr__(self) -> str:
        return f"ToyChild({self._actor})"

    @property
    def pid(self) -> int:
        return 0

    @property
    def is_alive(self) -> bool:
        return self._is_alive

    async def send(self, request: child_pb2.ChildRequest) -> None:
        if request.HasField("stop"):
            self._stop.set()
        else:
            self._stop.clear()
            self._order = request.train
            self._training = asyncio.create_task(self._train_or_break(request.train))

    async def receive(self) -> child_pb2.ChildEvent | None:
        return await self._events.get()

    async def exit_code(self) -> int:
        return -signal.SIGKILL

    def kill(self) -> None:
        self._is_alive = False

    async def close(self) -> None:
        self._is_alive = False
        if self._training is not None:
            await tasks.end(self._training)
        if self._order is not None:
            self._end(self._order, "cancelled" if _is_cancelled(self._order) else "lost")

    async def _train_or_break(self, order: child_pb2.TrainRequest) -> None:
        try:
            await self._train(order)
        except OSError:  # the disk, or a fault point; or its folders are another's to remove now
            self._end(order, "failed")
            internal = training_pb2.JOB_REASON_INTERNAL
            self._say(failed=child_pb2.ChildFailed(reason=internal, message="the disk failed"))

    async def _train(self, order: child_pb2.TrainRequest) -> None:
        first = int(Path(order.resume_path).stem) if order.resume_path else 0
        self._note("train_begin", job=order.job, attempt=order.attempt, resumed_epoch=first)
        for epoch in range(first + 1, max(1, order.spec.training.epochs) + 1):
            if await self._stopped_within(self._epoch_s):
                self._end(order, "handed_back")
                return self._say(stopped=child_pb2.Stopped())
            fault("child.epoch")
            self._report(order, epoch, first)
        self._finish(order, is_resumed=first > 0)
        return None

    async def _stopped_within(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    def _report(self, order: child_pb2.TrainRequest, epoch: int, resumed: int) -> None:
        path = Path(order.checkpoint_path, f"{epoch}.toy")
        durable.write_bytes(path, order.attempt.encode())
        fault("child.checkpointed")
        progress = training_pb2.Progress(
            epoch=epoch,
            epoch_count=order.spec.training.epochs,
            resumed_epoch=resumed,
            loss=1 / epoch,
        )
        self._say(progressed=child_pb2.Progressed(phase=_TRAINING, progress=progress))

    def _finish(self, order: child_pb2.TrainRequest, *, is_resumed: bool) -> None:
        must_fail = order.spec.model.startswith("relapses") and is_resumed
        if order.spec.model.startswith("dies"):
            self._end(order, "failed")
            self._events.put_nowait(None)
        elif must_fail or order.spec.model.startswith("fails"):
            self._end(order, "failed")
            diverged = training_pb2.JOB_REASON_DIVERGED
            self._say(failed=child_pb2.ChildFailed(reason=diverged, message="the loss became NaN"))
        else:
            trained = child_pb2.Trained(manifest=self._export(order))
            fault("child.exported")
            self._end(order, "trained")
            self._say(trained=trained)

    def _export(self, order: child_pb2.TrainRequest) -> model_pb2.Manifest:
        manifest = model_pb2.Manifest(format_version=1)
        manifest.lineage.training_row_count = 4
        for name in FILES:
            data = content(name, order.job, order.attempt)
            durable.write_bytes(Path(order.artifact_path, name), data)
            digest = hashlib.sha256(data).hexdigest()
            manifest.files.add(name=name, size_bytes=len(data), sha256=digest)
        return manifest

    def _end(self, order: child_pb2.TrainRequest, how: str) -> None:
        self._order = None
        self._note("train_end", job=order.job, attempt=order.attempt, how=how)

    def _note(self, kind: str, **fields: Value) -> None:
        self._sink.add(Event(time.monotonic_ns(), self._actor, kind, fields=fields))

    def _say(
        self,
        *,
        progressed: child_pb2.Progressed | None = None,
        trained: child_pb2.Trained | None = None,
        failed: child_pb2.ChildFailed | None = None,
        stopped: child_pb2.Stopped | None = None,
    ) -> None:
        event = child_pb2.ChildEvent(
            progressed=progressed, trained=trained, failed=failed, stopped=stopped
        )
        self._events.put_nowait(event)


def _is_cancelled(order: child_pb2.TrainRequest) -> bool:
    """Whether the job's cancel file stands; artifacts/<attempt> lies two below the job's folder."""
    return Path(order.artifact_path).parents[1].joinpath("cancel").exists()

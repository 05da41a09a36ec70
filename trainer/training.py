"""What the training process does with torch: warm up, train a request, name torch's failures."""
# pyright: reportUnknownMemberType=false

import logging
import os

import torch

# torch.optim imports this at its first step, which takes a second: it is done before any job.
import torch._dynamo  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs]

from trainer import memory
from trainer.gates import NotBlessed
from trainer.loop import Diverged, Interrupted
from trainer.machine import allow_determinism, choose_device
from trainer.session import Reporter, Session
from trainer.steps import is_out_of_memory
from twofold.errors import InvalidData, InvalidField, TwofoldError, shorten
from twofold.internal.v1 import child_pb2
from twofold.store import StoreError
from twofold.v1 import training_pb2

_INTERNAL = "internal error; the trainer's log has the details"

logger = logging.getLogger(__name__)


def warm_up() -> None:
    """Does once what would slow the first job down: a step of an optimizer, the CUDA context."""
    allow_determinism()
    torch.set_num_threads(1)
    weight = torch.zeros(2, device=choose_device(""), requires_grad=True)
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()


def describe() -> child_pb2.Ready:
    """What the supervisor may know of this process."""
    return child_pb2.Ready(torch_version=torch.__version__, device=str(choose_device("")))


def train(request: child_pb2.TrainRequest, reporter: Reporter) -> child_pb2.ChildEvent:
    """Trains one attempt; the event that tells how it ended. Raises nothing."""
    try:
        manifest = Session(request, reporter).run()
    except Interrupted:
        return child_pb2.ChildEvent(stopped=child_pb2.Stopped())
    except Exception as error:  # the top of the process
        logger.exception("attempt failed", extra={"job": request.job})
        return child_pb2.ChildEvent(failed=explain(error))
    return child_pb2.ChildEvent(trained=child_pb2.Trained(manifest=manifest))


def explain(error: Exception) -> child_pb2.ChildFailed:
    """The reason and one sentence for people."""
    if isinstance(error, Diverged):
        text = f"{error}; try a smaller training.learning_rate"
        return child_pb2.ChildFailed(reason=training_pb2.JOB_REASON_DIVERGED, message=text)
    if isinstance(error, NotBlessed):
        return _failed(training_pb2.JOB_REASON_NOT_BLESSED, str(error))
    if is_out_of_memory(error):
        return _failed(training_pb2.JOB_REASON_OOM, _out_of_memory(error))
    return _failure(error)


def _failure(error: Exception) -> child_pb2.ChildFailed:
    """The same for what is not torch's own."""
    match error:
        case InvalidField():
            return _failed(training_pb2.JOB_REASON_INVALID_SPEC, error.message)
        case InvalidData():
            return _failed(training_pb2.JOB_REASON_DATA, error.message)
        case StoreError():
            return _failed(training_pb2.JOB_REASON_STORE, error.message)
        case TwofoldError():
            return _failed(training_pb2.JOB_REASON_INTERNAL, error.message)
        case OSError():
            text = f"the store failed: {os.strerror(error.errno or 0)}"
            return _failed(training_pb2.JOB_REASON_STORE, text)
        case _:
            return _failed(training_pb2.JOB_REASON_INTERNAL, _INTERNAL)


def _failed(reason: training_pb2.JobReason, message: str) -> child_pb2.ChildFailed:
    return child_pb2.ChildFailed(reason=reason, message=shorten(message))


def _out_of_memory(error: Exception) -> str:
    on_gpu = isinstance(error, torch.OutOfMemoryError) and torch.cuda.is_available()
    peak_bytes = torch.cuda.max_memory_allocated() if on_gpu else memory.peak_bytes()
    place = "on the device" if on_gpu else "in the training process"
    return (
        f"out of memory {place} (peak {peak_bytes / 2**30:.1f} GiB); try a smaller "
        "training.batch_size, or a smaller network"
    )

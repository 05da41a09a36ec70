"""What the training process does with torch: warm up, train a request, name torch's failures."""
# pyright: reportUnknownMemberType=false

import logging

import torch

# torch.optim imports this at its first step, which takes a second: it is done before any job.
import torch._dynamo  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs]

from trainer import child
from trainer.loop import Diverged, Interrupted
from trainer.recipe import choose_device
from trainer.session import Reporter, Session
from twofold.internal.v1 import child_pb2
from twofold.v1 import training_pb2

#: How torch says that the CPU's memory is at its end: by a plain RuntimeError of this allocator.
_CPU_ALLOCATOR = "DefaultCPUAllocator"

logger = logging.getLogger(__name__)


def warm_up() -> None:
    """Does once what would slow the first job down: a step of an optimizer, the CUDA context."""
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
    if isinstance(error, torch.OutOfMemoryError):
        text = f"out of memory on the device{_peak()}; try a smaller training.batch_size"
        return child_pb2.ChildFailed(reason=training_pb2.JOB_REASON_OOM, message=text)
    if isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error):
        return child.failure(MemoryError())
    return child.failure(error)


def _peak() -> str:
    if not torch.cuda.is_available():
        return ""
    return f" (peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB)"

"""The whole step as one CUDA graph: gather, forward, backward, clip, update, average, loss.

A graph is recorded once and replayed with one launch, which is what bounds the speed of networks
whose kernels are shorter than their launches. The first full batches run eagerly on a side stream,
as recording demands (libraries allocate and choose there); they are steps like any other, so that
no state has to be put back. Recorded is at the first full batch after them, thus after a restored
checkpoint has replaced the optimizer's tensors.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from trainer.compiled import told
from trainer.steps import EagerStep
from twofold.v1 import spec_pb2

#: Full batches that run eagerly before recording; torch's documentation warms up with three.
WARM_UP_STEPS = 3

logger = logging.getLogger(__name__)


class Recorder(Protocol):
    """What records and replays; CUDA's, or a test's."""

    def run_aside(self, work: Callable[[], None]) -> None:
        """Runs work on a side stream, before and after everything else."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Records what work launches, without running it; what replays it.

        Raises RuntimeError where something cannot be recorded.
        """
        ...


class CudaRecorder:
    """torch.cuda.CUDAGraph on one device."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def run_aside(self, work: Callable[[], None]) -> None:
        """See Recorder."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See Recorder."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            work()
        return graph.replay


class GraphStep:
    """The step as a graph for batches of one size; others, such as the last one, run eagerly."""

    def __init__(
        self, eager: EagerStep, size: int, recorder: Recorder, choices: spec_pb2.Choices
    ) -> None:
        self._eager = eager
        self._size = size
        self._recorder = recorder
        #: Told where recording fails.
        self._choices = choices
        #: What the graph reads the batch's rows from; None where a batch is all rows.
        self._rows: Tensor | None = None
        self._replay: Callable[[], None] | None = None
        self._warm_up_left = WARM_UP_STEPS
        self._is_eager = False

    @property
    def micro_batch_size(self) -> int:
        """See Step."""
        return self._eager.micro_batch_size

    def shrink_to(self, rows: int) -> None:
        """See Step."""
        self._eager.shrink_to(rows)

    def __call__(self, rows: Tensor | None) -> None:
        """See Step."""
        if self._is_eager or (rows is not None and len(rows) != self._size):
            self._eager(rows)
        elif self._warm_up_left:
            self._warm_up_left -= 1
            self._recorder.run_aside(lambda: self._eager(rows))
        elif self._replay is not None or self._record(rows):
            self._run(rows)
        else:
            self._eager(rows)

    def _record(self, rows: Tensor | None) -> bool:
        """Records the step; where that fails, steps stay eager, and the choices say why."""
        self._rows = None if rows is None else rows.clone()
        try:
            self._replay = self._recorder.record(lambda: self._eager.run(self._rows))
        except RuntimeError as error:  # torch.OutOfMemoryError is one, too
            logger.warning("the step cannot be recorded", exc_info=True)
            self._choices.execution = "eager"
            self._choices.execution_reason = f"the step cannot be a CUDA graph: {told(error)}"
            self._is_eager = True
        return not self._is_eager

    def _run(self, rows: Tensor | None) -> None:
        if self._rows is not None and rows is not None:
            self._rows.copy_(rows)
        if self._replay is not None:
            self._replay()


def obstacle(device: str, options: spec_pb2.TrainingOptions) -> str:
    """Why a step cannot be a CUDA graph; empty where it can."""
    if device != "cuda":
        return "CUDA graphs are for GPUs"
    if options.optimizer == spec_pb2.OPTIMIZER_LBFGS:
        return "lbfgs decides on the CPU how far to go"
    if options.optimizer == spec_pb2.OPTIMIZER_MUON:
        return "torch's muon cannot be recorded"
    return ""

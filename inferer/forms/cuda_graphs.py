"""A net on a GPU as CUDA graphs, one for each of a few batch sizes: `cuda graphs`.

Captured when a version is loaded, biggest first, so that the smaller ones fit into the memory that
the biggest one took: they share one pool, since only one runs at a time. Rows go through pinned
memory. A batch that is larger than the largest graph runs in pieces: while one is computed, the
next one is copied by a second stream, into the other one of two stages.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from inferer.forms.buckets import pieces
from inferer.forms.form import Columns, Inexpressible
from twofold.features import Scores
from twofold.nets.net import Net
from twofold.tensors import Array

#: Batch sizes that are captured, in rows.
CAPTURED = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_STAGES = 2

Results = tuple[Tensor, ...]


class Stream(Protocol):
    """An order in which a device works; torch.cuda.Stream, or a test's."""

    def wait_event(self, event: Any) -> None:  # noqa: ANN401 - the device's own
        """What is queued from now on runs after the event."""
        ...

    def record_event(self) -> Any:  # noqa: ANN401 - the device's own
        """The event that all that was queued so far is done."""
        ...

    def synchronize(self) -> None:
        """Waits for all that was queued."""
        ...


class Device(Protocol):
    """What captures and copies; CUDA's, or a test's."""

    @property
    def compute(self) -> Stream:
        """Where graphs are replayed."""
        ...

    @property
    def copy(self) -> Stream:
        """Where rows come and go."""
        ...

    def on(self, stream: Stream) -> AbstractContextManager[object]:
        """What is called within is queued there."""
        ...

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the host that the device copies from and to by itself."""
        ...

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Zeros on the device."""
        ...

    def capture(self, work: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        """What replays the work, and the results that it writes each time.

        Raises RuntimeError where something cannot be captured.
        """
        ...


class CudaDevice:
    """See Device. All captures share one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.compute = torch.cuda.Stream(device)
        self.copy = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def on(self, stream: Stream) -> AbstractContextManager[object]:
        """See Device."""
        return torch.cuda.stream(stream)  # pyright: ignore[reportArgumentType] - one of its own

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """See Device."""
        return torch.zeros(tuple(shape), dtype=dtype, pin_memory=True)

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """See Device."""
        return torch.zeros(tuple(shape), dtype=dtype, device=self._device)

    def capture(self, work: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        """See Device."""
        graph = torch.cuda.CUDAGraph()
        # thread_local: another thread serves on this device meanwhile.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self.compute, capture_error_mode="thread_local"
        ):
            results = work()
        return graph.replay, results


@dataclass(frozen=True, slots=True)
class _Captured:
    """One batch size: its inputs and results on the device, and what computes them."""

    inputs: list[Tensor]
    results: Results
    replay: Callable[[], None]


@dataclass(slots=True)
class _Stage:
    """Where a piece is on its way: pinned memory, then the device's."""

    host: list[Tensor]
    #: The same memory.
    arrays: list[Array]
    device: list[Tensor]
    #: That it may be written again; None: it was never read.
    is_free: Any = None


@dataclass(frozen=True, slots=True)
class _Piece:
    rows: slice
    bucket: int


class CudaGraphsForm:
    """See Form. Raises Inexpressible where a net cannot be captured."""

    name = "cuda graphs"
    most_rows = None

    def __init__(
        self,
        net: Net,
        examples: Columns,
        device: Device,
        buckets: Sequence[int] = CAPTURED,
    ) -> None:
        self._device = device
        self._buckets = buckets
        self._is_single = len(net.graph.outputs) <= 1
        samples = [torch.from_numpy(np.concatenate(column)) for column in examples]
        self._captured: dict[int, _Captured] = {}
        for rows in sorted(buckets, reverse=True):
            self._captured[rows] = self._capture(net, samples, rows)
        self._stages = [self._stage(samples) for _ in range(_STAGES)]

    @torch.inference_mode()
    def _capture(self, net: Net, samples: Sequence[Tensor], rows: int) -> _Captured:
        inputs = [self._device.memory((rows, *s.shape[1:]), s.dtype) for s in samples]

        def work() -> Results:
            found = net.head(net(*inputs))
            return found if isinstance(found, tuple) else (found,)

        try:
            with self._device.on(self._device.compute):
                work()  # libraries allocate and choose at their first run, which is not captured
                self._device.compute.synchronize()
            replay, results = self._device.capture(work)
        except RuntimeError as error:  # torch.OutOfMemoryError is one, too
            raise Inexpressible(f"it cannot be captured: {type(error).__name__}") from error
        return _Captured(inputs, results, replay)

    def _stage(self, samples: Sequence[Tensor]) -> _Stage:
        shapes = [((self._buckets[-1], *sample.shape[1:]), sample.dtype) for sample in samples]
        host = [self._device.pinned(*shape) for shape in shapes]
        arrays = [tensor.numpy() for tensor in host]
        return _Stage(host, arrays, [self._device.memory(*shape) for shape in shapes])

    def put(self, columns: Columns, rows: int) -> tuple[list[Array], list[_Piece]]:
        """See Form."""
        joined = [np.concatenate(column) for column in columns]
        return joined, [_Piece(*piece) for piece in pieces(rows, self._buckets)]

    @torch.inference_mode()
    def compute(self, batch: tuple[list[Array], list[_Piece]]) -> Scores:
        """See Form. The next piece is copied before the results of this one are waited for."""
        columns, parts = batch
        into = self._results(parts[-1].rows.stop)
        staged = self._copy_in(0, columns, parts[0])
        for place, piece in enumerate(parts):
            done, results = self._replay(place, piece, staged)
            if place + 1 < len(parts):
                staged = self._copy_in(place + 1, columns, parts[place + 1])
            self._copy_out(results, piece, done, into)
        self._device.copy.synchronize()
        found = [tensor.numpy() for tensor in into]
        return found[0] if self._is_single else found

    def _results(self, rows: int) -> list[Tensor]:
        largest = self._captured[self._buckets[-1]].results
        return [self._device.pinned((rows, *each.shape[1:]), each.dtype) for each in largest]

    def _copy_in(self, place: int, columns: Sequence[Array], piece: _Piece) -> Any:  # noqa: ANN401 - an event
        """Brings a piece into its stage; the event that it is there."""
        stage, copy = self._stages[place % _STAGES], self._device.copy
        count = piece.rows.stop - piece.rows.start
        if place >= _STAGES:
            # The copy from this pinned memory is done when what read the stage after it is.
            stage.is_free.synchronize()
        for array, column in zip(stage.arrays, columns, strict=True):
            array[:count] = column[piece.rows]
        with self._device.on(copy):
            if stage.is_free is not None:
                copy.wait_event(stage.is_free)
            for device, host in zip(stage.device, stage.host, strict=True):
                device[:count].copy_(host[:count], non_blocking=True)
        return copy.record_event()

    def _replay(self, place: int, piece: _Piece, staged: Any) -> tuple[Any, list[Tensor]]:  # noqa: ANN401 - events
        """Computes a piece: the event that it is done, and its results apart from the graph's."""
        stage, compute = self._stages[place % _STAGES], self._device.compute
        captured = self._captured[piece.bucket]
        count = piece.rows.stop - piece.rows.start
        with self._device.on(compute):
            compute.wait_event(staged)
            for static, device in zip(captured.inputs, stage.device, strict=True):
                static[:count].copy_(device[:count])
            stage.is_free = compute.record_event()
            captured.replay()
            results = [each[:count].clone() for each in captured.results]
        return compute.record_event(), results

    def _copy_out(
        self,
        results: Sequence[Tensor],
        piece: _Piece,
        done: Any,  # noqa: ANN401 - an event
        into: Sequence[Tensor],
    ) -> None:
        copy = self._device.copy
        with self._device.on(copy):
            copy.wait_event(done)
            for whole, result in zip(into, results, strict=True):
                # Its memory is the computing stream's: it must not be given away meanwhile.
                if result.is_cuda:
                    result.record_stream(torch.cuda.current_stream())
                whole[piece.rows].copy_(result, non_blocking=True)

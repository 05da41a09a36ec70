"""The order in which a GPU is asked, on a device that does everything at once and notes it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import contextlib
from collections.abc import Callable, Generator, Sequence

import pytest
import torch
from torch import Tensor, nn

from inferer.forms.cuda_graphs import CudaGraphsForm, Results, Stream
from inferer.forms.form import Inexpressible
from tests.inferer.forms.nets import assert_equal, columns, eager, net_of, scores
from twofold.nets.net import Net
from twofold.v1 import graph_pb2


class FakeEvent:
    """Something that a stream has done."""

    def __init__(self, log: list[str]) -> None:
        self._log = log

    def synchronize(self) -> None:
        self._log.append("host waits")


class FakeStream:
    """Everything queued is done at once."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self._log = log

    def wait_event(self, event: FakeEvent) -> None:
        assert isinstance(event, FakeEvent)

    def record_event(self) -> FakeEvent:
        self._log.append(f"{self.name} queued")
        return FakeEvent(self._log)

    def synchronize(self) -> None:
        self._log.append(f"{self.name} done")


class FakeDevice:
    """The CPU. A captured work runs anew at each replay, into the memory of its first results."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.compute = FakeStream("compute", self.log)
        self.copy = FakeStream("copy", self.log)
        self.captured: list[int] = []

    @contextlib.contextmanager
    def on(self, stream: Stream) -> Generator[None]:
        del stream
        yield

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(tuple(shape), dtype=dtype)

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(tuple(shape), dtype=dtype)

    def capture(self, work: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        results = work()
        rows = len(results[0])
        self.captured.append(rows)

        def replay() -> None:
            self.log.append(f"replay {rows}")
            for result, new in zip(results, work(), strict=True):
                result.copy_(new)

        return replay, results


X = torch.randn(3, 4)


def made(buckets: Sequence[int] = (1, 2, 4)) -> tuple[CudaGraphsForm, FakeDevice, Net]:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    net = net_of(module, X, head=graph_pb2.HEAD_SOFTMAX)
    device = FakeDevice()
    return CudaGraphsForm(net, columns(X), device, buckets), device, net


def test_graphs_are_captured_biggest_first() -> None:
    _, device, _ = made()

    assert device.captured == [4, 2, 1]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 11])
def test_batches_of_any_size_get_their_answers(rows: int) -> None:
    form, _, net = made()

    for seed in range(2):  # over what the batch before left behind
        inputs = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
        assert_equal(scores(form, inputs), eager(net, inputs))


def test_a_batch_is_padded_to_the_next_graph() -> None:
    form, device, _ = made()

    scores(form, torch.randn(3, 4))

    assert [each for each in device.log if "replay" in each] == ["replay 4"]


def test_the_next_piece_is_copied_before_the_results_of_this_one() -> None:
    """The copy of the second is queued behind the first replay, not behind the end of it."""
    form, device, _ = made()
    device.log.clear()

    scores(form, torch.randn(11, 4))

    copy_in, replayed = "copy queued", ["compute queued", "replay 4", "compute queued"]
    assert device.log == [
        copy_in,
        *replayed,
        copy_in,
        *replayed,
        "host waits",  # for the stage of the first piece
        copy_in,
        *replayed,
        "copy done",
    ]


def test_answers_are_not_written_again() -> None:
    form, _, _ = made()
    (first,) = scores(form, torch.randn(2, 4))
    kept = first.copy()

    scores(form, torch.randn(2, 4))

    assert (first == kept).all()


def test_several_outputs_are_several() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 2, x.sum(1)

    net = net_of(Two(), X)
    form = CudaGraphsForm(net, columns(X), FakeDevice(), (1, 2))

    assert_equal(scores(form, X), eager(net, X))


def test_what_cannot_be_captured_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(FakeDevice, "capture", fail)

    with pytest.raises(Inexpressible, match="cannot be captured"):
        made()

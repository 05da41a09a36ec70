"""Stand-ins: a clock that tests move, a program that records, a thread that waits to be told."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, NoReturn, ParamSpec, TypeVar

import numpy as np

from inferer.batcher import Limits
from inferer.convert import Signature
from inferer.holdings import Served
from inferer.lane import Executed, Lane, Turns
from inferer.statistics import Timing
from twofold.signature import TensorSpec
from twofold.tensors import Array
from twofold.v1 import model_pb2, spec_pb2

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class FakeClock:
    """Time stands still until a test moves it; `sleep` moves it too."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def time_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.now_s += delay_s
        await asyncio.sleep(0)


def never(*_: object, **__: object) -> NoReturn:
    """Stands for what must not be called."""
    raise AssertionError("called")


#: What begins with this is answered without an output, which no program may do.
WITHOUT_OUTPUT = 404.0


class FakeProgram:
    """Doubles x; fails on a negative first element; records the rows of every batch."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        #: How long batches really take, of what is expected; 0: as good as nothing.
        self.pace = 0.0
        self.batches: list[list[int]] = []

    def expected_s(self, rows: int) -> float:
        return self.seconds * rows

    def run(self, parts: Sequence[Mapping[str, Array]]) -> Executed:
        self.batches.append([len(part["x"]) for part in parts])
        results = [self._result(part["x"]) for part in parts]
        took_ns = int(self.pace * self.expected_s(sum(self.batches[-1])) * 1e9)
        return Executed(results, Timing(1, 2 + took_ns, 3))

    def _result(self, x: Array) -> Mapping[str, Array] | Exception:
        if x[0, 0] < 0:
            return RuntimeError("negative")
        return {} if x[0, 0] == WITHOUT_OUTPUT else {"value": x * 2}


class FakeThread(Executor):
    """Runs what was submitted when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.futures: list[Future[Any]] = []  # of whatever was submitted

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        future: Future[Result] = Future()
        self.futures.append(future)
        self.waiting.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future

    def run_next(self) -> None:
        self.waiting.pop(0)()


SPEC = TensorSpec("x", "FP32", (-1, 1))


def signature(number: int = 1, model: str = "m", max_batch_size: int = 8) -> Signature:
    return Signature(
        f"models/{model}/versions/{number}",
        {"x": SPEC},
        {"value": TensorSpec("value", "FP32", (-1, 1))},
        (),
        max_batch_size,
    )


def manifest_of(model: str, number: int, weights_bytes: int = 0) -> model_pb2.Manifest:
    """A manifest that lists weights of so many bytes."""
    return model_pb2.Manifest(
        model=model,
        version=number,
        files=[model_pb2.File(name="weights.safetensors", size_bytes=weights_bytes)],
        features=model_pb2.FeatureSpec(
            numeric_columns=["a"], target="y", task=spec_pb2.TASK_REGRESSION
        ),
        lineage=model_pb2.Lineage(job="jobs/J", dataset="builtin/xor"),
    )


def served(  # noqa: PLR0913 - each test has its own side of a version
    model: str,
    number: int,
    clock: FakeClock,
    program: FakeProgram | None = None,
    thread: Executor | None = None,
    *,
    weights_bytes: int = 0,
    limits: Limits | None = None,
) -> Served:
    """A loaded version over a fake program."""
    manifest = manifest_of(model, number, weights_bytes)
    lane = Lane(
        f"models/{model}/versions/{number}",
        program or FakeProgram(),
        limits or Limits(max_batch_size=8, max_queue_size=16),
        Turns(thread or FakeThread()),
        clock,
    )
    return Served(manifest, f"sha of {number}", signature(number, model), lane)


def rows(*values: float) -> Array:
    """x of so many rows."""
    return np.array([[value] for value in values], np.float32)

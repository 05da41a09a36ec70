"""The engine: the one part that knows torch. It owns the device and the threads that compute.

Two threads beside the event loop's: `loader` loads, replays and warms versions up; `slow` runs
batches that are too long for the loop. Loading never runs on a thread that answers.
"""
# pyright: reportUnknownMemberType=false

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Self

import numpy as np
import torch

from inferer.lane import Executed, Turns
from inferer.statistics import Timing
from twofold import golden
from twofold.errors import Corrupt
from twofold.features import Features, Scores, raw_outputs
from twofold.features import signature as wire_signature
from twofold.nets import pieces, registry
from twofold.nets.net import Net
from twofold.tensors import Array
from twofold.v1 import graph_pb2, model_pb2

#: Warm-up: the larger batch size, how long such a batch may take, and how often each is run. The
#: fastest run counts: anything slower was a core taken away.
_WARM_UP_ROWS = 64
_WARM_UP_S = 0.1
_WARM_UP_RUNS = 5


class TorchProgram:
    """A loaded network with its preprocessing. Runs one batch at a time, on any one thread."""

    def __init__(self, net: Net, spec: model_pb2.FeatureSpec, device: torch.device) -> None:
        self._net = net
        self._features = Features(spec, net.graph)
        self._device = device
        self._fixed_s = float("inf")
        self._row_s = 0.0

    def expected_s(self, rows: int) -> float:
        """See lane.Program; a line through what warm-up measured."""
        return self._fixed_s + self._row_s * rows

    def run(self, parts: Sequence[Mapping[str, Array]]) -> Executed:
        """See lane.Program."""
        try:
            return self._run(parts)
        except Exception as error:  # noqa: BLE001 - the top of what the engine's thread runs
            if len(parts) == 1:
                return Executed([error], Timing(0, 0, 0))
        # One of them may be the cause: alone, it fails alone.
        alone = [self.run([part]) for part in parts]
        timing = Timing(
            sum(executed.timing.input_ns for executed in alone),
            sum(executed.timing.infer_ns for executed in alone),
            sum(executed.timing.output_ns for executed in alone),
        )
        return Executed([executed.results[0] for executed in alone], timing)

    def _run(self, parts: Sequence[Mapping[str, Array]]) -> Executed:
        start_ns = time.perf_counter_ns()
        inputs = self._inputs(parts)
        input_ns = time.perf_counter_ns()
        scores = self._scores(inputs)
        infer_ns = time.perf_counter_ns()
        answers = self._features.answers(scores)
        results = _split(answers, [len(next(iter(part.values()))) for part in parts])
        end_ns = time.perf_counter_ns()
        timing = Timing(input_ns - start_ns, infer_ns - input_ns, end_ns - infer_ns)
        return Executed(results, timing)

    def _inputs(self, parts: Sequence[Mapping[str, Array]]) -> list[torch.Tensor]:
        """The arguments of forward(); copies, since torch wants no read-only arrays."""
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        arguments = self._features.inputs(joined)
        return [torch.from_numpy(rows).to(self._device) for rows in arguments]

    @torch.inference_mode()
    def _scores(self, inputs: Sequence[torch.Tensor]) -> Scores:
        return registry.arrays_of(self._net.head(pieces.run(self._net, inputs)))

    def replay(self, examples: golden.Golden, tolerance: model_pb2.Tolerance) -> None:
        """See loading.Network."""
        try:
            answers = self._answer(examples.inputs)
        except (RuntimeError, ValueError, IndexError) as error:
            raise Corrupt("golden replay: the network does not run on its own examples") from error
        examples.check(answers, tolerance)

    def warm_up(self, examples: golden.Golden) -> None:
        """See loading.Network; the usual batch sizes are one row and _WARM_UP_ROWS.

        Of a network that takes long for one row the larger size is smaller.
        """
        one_s = self._fastest_s({name: rows[:1] for name, rows in examples.inputs.items()})
        count = min(_WARM_UP_ROWS, max(2, int(_WARM_UP_S / one_s)))
        many = {
            name: np.resize(rows, (count, *rows.shape[1:]))
            for name, rows in examples.inputs.items()
        }
        self._row_s = max(self._fastest_s(many) - one_s, 0.0) / (count - 1)
        self._fixed_s = one_s
        if self._device.type != "cpu":  # a device's answer is waited for, never on the loop
            self._fixed_s = float("inf")

    def _fastest_s(self, inputs: Mapping[str, Array]) -> float:
        def timed() -> float:
            start_s = time.perf_counter()
            self._answer(inputs)
            return time.perf_counter() - start_s

        return min(timed() for _ in range(_WARM_UP_RUNS))

    def _answer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        (result,) = self._run([inputs]).results
        if isinstance(result, Exception):  # _run raises instead; for the type checker
            raise result
        return result


def _split(answers: Mapping[str, Array], rows: Sequence[int]) -> list[Mapping[str, Array]]:
    """The answers of each request, as views of the batch's."""
    if len(rows) == 1:
        return [answers]
    stops = np.cumsum(rows).tolist()
    return [
        {name: array[stop - count : stop] for name, array in answers.items()}
        for stop, count in zip(stops, rows, strict=True)
    ]


class Engine:
    """The device and the threads. A context manager: the threads live within it.

    Raises ValueError for a CUDA device where there is none.
    """

    def __init__(self, *, threads: int = 1, device: str = "cpu") -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError("torch finds no CUDA device here")
        self._threads = threads
        self._device = torch.device(device)
        self.device_type = self._device.type

    def __enter__(self) -> Self:
        # Before the threads start: each takes the number over when it first computes.
        torch.set_num_threads(self._threads)
        self.loader: Executor = ThreadPoolExecutor(1, "loader")
        self.slow = Turns(ThreadPoolExecutor(1, "engine"))
        return self

    def __exit__(self, *_: object) -> None:
        # What runs now may take long, and nobody waits for it any more.
        self.loader.shutdown(wait=False, cancel_futures=True)
        self.slow.executor.shutdown(wait=False, cancel_futures=True)

    def load(self, manifest: model_pb2.Manifest, files: Mapping[str, bytes]) -> TorchProgram:
        """A version's program, neither replayed nor warm yet. For the loader's thread.

        Args:
            manifest: the version's.
            files: the very bytes whose digests were verified, by name; all of artifact.FILES.

        Raises:
            Corrupt: the files are not a network, or not this manifest's.
        """
        net = registry.parse(files)
        _check_signature(manifest, net.graph)
        return TorchProgram(net.to(self._device), manifest.features, self._device)


def _check_signature(manifest: model_pb2.Manifest, graph: graph_pb2.Graph) -> None:
    """Raises Corrupt where a manifest's signature is not that of its columns, labels and graph."""
    score_count, label_count = _score_count(manifest), len(manifest.features.labels)
    if not raw_outputs(graph) and label_count not in (0, score_count):
        raise Corrupt(f"the manifest has {label_count} labels for {score_count} scores")
    expected = wire_signature(manifest.features, score_count, graph)
    if (list(manifest.inputs), list(manifest.outputs)) != expected:
        raise Corrupt("the manifest's signature is not that of its columns and labels")
    if {spec.name for spec in manifest.inputs} != {spec.name for spec in graph.inputs}:
        raise Corrupt("the graph's inputs are not those of the manifest's columns")


def _score_count(manifest: model_pb2.Manifest) -> int:
    """Width of the scores: classes or targets."""
    return next((spec.shape[1] for spec in manifest.outputs if len(spec.shape) > 1), 0)

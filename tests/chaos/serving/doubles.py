"""What stands in for torch: networks that add a number, and notice how they are treated."""

import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
from safetensors.numpy import save

from inferer.lane import Executed, Turns
from inferer.statistics import Timing
from twofold import keys
from twofold.artifact import FILES, GOLDEN, WEIGHTS
from twofold.errors import Corrupt
from twofold.features import signature
from twofold.golden import Golden
from twofold.manifest import sha256_hex
from twofold.principal import LOCAL
from twofold.publish import Attempt, publish
from twofold.seams import Clock
from twofold.store import Store
from twofold.tensors import Array
from twofold.v1 import model_pb2, spec_pb2

SPEC = model_pb2.FeatureSpec(numeric_columns=["a"], target="y", task=spec_pb2.TASK_REGRESSION)
_GOLDEN_X = np.array([[1.0], [2.0], [-3.0]], np.float32)
_INPUTS, _OUTPUTS = signature(SPEC, 1)


def files_of(value: float, seconds: float = 0.0) -> dict[str, bytes]:
    """A network that adds `value` and takes `seconds` for a row."""
    golden = {"input.x": _GOLDEN_X, "output.value": _GOLDEN_X + np.float32(value)}
    weights = json.dumps({"value": value, "seconds": seconds}).encode()
    return {"graph.pb": b"add", WEIGHTS: weights, GOLDEN: save(golden)}


def manifest_of(model: str, files: Mapping[str, bytes]) -> model_pb2.Manifest:
    """The manifest as training hands it to publishing."""
    return model_pb2.Manifest(
        format_version=1,
        model=model,
        files=[
            model_pb2.File(name=name, size_bytes=len(data), sha256=sha256_hex(data))
            for name, data in files.items()
        ],
        inputs=_INPUTS,
        outputs=_OUTPUTS,
        features=SPEC,
        tolerances=[model_pb2.Tolerance(device="cpu", precision="fp32", absolute=1e-4)],
    )


def put(store: Store, clock: Clock, model: str, files: Mapping[str, bytes], job: int) -> int:
    """Publishes a version by the real protocol, as job number `job`; its number."""
    attempt = Attempt(LOCAL.tenant, f"01J{job:023d}", f"01J{job:022d}A", 1, 0)
    folder = keys.attempt_artifact(attempt.tenant, attempt.job, attempt.attempt)
    for name, data in files.items():
        store.create(f"{folder}/{name}", data)
    trained = manifest_of(model, files)
    return publish(store, clock, attempt, trained, may_decide=lambda: True).version


def replace(store: Store, model: str, number: int, name: str, data: bytes) -> None:
    """Changes a file of a version in place, as the product never does."""
    path = store.path(f"{keys.version(LOCAL.tenant, model, number)}/{name}")
    path.unlink()  # it may have other names
    path.write_bytes(data)


class FakeProgram:
    """Adds its value to x. Says what is wrong when it runs and should not."""

    def __init__(self, engine: "FakeEngine", found: Mapping[str, float], problem: str) -> None:
        self._engine = engine
        self._value, self._seconds = found["value"], found["seconds"]
        self._problem = problem
        self._is_replayed = self._is_warm = False

    def expected_s(self, rows: int) -> float:
        """See lane.Program."""
        return self._seconds * rows

    def replay(self, examples: Golden, tolerance: model_pb2.Tolerance) -> None:
        """See loading.Network."""
        examples.check({"value": examples.inputs["x"] + np.float32(self._value)}, tolerance)
        self._is_replayed = True

    def warm_up(self, examples: Golden) -> None:
        """See loading.Network."""
        del examples
        self._is_warm = True

    def run(self, parts: Sequence[Mapping[str, Array]]) -> Executed:
        """See lane.Program."""
        if self._problem:
            self._engine.wrong("J3", self._problem)
        if not self._is_replayed:
            self._engine.wrong("J3", "a version runs that was not replayed")
        if not self._is_warm:
            self._engine.wrong("J5", "a version runs that is not warm")
        self._engine.ran([part["x"] for part in parts], self._seconds)
        results: list[Mapping[str, Array] | Exception] = [
            {"value": part["x"] + np.float32(self._value)} for part in parts
        ]
        took_s = self.expected_s(sum(len(part["x"]) for part in parts))
        return Executed(results, Timing(1, int(took_s * 1e9), 1))


class FakeEngine:
    """An engine without torch; see loading.Engine."""

    device_type = "cpu"

    def __init__(
        self,
        wrong: Callable[[str, str], None],
        ran: Callable[[Sequence[Array], float], None],
    ) -> None:
        #: Told what was wrong: an invariant and a text.
        self.wrong = wrong
        #: Told the x of every request of a batch that runs now, and the seconds of a row.
        self.ran = ran
        self.loader: Executor = ThreadPoolExecutor(1, "loader")
        self.slow = Turns(ThreadPoolExecutor(1, "engine"))
        #: Every program that was ever loaded and is still held by somebody.
        self.programs: weakref.WeakSet[FakeProgram] = weakref.WeakSet()
        self.load_count = 0

    def load(self, manifest: model_pb2.Manifest, files: Mapping[str, bytes]) -> FakeProgram:
        """See loading.Engine."""
        self.load_count += 1
        sha256 = {file.name: file.sha256 for file in manifest.files}
        others = [name for name in FILES if sha256_hex(files[name]) != sha256[name]]
        try:
            weights = json.loads(files[WEIGHTS])
            values = {"value": float(weights["value"]), "seconds": float(weights["seconds"])}
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt("the weights cannot be read", resource=WEIGHTS) from error
        problem = f"version {manifest.version} runs with another {others}" if others else ""
        program = FakeProgram(self, values, problem)
        self.programs.add(program)
        return program

    def close(self) -> None:
        """Ends the threads, if any were started."""
        self.loader.shutdown(wait=False, cancel_futures=True)
        self.slow.executor.shutdown(wait=False, cancel_futures=True)

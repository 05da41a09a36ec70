"""`twofold demo`: the whole system once, with real data, told step by step.

A cluster of its own on free ports, in a temporary folder: it meets no running one.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

import twofold
from twofold import toml_spec
from twofold.client import Client, JobHandle
from twofold.cluster import embedded
from twofold.errors import TwofoldError
from twofold.v1 import model_pb2, training_pb2

MODEL = "digits"
#: What softmax regression reaches on these digits; anything below it is a defect.
REQUIRED_ACCURACY = 0.95
_STEP_COUNT = 7
_SINGLE_ROWS = 500
_SERVED_WITHIN_S = 10.0
#: How long version 2 is watched after its first answer.
_AFTERWARDS_S = 0.5
_PROGRESS_LINES = 6


class DemoFailed(Exception):
    """The demo could not show what it promises; the text says what was missing."""


def run(examples: Path | None = None) -> int:
    """Shows everything; 0 if every promise held."""
    folder = examples or Path(twofold.__file__).parents[1] / "examples"
    if not (folder / "digits.toml").is_file():
        say(f"no digits.toml in {folder}: name the examples folder of a checkout with --examples")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="twofold-demo-") as directory:
            _Demo(folder, Path(directory)).run()
    except (DemoFailed, TwofoldError, embedded.NotStarted) as error:
        say(f"\nFAILED: {error}")
        return 1
    return 0


def say(text: str) -> None:
    """One line for the person who watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def step(number: int, title: str) -> None:
    """A headline."""
    say(f"\n[{number}/{_STEP_COUNT}] {title}")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that training never saw."""

    columns: dict[str, NDArray[np.float32]]
    """By name, each [rows]."""
    labels: NDArray[np.str_]
    """[rows]"""

    def matrix(self, order: Sequence[str]) -> NDArray[np.float32]:
        """float32 [rows, columns], in the model's order."""
        return np.stack([self.columns[name] for name in order], axis=1)


def read_held_out(path: Path, target: str) -> HeldOut:
    """The rows of a Parquet file whose column `target` is the label."""
    from pyarrow import parquet  # noqa: PLC0415 - 0.2 s that only this step needs

    table = cast(
        "dict[str, list[float]]",
        parquet.read_table(path).to_pydict(),  # pyright: ignore[reportUnknownMemberType] - untyped
    )
    labels = np.array([str(value) for value in table.pop(target)], dtype=np.str_)
    return HeldOut({name: np.array(table[name], np.float32) for name in table}, labels)


@dataclass(eq=False)
class _Demo:
    examples: Path
    directory: Path
    started_s: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        say("Twofold: a trainer takes jobs from a queue and publishes versions of models;")
        say("an inferer loads each new version while it serves, and answers over gRPC.")
        step(1, "Start a cluster: Valkey (the queue), the trainer, the inferer")
        with embedded.running(self.directory / "cluster") as cluster:
            say(
                f"  ready after {self._elapsed_s():.1f} s: train={cluster.train} "
                f"infer={cluster.infer} metrics={cluster.metrics}"
            )
            with Client(train=cluster.train, infer=cluster.infer) as client:
                self._show(client)
            step(7, "Stop the cluster")
            code = cluster.stop()
        if code != 0:
            raise DemoFailed(f"the cluster ended with exit code {code}")
        say("  drained, exit code 0: nothing is left running, the temporary folder is removed")
        say(f"\nAll of it took {self._elapsed_s():.0f} s. Your own cluster: twofold up")

    def _show(self, client: Client) -> None:
        dataset = self._upload(client)
        self._train(client, dataset)
        held_out = self._predict(client)
        self._trace(client, held_out)
        self._replace(client, dataset, held_out)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    def _upload(self, client: Client) -> str:
        step(2, "Upload data: handwritten digits, 8x8 pixels each (UCI)")
        dataset = client.datasets.put(self.examples / "data" / "digits_train.parquet")
        say(f"  {dataset.name}")
        say(
            f"  {dataset.row_count:,} rows, {len(dataset.columns)} columns, "
            f"{dataset.size_bytes:,} bytes; the name is the content's SHA-256"
        )
        return dataset.name.removeprefix("datasets/")

    def _train(self, client: Client, dataset: str) -> None:
        step(3, "Submit a training job over gRPC and watch it")
        handle = client.train(self._spec([]), data=dataset)
        say(f"  job {handle.id}: the queue has it, on disk")
        job = watch(handle)
        duration_s = (
            job.end_time.ToDatetime().timestamp() - job.create_time.ToDatetime().timestamp()
        )
        say(f"  succeeded {duration_s:.1f} s after it was submitted: {job.model_version}")

    def _spec(self, sets: Sequence[str]) -> Mapping[str, toml_spec.Value]:
        tree = toml_spec.read(self.examples / "digits.toml")
        return toml_spec.apply_sets(tree, [f"model={MODEL}", *sets])

    def _predict(self, client: Client) -> HeldOut:
        step(4, "Predict rows that training never saw, over gRPC")
        served_s = wait_until_served(client, 1)
        manifest = client.models.version(MODEL, 1).manifest
        held_out = read_held_out(
            self.examples / "data" / "digits_test.parquet", manifest.features.target
        )
        rows = held_out.matrix(manifest.features.numeric_columns)
        correct: NDArray[np.bool_] = np.equal(client.predict(MODEL, rows).labels, held_out.labels)
        accuracy = float(np.mean(correct))
        say(f"  version 1 answers {served_s * 1000:.0f} ms after the job's end was seen here")
        say(
            f"  accuracy {accuracy:.3f} on {len(rows)} rows ({int(np.sum(~correct))} wrong); "
            f"the trainer said {manifest.metrics['accuracy']:.3f} on rows it held out itself"
        )
        if accuracy < REQUIRED_ACCURACY:
            raise DemoFailed(f"accuracy {accuracy:.3f} is below {REQUIRED_ACCURACY}")
        p50, p99 = latencies_ms(lambda i: client.predict(MODEL, rows[i : i + 1]), len(rows))
        say(
            f"  {_SINGLE_ROWS} requests of one row, one after another: "
            f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        )
        return held_out

    def _trace(self, client: Client, held_out: HeldOut) -> None:
        step(5, "Ask where an answer came from")
        prediction = client.predict(MODEL, {k: v[:1] for k, v in held_out.columns.items()})
        probability = float(prediction.probabilities.max())
        say(
            f"  the first held-out row is a {held_out.labels[0]}; the answer was "
            f"{prediction.labels[0]} with probability {probability:.3f}, "
            f"by version {prediction.version}"
        )
        version = client.models.version(prediction.model, prediction.version)
        for line in lineage_lines(version):
            say(f"  {line}")

    def _replace(self, client: Client, dataset: str, held_out: HeldOut) -> None:
        step(6, "Train version 2 while predictions go on")
        manifest = client.models.version(MODEL, 1).manifest
        rows = held_out.matrix(manifest.features.numeric_columns)
        with PredictionLoop(lambda: client.predict(MODEL, rows[:8]).version) as loop:
            handle = client.train(self._spec(["training.seed=2"]), data=dataset)
            say(f"  job {handle.id}; meanwhile a loop predicts 8 rows at a time")
            watch(handle)
            ended_s = time.monotonic()
            loop.wait_for(2, _SERVED_WITHIN_S)
            threading.Event().wait(_AFTERWARDS_S)
        say(
            f"  {loop.count:,} predictions, failures={len(loop.failures)}, versions seen: "
            + " -> ".join(str(version) for version, _ in loop.changes)
        )
        if loop.failures:
            raise DemoFailed(f"{len(loop.failures)} predictions failed: {loop.failures[0]}")
        if [version for version, _ in loop.changes] != [1, 2]:
            raise DemoFailed("the loop should have seen version 1, then version 2, and no other")
        changed_s = loop.changes[1][1]
        say(
            f"  the version changed {changed_s - loop.started_s:.2f} s into the loop, "
            f"{describe_gap((changed_s - ended_s) * 1000)} the news that the job had ended"
        )


def describe_gap(gap_ms: float) -> str:
    """How long before or after, for people."""
    return f"{abs(gap_ms):.0f} ms {'after' if gap_ms >= 0 else 'before'}"


def watch(handle: JobHandle) -> training_pb2.TrainingJob:
    """Follows a job to its version, with a few lines of progress. Raises JobFailed."""
    shown = 0
    for event in handle.watch(timeout_s=60):
        progress = event.job.progress
        part = progress.epoch * _PROGRESS_LINES // max(1, progress.epoch_count)
        if progress.epoch and part > shown:
            shown = part
            say(f"  {progress_line(progress)}")
    return handle.wait()


def progress_line(progress: training_pb2.Progress) -> str:
    """One line of where training stands."""
    words = [f"epoch {progress.epoch:>4}/{progress.epoch_count}", f"loss {progress.loss:.4f}"]
    if progress.HasField("validation_loss"):
        words.append(f"validation loss {progress.validation_loss:.4f}")
    words += [f"{name} {value:.4f}" for name, value in sorted(progress.metrics.items())]
    return "  ".join([*words, f"{progress.rows_per_second:,.0f} rows/s"])


#: A longer data set's name is a digest, of which the first digits tell enough.
_NAME_LENGTH = 21


def lineage_lines(version: model_pb2.ModelVersion) -> list[str]:
    """What the manifest of a version says about its origin."""
    lineage, files = version.manifest.lineage, version.manifest.files
    dataset = lineage.dataset
    if len(dataset) > _NAME_LENGTH:
        dataset = f"{dataset[:_NAME_LENGTH]}..."
    rows = f"{lineage.training_row_count:,} rows trained, {lineage.validation_row_count:,} held out"
    code = f"twofold {lineage.code_version}, torch {lineage.torch_version}, {lineage.device}"
    return [
        f"{version.name}  (manifest {version.manifest_sha256[:12]}...)",
        f"  from {lineage.job}, attempt {lineage.attempt}",
        f"  from {dataset}: {rows} by the trainer",
        f"  spec {lineage.spec_sha256[:12]}..., epoch {lineage.epoch}, {code}",
        "  files " + ", ".join(f"{file.name} {file.sha256[:8]}..." for file in files),
    ]


def wait_until_served(client: Client, version: int) -> float:
    """Seconds until the inferer has `version`. Raises DemoFailed."""
    started_s = time.monotonic()
    pause = threading.Event()
    while time.monotonic() < started_s + _SERVED_WITHIN_S:
        if client.inference.is_model_ready(MODEL, str(version)):
            return time.monotonic() - started_s
        pause.wait(0.005)
    raise DemoFailed(f"version {version} was not served within {_SERVED_WITHIN_S:g} s")


def latencies_ms(ask: Callable[[int], object], row_count: int) -> tuple[float, float]:
    """p50 and p99 of asking one row at a time, after a few that warm up."""
    for index in range(20):
        ask(index % row_count)
    taken: list[float] = []
    for index in range(_SINGLE_ROWS):
        started_s = time.perf_counter()
        ask(index % row_count)
        taken.append((time.perf_counter() - started_s) * 1000)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))


@dataclass(eq=False)
class PredictionLoop:
    """Predicts in a thread of its own from `with` to its end; notes failures and versions."""

    ask: Callable[[], int]
    """Answers with the version that answered."""
    count: int = 0
    failures: list[str] = field(default_factory=list[str])
    changes: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    """Each version when it was first seen after another, in seconds of time.monotonic."""
    started_s: float = 0.0
    # All of the above is written by the loop's thread alone.
    _stop: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.started_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="predictions")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait_for(self, version: int, timeout_s: float) -> None:
        """Returns once `version` answered. Raises DemoFailed."""

        def is_there() -> bool:
            return any(seen == version for seen, _ in self.changes)

        with self._changed:
            if not self._changed.wait_for(is_there, timeout_s):
                raise DemoFailed(f"no answer by version {version} within {timeout_s:g} s")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                version = self.ask()
            except TwofoldError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                continue
            self.count += 1
            if not self.changes or self.changes[-1][0] != version:
                with self._changed:
                    self.changes.append((version, time.monotonic()))
                    self._changed.notify_all()

"""The parts "small" and "compile" of bench.training: what a job costs beside its steps."""

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.training_own import SMALL, STAGES, Run, large, small_ms
from bench.training_speed import APP, BATCH, COMPILED, PEERS_PYTHON, write_rows
from bench.warm_process import ROOT, WarmProcess, started
from trainer import data
from twofold import spec
from twofold.client import Client
from twofold.v1 import dataset_pb2

#: Milliseconds that the service may add to a small job.
GOAL_MS = 150
_DIGITS = ROOT / "examples" / "data" / "digits_train.parquet"
_DIGITS_TRAINED = 1149  # of 1,437: a fifth is held out
_COMPILE_JOBS = 3


@dataclass(frozen=True, slots=True)
class Small:
    """Milliseconds of one kind of job, a figure per round."""

    bare: list[float]
    stages: list[Mapping[str, float]]

    @property
    def over(self) -> list[float]:
        """What the service took on top, round by round."""
        pairs = zip(self.stages, self.bare, strict=True)
        return [stages["succeeded"] - bare for stages, bare in pairs]


def measure(client: Client, folder: Path, rounds: int) -> dict[str, Small]:
    """Both kinds, in turns with their bare loops; the first round warms up."""
    datasets = {"xor": "xor", "digits": client.datasets.put(_DIGITS).name.removeprefix("datasets/")}
    found = {name: Small([], []) for name in SMALL}
    with ExitStack() as stack:
        bare: dict[str, WarmProcess] = {}
        for name in SMALL:
            place = folder / name
            _write(name, place)
            command = (str(PEERS_PYTHON), APP, "bare", str(place), "1")
            bare[name] = stack.enter_context(started(*command))
        for turn in range(rounds + 1):
            for name, job in SMALL.items():
                rows = len(np.load(folder / name / "y.npy"))
                answer = bare[name].ask(f"{rows} {job.epochs} {job.batch_size}")
                stages = small_ms(client, name, datasets[name])
                if turn:
                    found[name].bare.append(float(answer) * 1000)
                    found[name].stages.append(stages)
    return found


def _write(name: str, folder: Path) -> None:
    """The rows that a job trains on, as arrays."""
    folder.mkdir()
    if name == "xor":
        columns = spec.truth_table(name).arrays
    else:
        columns = data.read(_DIGITS, dataset_pb2.DATASET_FORMAT_PARQUET).columns
    *features, target = columns
    count = len(columns[target]) if name == "xor" else _DIGITS_TRAINED
    matrix = np.stack([columns[feature] for feature in features], axis=1)
    np.save(folder / "x.npy", matrix[:count].astype(np.float32))
    np.save(folder / "y.npy", columns[target][:count].astype(np.int64))


def report(found: Mapping[str, Small]) -> str:
    """The table, in Markdown; every figure is a median."""
    rounds = len(next(iter(found.values())).bare)
    lines = [
        "## Small jobs\n",
        (
            f"Milliseconds, medians of {rounds} rounds on a warm worker, one thread, as a client "
            "of the embedded cluster sees them; the bare loop is the same network and epochs in a "
            "warm process: torch, resident tensors, fused Adam, no evaluation.\n"
        ),
        f"| job | bare loop | {' | '.join(STAGES)} | over the bare loop | from | to | goal |",
        "| --- | --- | " + "--- | " * len(STAGES) + "--- | --- | --- | --- |",
        *(_line(name, small) for name, small in found.items()),
    ]
    return "\n".join(lines) + "\n"


def _line(name: str, small: Small) -> str:
    stages = [statistics.median(seen[stage] for seen in small.stages) for stage in STAGES]
    over, job = small.over, SMALL[name]
    verdict = "met" if statistics.median(over) <= GOAL_MS else "MISSED"
    shown = " | ".join(f"{stage:.0f}" for stage in stages)
    return (
        f"| {name}, {job.epochs} epochs | {statistics.median(small.bare):.0f} | {shown} | "
        f"{statistics.median(over):.0f} | {min(over):.0f} | {max(over):.0f} | "
        f"at most {GOAL_MS}: {verdict} |"
    )


def compile_report(client: Client, folder: Path, rows: int) -> str:
    """What compiling costs, on a cluster that trains every job in a process of its own."""
    dataset = client.datasets.put(write_rows(folder, rows)).name.removeprefix("datasets/")
    eager = large(client, dataset, 3, {"batch_size": BATCH})
    jobs = [
        large(client, dataset, 3, {**COMPILED, "batch_size": BATCH}) for _ in range(_COMPILE_JOBS)
    ]
    lines = [
        "## Compiling\n",
        (
            "Seconds from the attempt's beginning to its first step, every job in a process of its "
            "own; what the later ones save comes from the private cache of compiled code.\n"
        ),
        "| job | before the first step | of which compiling | execution |",
        "| --- | --- | --- | --- |",
        _compiled_line("not compiled", eager, eager),
        *(
            _compiled_line(f"compiled, {'first' if not index else 'again'}", run, eager)
            for index, run in enumerate(jobs)
        ),
    ]
    return "\n".join(lines) + "\n"


def _compiled_line(name: str, run: Run, eager: Run) -> str:
    compiling_s = max(0.0, run.before_s - eager.before_s)
    return (
        f"| {name} | {run.before_s:.1f} | {compiling_s:.1f} | {run.choices.execution} "
        f"({run.choices.precision}) |"
    )

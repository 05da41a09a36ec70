"""The part "speed" of bench.training: rows per second of the service and of others, in turns."""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.training_own import HELD_OUT, Run, large
from bench.warm_process import ROOT, WarmProcess, started
from twofold.client import Client

PEERS_PYTHON = ROOT / ".venv-bench-training" / "bin" / "python"
APP = "bench/peers/training_app.py"
BATCH = 8192
_WIDTH = 28
_BF16: Mapping[str, object] = {"precision": "bf16"}
COMPILED: Mapping[str, object] = {**_BF16, "compile": True}
#: The service's cases: options of [training], and the part of the rows that is held out.
OWN: Mapping[str, tuple[Mapping[str, object], float]] = {
    "twofold fp32": ({}, HELD_OUT),
    "twofold bf16": (_BF16, HELD_OUT),
    "twofold bf16 compiled": (COMPILED, HELD_OUT),
    "twofold fp32, a fifth held out": ({}, 0.2),
}
#: The others' names, as the table and as training_app have them.
OTHERS: Mapping[str, str] = {
    "loop fp32": "loop_fp32",
    "loop bf16": "loop_bf16",
    "loop bf16 compiled": "loop_bf16_compiled",
    "DataLoader loop": "dataloader",
    "Lightning": "lightning",
    "Accelerate": "accelerate",
    "skorch": "skorch",
    "MLPClassifier": "sklearn",
}
_LOOP = "loop fp32"
#: Who should be how much faster than whom: the least ratio of rows per second.
GOALS: Sequence[tuple[str, str, float]] = (
    ("twofold fp32", _LOOP, 0.95),
    ("twofold fp32", "Lightning", 3.0),
    ("twofold bf16 compiled", _LOOP, 1.7),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What bench.training was asked for."""

    rounds: int
    rows: int
    epochs: int
    threads: int
    small_rounds: int
    parts: tuple[str, ...]
    others: tuple[str, ...]
    output: Path | None


@dataclass(slots=True)
class Found:
    """What was measured."""

    options: Options
    #: The first job of each of OWN, which may have compiled.
    first: dict[str, Run] = field(default_factory=dict[str, Run])
    #: Those of the rounds.
    runs: dict[str, list[Run]] = field(default_factory=dict[str, list[Run]])
    #: Rows per second of every round, by case.
    speeds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    versions: set[str] = field(default_factory=set[str])


def made_up(rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features [rows, 28] and classes that depend on them in a curved way, with noise."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, _WIDTH), dtype=np.float32)
    score = x[:, :8].sum(axis=1) + x[:, 8] * x[:, 9] + np.abs(x[:, 10:14]).sum(axis=1)
    score += generator.standard_normal(rows, dtype=np.float32)
    return x, (score > np.median(score)).astype(np.int64)


def write_rows(folder: Path, rows: int) -> Path:
    """Made-up rows as Parquet for the service, and as arrays for the others."""
    x, y = made_up(rows)
    columns = {f"f{index}": x[:, index] for index in range(_WIDTH)}
    path = folder / "rows.parquet"
    pq.write_table(pa.table({**columns, "label": y}), path)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return path


def measure(client: Client, folder: Path, options: Options) -> Found:
    """Every case in every round; the first job of each of the service's comes before them."""
    found = Found(options)
    dataset = client.datasets.put(write_rows(folder, options.rows)).name
    dataset = dataset.removeprefix("datasets/")
    for name in OWN:
        found.first[name] = _own(client, dataset, name, options)
    fp32 = found.first["twofold fp32"]
    with ExitStack() as stack:
        others = {
            name: stack.enter_context(_other(name, folder, fp32.choices.threads))
            for name in options.others
        }
        found.versions = {process.versions for process in others.values()}
        for process in others.values():
            process.ask(f"{min(2 * BATCH, fp32.rows)} 1 {BATCH}")
        pairs = zip_longest(OWN, others)
        names = [name for name in chain.from_iterable(pairs) if name is not None]
        for turn in range(options.rounds):
            for name in reversed(names) if turn % 2 else names:
                if name in OWN:
                    run = _own(client, dataset, name, options)
                    found.runs.setdefault(name, []).append(run)
                    speed = run.wall
                else:
                    speed = _speed_of(others[name], name, fp32.rows, options)
                found.speeds.setdefault(name, []).append(speed)
                sys.stderr.write(f"round {turn + 1}: {name}: {speed:,.0f} rows/s\n")
    return found


def _own(client: Client, dataset: str, name: str, options: Options) -> Run:
    training, held_out = OWN[name]
    return large(client, dataset, options.epochs + 1, {**training, "batch_size": BATCH}, held_out)


def _other(name: str, folder: Path, threads: int) -> AbstractContextManager[WarmProcess]:
    return started(str(PEERS_PYTHON), APP, OTHERS[name], str(folder), str(threads))


def _speed_of(process: WarmProcess, name: str, rows: int, options: Options) -> float:
    epochs = options.epochs if name.startswith("loop") else 1
    taken_s = [float(word) for word in process.ask(f"{rows} {epochs} {BATCH}").split()]
    return rows / statistics.fmean(taken_s)


def ratios(found: Found, one: str, other: str) -> list[float]:
    """Of two cases, round by round."""
    pairs = zip(found.speeds.get(one, []), found.speeds.get(other, []), strict=False)
    return [a / b for a, b in pairs]


def report(found: Found) -> str:
    """Two tables, in Markdown: all cases, then the goals."""
    fp32, versions = found.first["twofold fp32"], "; ".join(sorted(found.versions))
    lines = [
        "## Large steps\n",
        (
            f"{fp32.rows:,} training rows x {_WIDTH}, MLP {_WIDTH}-256-256-2, AdamW, batches of "
            f"{BATCH:,}; {found.options.rounds} rounds in turns, in each a job of "
            f"{found.options.epochs + 1} epochs, of which the first is not counted; "
            f"{fp32.choices.threads} thread(s) for everybody ({fp32.choices.threads_reason}). "
            f"{versions}. Twofold's figures are by the times in its metric series, thus with "
            f"evaluation of the held-out rows ({HELD_OUT:.0%} unless said otherwise), reports and "
            "checkpoints; the others neither evaluate nor save. TWOFOLD_NICE=0.\n"
        ),
        "| way | median rows/s | from | to | of the fp32 loop | Twofold's own figure |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_line(found, name) for name in found.speeds),
        "",
        "| ratio of rows/s | median | from | to | goal |",
        "| --- | --- | --- | --- | --- |",
        *(_goal(found, *goal) for goal in GOALS),
        "",
        *_choices(found),
    ]
    return "\n".join(lines) + "\n"


def _line(found: Found, name: str) -> str:
    speeds = found.speeds[name]
    of_loop = ratios(found, name, _LOOP)
    ratio = f"{statistics.median(of_loop):.2f} x" if of_loop else ""
    reported = [run.reported for run in found.runs.get(name, [])]
    own = f"{statistics.median(reported):,.0f}" if reported else ""
    return (
        f"| {name} | {statistics.median(speeds):,.0f} | {min(speeds):,.0f} | {max(speeds):,.0f} | "
        f"{ratio} | {own} |"
    )


def _goal(found: Found, one: str, other: str, least: float) -> str:
    them = ratios(found, one, other)
    if not them:
        return f"| {one} / {other} | not measured | | | at least {least} |"
    median = statistics.median(them)
    verdict = "met" if median >= least else "MISSED"
    if "bf16" in one and found.first[one].choices.precision != "bf16":
        verdict = "this CPU has no bf16"
    return (
        f"| {one} / {other} | {median:.2f} | {min(them):.2f} | {max(them):.2f} | "
        f"at least {least}: {verdict} |"
    )


def _choices(found: Found) -> list[str]:
    lines = ["What the service picked, and how long whole jobs took:\n"]
    for name, run in found.first.items():
        picked = run.choices
        jobs_s = [one.job_s for one in found.runs[name]]
        lines.append(
            f"- {name}: {picked.precision} ({picked.precision_reason}); {picked.execution} "
            f"({picked.execution_reason}); {picked.optimizer}. The job took "
            f"{statistics.median(jobs_s):.1f} s from the submission to the version; before its "
            f"first step {statistics.median(one.before_s for one in found.runs[name]):.1f} s."
        )
    return lines

"""Seconds from a file to one float32 array: `make bench-loading`, or `python -m bench.loading`.

1,000,000 rows of 28 numbers and a label, from Parquet and from CSV, by Twofold and by pyarrow,
polars and pandas, each at its fastest and each in warm processes of its own, one per format; their
runs take turns. Twofold checks every cell, the others do not. Every reader must find the same
numbers. Prints a table and keeps it in bench/results/loading.md.

"rows": row after row, as a training step gathers them. "columns": column after column, for those
who can do with it. "prepared": all that a job does before its first step.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bench.warm_process import ROOT, WarmProcess, started

_PEERS_PYTHON = ROOT / ".venv-bench-loading" / "bin" / "python"
_WIDTH = 28
_PEERS = ("pyarrow", "polars", "pandas")
#: What is compared, and how far above the fastest peer is aimed at.
_CASES: Mapping[tuple[str, str], float | None] = {
    ("parquet", "rows"): 1.5,
    ("csv", "rows"): 1.3,
    ("parquet", "columns"): None,
}
_OWN_CASES = (("parquet", "prepared"), ("csv", "prepared"))
Times = dict[tuple[str, str, str], list[float]]


def make_files(folder: Path, row_count: int) -> dict[str, Path]:
    """The same table as Parquet and as CSV, as pyarrow writes them."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((row_count, _WIDTH), dtype=np.float32)
    columns = {f"f{index}": x[:, index] for index in range(_WIDTH)}
    table = pa.table({**columns, "label": (x.sum(axis=1) > 0).astype(np.int64)})
    files = {"parquet": folder / "table.parquet", "csv": folder / "table.csv"}
    pq.write_table(table, files["parquet"])
    pacsv.write_csv(table, files["csv"])
    return files


def measure(
    of_format: Mapping[str, Mapping[str, WarmProcess]], files: Mapping[str, Path], rounds: int
) -> Times:
    """Seconds of every run; raises SystemExit where two readers found other numbers.

    One case after the other: a virtual machine's host takes back memory that is free for some
    seconds, and then whoever asks for it first waits for it.
    """
    times: Times = {}
    for file_format, layout in (*_CASES, *_OWN_CASES):
        readers = of_format[file_format]
        for turn in range(rounds + 1):  # the first warms up
            seen: dict[str, str] = {}
            for name in ["twofold"] if layout == "prepared" else _order(list(readers), turn):
                order = f"{name} {file_format} {layout} {files[file_format]}"
                took_s, _, seen[name] = readers[name].ask(order).partition(" ")
                if turn:
                    times.setdefault((file_format, layout, name), []).append(float(took_s))
            if len(set(seen.values())) > 1:
                raise SystemExit(f"the readers disagree about {file_format}: {seen}")
    return times


def _order(names: list[str], turn: int) -> list[str]:
    """Who comes first finds the processor's caches cold: another one every time."""
    first = turn % len(names)
    return [*names[first:], *names[:first]]


def report(times: Times) -> str:
    """The table, in Markdown; ratios are those of the medians."""
    lines = [
        "| file | array | reader | median s | from | to | Twofold takes | goal |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (file_format, layout, name), taken in times.items():
        own = statistics.median(times[file_format, layout, "twofold"])
        median = statistics.median(taken)
        peers = [
            statistics.median(times[file_format, layout, peer])
            for peer in _PEERS
            if (file_format, layout, peer) in times
        ]
        is_fastest = name != "twofold" and median == min(peers)
        ratio = "" if name == "twofold" else f"{own / median:.2f} x"
        limit = _CASES.get((file_format, layout)) if is_fastest else None
        goal = f"at most {limit} x" if limit else ""
        lines.append(
            f"| {file_format} | {layout} | {name} | {median:.3f} | {min(taken):.3f} | "
            f"{max(taken):.3f} | {ratio} | {goal} |"
        )
    return "\n".join(lines)


def _machine(rows: int, rounds: int, versions: Sequence[str]) -> str:
    return (
        f"{rows:,} rows x {_WIDTH + 1} columns, {rounds} runs each in turns; {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}; "
        + "; ".join(versions)
        + f". Twofold reads with pyarrow {pa.__version__}."
    )


def _readers(stack: ExitStack) -> dict[str, WarmProcess]:
    """Processes that read one format alone: what one leaves in memory is not the other's."""
    own = started(sys.executable, "-m", "bench.loading_own")
    readers = {"twofold": stack.enter_context(own)}
    for name in _PEERS:
        peer = started(str(_PEERS_PYTHON), "bench/peers/loading_app.py")
        readers[name] = stack.enter_context(peer)
    return readers


def main() -> None:
    """Measures, prints, and keeps the table."""
    parser = argparse.ArgumentParser("python -m bench.loading")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "loading.md")
    options = parser.parse_args()
    if not _PEERS_PYTHON.exists():
        raise SystemExit("no environment for the other readers: run `make bench-loading`")
    with (
        tempfile.TemporaryDirectory(prefix="twofold-loading-") as temporary,
        ExitStack() as stack,
    ):
        files = make_files(Path(temporary), options.rows)
        readers = {file_format: _readers(stack) for file_format in files}
        times = measure(readers, files, options.rounds)
        versions = readers["csv"][_PEERS[0]].versions
    table = report(times)
    setting = _machine(options.rows, options.rounds, [versions])
    text = f"# From a file to one float32 array\n\n{setting}\nMade by `make bench-loading`.\n\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text + table + "\n", encoding="utf-8")
    print(f"{setting}\n\n{table}")


if __name__ == "__main__":
    main()

"""How fast predictions are served: `make bench-serving`, or `python -m bench.serving`.

An MLP 64-128-128-10 in float32, one row per request, by the inferer on both transports and by other
servers, each at its best and each with the same weights, on one machine in one run. Three parts, of
which `--only` chooses:

rates: requests a second, latencies and processor time of every server at the same points in turns,
beside a prototype with the same engine, an echo and a server of files.
reloads: versions replace each other under load; were answers lost, mixed or late?
memory: likewise 1,000 times; does memory grow? Not unless it is asked for.

Prints tables, and keeps them in bench/results/serving.md when the first two parts and the usual
servers ran. h2load (Debian's nghttp2-client) makes the load of the first part.
"""

import argparse
import importlib.metadata
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from bench import serving_rates, serving_reloads, serving_report
from bench.quiet import others_at_work
from bench.serving_h2load import H2LOAD
from bench.serving_rates import OTHERS, USUAL, Options
from bench.training import chosen
from bench.warm_process import ROOT

_OUTPUT = ROOT / "bench" / "results" / "serving.md"


def _rates(options: Options, folder: Path) -> str:
    rates = serving_rates.measure(options, folder)
    return serving_report.report(rates, options.duration_s)


def _reloads(options: Options, folder: Path) -> str:
    return serving_reloads.report(serving_reloads.measure(folder, options.reloads, options.pause_s))


def _memory(options: Options, folder: Path) -> str:
    measured = serving_reloads.measure(folder, options.memory_reloads, options.pause_s)
    return serving_reloads.memory_report(measured)


PARTS: Mapping[str, Callable[[Options, Path], str]] = {
    "rates": _rates,
    "reloads": _reloads,
    "memory": _memory,
}
_USUAL_PARTS = ("rates", "reloads")


def _machine() -> str:
    h2load = subprocess.run(  # noqa: S603 - our own
        [H2LOAD, "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()
    packages = ("numpy", "protobuf", "uvloop")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch "
        f"{torch.__version__}, {versions}, {h2load}; {others_at_work()}"
    )


def _options() -> Options:
    parser = argparse.ArgumentParser("python -m bench.serving")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=3, help="seconds of one sample")
    parser.add_argument("--warm-up", type=int, default=1, help="seconds before each")
    parser.add_argument("--reloads", type=int, default=200, help="of the part reloads")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between reloads")
    parser.add_argument("--memory-reloads", type=int, default=1000, help="of the part memory")
    parser.add_argument("--only", default=",".join(_USUAL_PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--against", default=",".join(USUAL), help=f"of {','.join(OTHERS)}")
    parser.add_argument("--output", type=Path, help=f"instead of {_OUTPUT.relative_to(ROOT)}")
    asked = parser.parse_args()
    return Options(
        rounds=asked.rounds,
        duration_s=asked.duration,
        warm_up_s=asked.warm_up,
        parts=chosen("--only", asked.only, PARTS),
        others=chosen("--against", asked.against, dict.fromkeys(OTHERS)),
        reloads=asked.reloads,
        memory_reloads=asked.memory_reloads,
        pause_s=asked.pause,
        output=asked.output,
    )


def main() -> None:
    """Measures, prints, and keeps the tables of a whole run."""
    options = _options()
    if not H2LOAD:
        raise SystemExit("there is no h2load: install Debian's nghttp2-client")
    text = f"# How fast predictions are served\n\n{_machine()}. Made by `make bench-serving`.\n"
    print(text, flush=True)
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="twofold-serving-") as temporary:
            table = PARTS[part](options, Path(temporary))
        print(table, flush=True)
        text += "\n" + table
    is_whole = set(options.parts) >= set(_USUAL_PARTS) and set(options.others) >= set(USUAL)
    if output := options.output or (_OUTPUT if is_whole else None):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

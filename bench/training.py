"""How fast jobs train: `make bench-training`, or `python -m bench.training`.

Everything of Twofold runs on an embedded cluster: queue, warm training process, metrics,
checkpoints, publishing. Three parts, of which `--only` chooses:

speed: 1,000,000 made-up rows of 28 numbers and a label of two classes, an MLP 28-256-256-2, AdamW,
batches of 8192, against hand-written loops and libraries in the same run, on as many threads as the
service takes, in turns (every other round backwards).
small: XOR and digits on a warm worker, against the bare loop in a warm process.
compile: what compiling costs the first job, and the next one in another process.

Prints tables, and keeps them in bench/results/training.md when all parts and all ways ran. The
cluster runs with TWOFOLD_NICE=0: the others have that priority, too.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from bench import training_small, training_speed
from bench.quiet import others_at_work
from bench.training_speed import OTHERS, PEERS_PYTHON, Options
from bench.warm_process import ROOT
from twofold.client import Client
from twofold.cluster.embedded import running

_OUTPUT = ROOT / "bench" / "results" / "training.md"


def _speed(options: Options, folder: Path) -> str:
    with _client(folder, options) as client:
        return training_speed.report(training_speed.measure(client, folder, options))


def _small(options: Options, folder: Path) -> str:
    with _client(folder, options) as client:
        return training_small.report(training_small.measure(client, folder, options.small_rounds))


def _compile(options: Options, folder: Path) -> str:
    # Every job in a process of its own: what the second one saves comes from the disk.
    with _client(folder, options, {"TWOFOLD_JOBS_PER_CHILD": "1"}) as client:
        return training_small.compile_report(client, folder, options.rows)


PARTS: Mapping[str, Callable[[Options, Path], str]] = {
    "speed": _speed,
    "small": _small,
    "compile": _compile,
}


@contextmanager
def _client(
    folder: Path, options: Options, environment: Mapping[str, str] | None = None
) -> Generator[Client]:
    """Of a cluster of its own, whose cache of compiled code begins empty."""
    home = folder / "home"
    home.mkdir()
    settings = {
        "TWOFOLD_NICE": "0",
        "TWOFOLD_THREADS": str(options.threads),
        "HOME": str(home),
        **(environment or {}),
    }
    with (
        running(folder / "cluster", settings) as cluster,
        Client(train=cluster.train, infer=cluster.infer) as client,
    ):
        yield client


def _machine() -> str:
    able = [name for name, has in torch.cpu.get_capabilities().items() if has is True]
    bf16 = [name for name in able if "bf16" in name]
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, bf16 by {', '.join(bf16) or 'conversion'}, "
        f"Python {platform.python_version()}, torch {torch.__version__}; {others_at_work()}"
    )


def _options() -> Options:
    parser = argparse.ArgumentParser("python -m bench.training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=3, help="of ours and the loops, per round")
    parser.add_argument("--threads", type=int, default=0, help="0: as the service decides")
    parser.add_argument("--small-rounds", type=int, default=20)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    parser.add_argument("--against", default=",".join(OTHERS), help="other ways, by comma")
    parser.add_argument("--output", type=Path, help=f"instead of {_OUTPUT.relative_to(ROOT)}")
    asked = parser.parse_args()
    return Options(
        rounds=asked.rounds,
        rows=asked.rows,
        epochs=asked.epochs,
        threads=asked.threads,
        small_rounds=asked.small_rounds,
        parts=chosen("--only", asked.only, PARTS),
        others=chosen("--against", asked.against, OTHERS),
        output=asked.output,
    )


def chosen(option: str, text: str, known: Mapping[str, object]) -> tuple[str, ...]:
    """The names of a list by comma, in the order of `known`; raises SystemExit for others."""
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            raise SystemExit(f"{option}: there is no {name!r}; there are {', '.join(known)}")
    return tuple(name for name in known if name in names)


def main() -> None:
    """Measures, prints, and keeps the tables of a whole run."""
    options = _options()
    if not PEERS_PYTHON.exists():
        raise SystemExit("no environment for the other ways: run `make bench-training`")
    text = f"# How fast jobs train\n\n{_machine()}. Made by `make bench-training`.\n"
    print(text)
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="twofold-training-") as temporary:
            table = PARTS[part](options, Path(temporary))
        print(table)
        text += "\n" + table
    is_whole = options.parts == tuple(PARTS) and options.others == tuple(OTHERS)
    if output := options.output or (_OUTPUT if is_whole else None):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

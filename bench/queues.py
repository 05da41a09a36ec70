"""Queues under the same kills: `python -m bench.queues [--jobs 200] [--only rq,arq]`.

A toy job of 2 s whose effect is a line in a file; 8 workers of which one is killed (SIGKILL) every
3 s on average; a Redis, the same for all and durable with every write, that is killed at random
and comes back. One seed gives one schedule for all queues. Prints a table in Markdown.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.killing.run import Outcome, run
from bench.killing.schedule import make_plan
from bench.killing.systems import SYSTEMS, System

_JOB_S = 2.0
_SLOT_COUNT = 8
_COLUMNS = (
    *("queue", "acknowledged", "lost", "begun again", "effect again", "result doubled"),
    *("kills at work", "running again p50", "max", "all done"),
)


def row(name: str, outcome: Outcome) -> list[str]:
    """A line of the table."""
    found = outcome.figures
    told = f" ({found.lost_but_told} reported)" if found.lost else ""
    recovery = found.recovery()
    times = [f"{value:.1f} s" for value in recovery] if recovery else ["-", "-"]
    never = found.hits - len(found.recoveries_s)
    return [
        name,
        str(found.acked),
        f"{found.lost}{told}",
        str(found.begun_again),
        str(found.ended_again),
        str(found.doubled),
        f"{found.hits}" + (f", {never} never again" if never else ""),
        *times,
        "never" if outcome.all_done_s is None else f"{outcome.all_done_s:.0f} s",
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def choose(text: str) -> list[System]:
    """The queues that `--only` names; raises SystemExit."""
    names = text.split(",") if text else list(SYSTEMS)
    unknown = [name for name in names if name not in SYSTEMS]
    if unknown:
        raise SystemExit(f"no queue is called {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    missing = [name for name in names if not SYSTEMS[name].python.exists()]
    if missing:
        raise SystemExit(f"no environment for {', '.join(missing)}: run `make bench-queues`")
    return [SYSTEMS[name] for name in names]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench.queues", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="names of queues, by commas")
    parser.add_argument("--keep", type=Path, help="a folder for logs and effects; else removed")
    return parser.parse_args()


def main() -> None:
    """Runs each queue, prints as it goes."""
    options = _options()
    systems = choose(options.only)
    plan = make_plan(options.seed, options.jobs, _SLOT_COUNT, _JOB_S)
    sys.stderr.write(f"{len(plan.faults)} faults until {plan.faults[-1].at_s:.0f} s\n")
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="twofold-queues-") as temporary:
        folder: Path = options.keep or Path(temporary)
        for system in systems:
            begun_s = time.monotonic()
            outcome = run(system, plan, folder / system.name, _JOB_S)
            rows.append(row(system.name, outcome))
            took = {"queue": system.name, "took_s": round(time.monotonic() - begun_s)}
            sys.stderr.write(json.dumps({**took, **asdict(outcome)}) + "\n")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{options.jobs} jobs, {_SLOT_COUNT} workers, seed {options.seed}\n\n{table(rows)}\n")
    for system in systems:
        print(f"- {system.versions()}: {system.settings}.")


if __name__ == "__main__":
    main()

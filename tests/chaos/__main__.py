"""Runs seeds of a tier: python -m tests.chaos --tier S --seeds 1000; --replay SEED tells one.

Ends with 1 where a promise was broken; each violation comes with the command that replays it.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.runs import Result
from tests.chaos.seeds import MODULES, load, results, run_one

_PROGRESS_S = 5.0
#: So many violations are told in full.
_TOLD = 3


@dataclass(slots=True)
class Tally:
    """What the runs so far have shown."""

    tier: str
    begun_s: float = field(default_factory=time.monotonic)
    seeds: int = 0
    violations: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])

    def add(self, result: Result) -> None:
        """One more result, told where it is bad."""
        self.seeds += 1
        self.counts.update(result.counts)
        self.violations += len(result.violations)
        for found in result.violations:
            _say(f"seed {result.seed}: {found.invariant}: {found.text}; {_replay(self, result)}")
        if result.violations and self.violations <= _TOLD:
            _say(result.story)

    def rate(self) -> float:
        """Runs per second, all processes together."""
        return self.seeds / max(1e-9, time.monotonic() - self.begun_s)

    def table(self) -> str:
        """The summary."""
        counts = " ".join(f"{name}={count}" for name, count in sorted(self.counts.items()))
        head = f"{'tier':6}{'seeds':>10}{'violations':>12}{'runs/s':>10}  counts"
        row = f"{self.tier:6}{self.seeds:>10}{self.violations:>12}{self.rate():>10.1f}  {counts}"
        return f"{head}\n{row}"


def _replay(tally: Tally, result: Result) -> str:
    return f"python -m tests.chaos --tier {tally.tier} --replay {result.seed}"


def run(name: str, seeds: Sequence[int], width: int) -> Tally:
    """Runs all seeds, with a progress line now and then."""
    tally = Tally(name)
    told_s = tally.begun_s
    for result in results(name, seeds, width):
        tally.add(result)
        if time.monotonic() - told_s > _PROGRESS_S:
            told_s = time.monotonic()
            _say(f"{tally.seeds} of {len(seeds)} seeds, {tally.rate():.1f} runs/s")
    return tally


def replay(name: str, seed: int) -> int:
    """Tells one seed's story."""
    if name == "S":
        # Only this tier can tell a run in which nothing went wrong.
        os.environ["TWOFOLD_CHAOS_TELL"] = "1"
    result = run_one(name, seed)
    _say(result.story)
    for found in result.violations:
        _say(f"{found.invariant}: {found.text}")
    _say(f"seed {seed}: {len(result.violations)} violations, {result.duration_s:.3f} s")
    return 1 if result.violations else 0


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--tier", choices=sorted(MODULES), default="S")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=0, help="runs side by side; 0: the tier's own")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell the story of one seed")
    asked = parser.parse_args(arguments)
    if asked.replay is not None:
        return replay(asked.tier, asked.replay)
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    tally = run(asked.tier, seeds, asked.width or load(asked.tier).width)
    _say(tally.table())
    return 1 if tally.violations else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line prints


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

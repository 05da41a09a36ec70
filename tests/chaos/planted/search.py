"""Looks for the planted bug from within the copy that has it; started by `finding`.

`python -m tests.chaos.planted.search FINDER FIRST_SEED SEEDS WITHIN_S`; the last line it prints is
what it found, as JSON.
"""

import importlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence

from tests.chaos.runs import Result, Tier


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 where it was found."""
    finder, first_seed, seeds, within_s = arguments
    tier: Tier = importlib.import_module(finder).TIER
    begun_s, count = time.monotonic(), 0
    for result in _results(tier, int(first_seed), int(seeds)):
        count += 1
        took_s = time.monotonic() - begun_s
        if result.violations or took_s > float(within_s):
            break
    else:
        return _say(Result(int(first_seed)), count)
    return _say(result, count)


def _results(tier: Tier, first_seed: int, seeds: int) -> Iterator[Result]:
    """Runs seed after seed; `seeds` 0: without end."""
    numbers = itertools.count(first_seed) if not seeds else range(first_seed, first_seed + seeds)
    for seed in numbers:
        yield tier.run(seed)


def _say(result: Result, count: int) -> int:
    told = {
        "seed": result.seed,
        "count": count,
        "violations": [f"{one.invariant}: {one.text}" for one in result.violations],
    }
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if result.violations else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

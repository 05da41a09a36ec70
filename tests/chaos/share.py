"""The fixed share of every test run: `python -m tests.chaos.share`.

The same seeds every time, so that a red run means a change and not a new schedule; new ones come
with the long run.
"""

import sys

from tests.chaos.__main__ import Tally, run
from tests.chaos.ledger import SHARE
from tests.chaos.seeds import load


def main() -> int:
    """The exit code: 1 where a promise was broken."""
    tallies: list[Tally] = []
    for tier, seeds in SHARE.items():
        tally = run(tier, range(seeds), load(tier).width)
        sys.stdout.write(tally.table() + "\n")
        tallies.append(tally)
    return 1 if any(tally.violations for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())

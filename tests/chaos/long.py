"""The long run: `make long`, or `python -m tests.chaos.long` with a share of it.

New seeds of every tier, the failure table's tests at their full size, then every planted bug
searched afresh; one table, and new rows in docs/reliability-ledger.md. Ends with 1 where a promise
was broken or a bug was not found.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos import ledger
from tests.chaos.__main__ import run
from tests.chaos.ledger import PLANTED, Row
from tests.chaos.planted import catalogue, finding
from tests.chaos.planted.catalogue import Bug
from tests.chaos.planted.finding import SearchBroke
from tests.chaos.planted.tree import DoesNotApply
from tests.chaos.scale import FULL_VARIABLE
from tests.chaos.seeds import load

_ROOT = Path(__file__).parents[2]
LEDGER = _ROOT / "docs" / "reliability-ledger.md"
#: Seeds of each tier: 45 minutes on two cores with the planted bugs.
FULL = {"S": 100_000, "R": 1_000, "P": 60}
_PLANTED_S = 60.0
_MINUTE_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    options = _parse(arguments)
    rows = ledger.parse(LEDGER.read_text(encoding="utf-8"))
    commit = _commit()
    new = [
        _run_tier(tier, getattr(options, tier.lower()), ledger.next_seed(rows, tier), commit)
        for tier in FULL
        if getattr(options, tier.lower())
    ]
    if not options.no_rows:
        new.append(_run_rows(commit))
    if not options.no_planted:
        new.append(_find_planted(ledger.next_seed([*rows, *new], "S"), commit))
    if not options.dry_run:
        text = LEDGER.read_text(encoding="utf-8")
        LEDGER.write_text(ledger.extended(text, new), encoding="utf-8")
    sys.stdout.write("\n".join(map(str, new)) + "\n")
    return 1 if any(row.violations for row in new) else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.chaos.long", description=__doc__)
    for tier, seeds in FULL.items():
        parser.add_argument(f"--{tier.lower()}", type=int, default=seeds, metavar="SEEDS")
    parser.add_argument("--no-rows", action="store_true", help="no table of failures")
    parser.add_argument("--no-planted", action="store_true", help="search for no planted bug")
    parser.add_argument("--dry-run", action="store_true", help="leave the ledger as it is")
    return parser.parse_args(arguments)


def _run_tier(tier: str, seeds: int, first_seed: int, commit: str) -> Row:
    begun_s = time.monotonic()
    tally = run(tier, range(first_seed, first_seed + seeds), load(tier).width)
    sys.stdout.write(tally.table() + "\n")
    minutes = (time.monotonic() - begun_s) / _MINUTE_S
    return Row(_today(), commit, tier, tally.seeds, first_seed, tally.violations, minutes)


def _run_rows(commit: str) -> Row:
    """The table of failures at its full size; its tests count as seeds."""
    begun_s = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-n", "2", "--dist", "loadfile"]
    done = subprocess.run(  # noqa: S603 - our own arguments
        [*command, str(_ROOT / "tests" / "chaos" / "rows")],
        cwd=_ROOT,
        env=os.environ | {FULL_VARIABLE: "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    passed, failed = (_count(word, done.stdout) for word in ("passed", "failed"))
    minutes = (time.monotonic() - begun_s) / _MINUTE_S
    # Where not even a count came out, something is as broken as it can be.
    broken = max(failed, int(done.returncode != 0))
    return Row(_today(), commit, ledger.ROWS, passed + failed, 0, broken, minutes)


def _count(word: str, text: str) -> int:
    found = re.search(rf"(\d+) {word}", text.rpartition("\n=")[2] or text)
    return int(found[1]) if found else 0


def _find_planted(first_seed: int, commit: str) -> Row:
    """A bug that is not found counts as a violation: the harness promises to find it."""
    begun_s = time.monotonic()
    found = [_is_found(bug, first_seed) for bug in catalogue.findable()]
    minutes = (time.monotonic() - begun_s) / _MINUTE_S
    text = f"{sum(found)} of {len(found)}"
    return Row(_today(), commit, PLANTED, len(found), 0, found.count(False), minutes, text)


def _is_found(bug: Bug, first_seed: int) -> bool:
    try:
        found = finding.search(bug, first_seed, _PLANTED_S)
    except (DoesNotApply, SearchBroke) as error:
        sys.stdout.write(f"{error}\n")
        return False
    what = found.violations[0] if found.is_found else "NOT FOUND"
    sys.stdout.write(f"{bug.slug:28}{found.duration_s:6.1f} s {found.count:7} runs  {what}\n")
    sys.stdout.flush()
    return found.is_found


def _commit() -> str:
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["git", *arguments],  # noqa: S607 - as every checkout has it
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


if __name__ == "__main__":
    sys.exit(main())

"""Finding a planted bug: plant it in a copy, run seeds there until one shows it."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from tests.chaos.planted import tree
from tests.chaos.planted.catalogue import Bug

#: On top of the time to search: copying, importing, the end of the last seed.
_MARGIN_S = 60.0
#: So many seeds from the recorded one on show every bug, whatever they mean.
_SEEDS = 500
_REPLAY_S = 30.0


class SearchBroke(Exception):
    """The search itself broke, or did not end; the text has its output."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a search came to."""

    bug: Bug
    #: The seed that shows the bug, or the last one tried.
    seed: int
    #: How many seeds were run.
    count: int
    violations: tuple[str, ...]
    duration_s: float = 0.0

    @property
    def is_found(self) -> bool:
        """Whether the harness noticed."""
        return bool(self.violations)


def search(bug: Bug, first_seed: int, within_s: float, seeds: int = 0) -> Finding:
    """Runs seeds from `first_seed` on (`seeds` of them; 0: as many as fit) against the bug.

    A seed that shows it must show nothing in the same code without the bug.

    Raises:
        DoesNotApply: the patch must be made anew.
        SearchBroke: the search itself broke, did not end, or found something else.
    """
    begun_s = time.monotonic()
    with tree.planted(bug) as folder:
        found = _run(bug, folder, first_seed, within_s, seeds)
        duration_s = time.monotonic() - begun_s
        if found.violations:
            tree.uproot(bug, folder)
            without = _run(bug, folder, found.seed, within_s, 1)
            if without.violations:
                raise SearchBroke(f"seed {found.seed} shows {without.violations} without the bug")
    return replace(found, duration_s=duration_s)


def _run(bug: Bug, folder: Path, first_seed: int, within_s: float, seeds: int) -> Finding:
    arguments = [bug.finder, str(first_seed), str(seeds), str(within_s)]
    output = _output(tree.start(folder, ["tests.chaos.planted.search", *arguments]), within_s)
    try:
        told = cast("dict[str, object]", json.loads(output.strip().splitlines()[-1]))
        seed, count = cast("int", told["seed"]), cast("int", told["count"])
        violations = cast("list[str]", told["violations"])
    except (ValueError, KeyError, IndexError) as error:
        raise SearchBroke(f"the search for {bug.slug} broke:\n{output}") from error
    return Finding(bug, seed, count, tuple(violations))


def replay(bug: Bug) -> Finding:
    """Runs the recorded seed against the bug.

    A change of product or harness may let seeds mean other schedules; then some more are tried.
    """
    return search(bug, bug.seed, _REPLAY_S, seeds=_SEEDS)


def _output(process: subprocess.Popen[str], within_s: float) -> str:
    """What it printed; it and all that it started are gone afterwards."""
    with process:
        try:
            output, _ = process.communicate(timeout=within_s + _MARGIN_S)
        except subprocess.TimeoutExpired:
            output = ""
        finally:
            _end(process.pid)
    return output


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing of it is left

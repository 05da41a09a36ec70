"""`python -m tests.chaos.planted`: find planted bugs, and record the seeds that show them."""

import argparse
import re
import sys
from collections.abc import Sequence

from tests.chaos.planted import catalogue, finding
from tests.chaos.planted.catalogue import Bug
from tests.chaos.planted.finding import SearchBroke
from tests.chaos.planted.tree import DoesNotApply

_CATALOGUE = catalogue.FOLDER / "catalogue.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where every bug that was looked for was found."""
    options = _parse(arguments)
    bugs = [bug for bug in catalogue.findable() if options.find in {bug.slug, "all"}]
    if not bugs:
        sys.stderr.write(f"no planted bug is called {options.find!r}\n")
        return 2
    found = [_find(bug, options) for bug in bugs]
    sys.stdout.write(f"{sum(found)} of {len(found)} planted bugs found\n")
    return 0 if all(found) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.chaos.planted", description=__doc__)
    parser.add_argument("--find", metavar="SLUG", default="all", help="a bug; all by default")
    parser.add_argument("--within", type=float, default=60.0, help="seconds for each bug")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="write seeds to catalogue.toml")
    return parser.parse_args(arguments)


def _find(bug: Bug, options: argparse.Namespace) -> bool:
    try:
        found = finding.search(bug, options.first_seed, options.within)
    except (DoesNotApply, SearchBroke) as error:
        sys.stderr.write(f"{error}\n")
        return False
    what = found.violations[0] if found.is_found else "NOT FOUND"
    sys.stdout.write(
        f"{bug.slug:24} {bug.finder:22} seed {found.seed:<8} {found.count:6} runs "
        f"{found.duration_s:6.1f} s  {what}\n"
    )
    sys.stdout.flush()
    if found.is_found and options.record:
        _record(bug, found.seed)
    return found.is_found


def _record(bug: Bug, seed: int) -> None:
    text = _CATALOGUE.read_text(encoding="utf-8")
    entry = re.compile(rf'(slug = "{bug.slug}"\n(?:(?!\[\[).*\n)*?seed = )\d+')
    _CATALOGUE.write_text(entry.sub(rf"\g<1>{seed}", text), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""docs/reliability-ledger.md: a row for each tier of each long run, and their sums. Pure.

Seeds are never run twice for the ledger: a run begins where the last one of its tier ended.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What the share of every test run has used; the ledger's seeds begin after it.
SHARE = {"S": 20_000, "R": 100, "P": 10}
PLANTED = "planted"
ROWS = "rows"
_HEAD = "| Date | Commit | Tier | Seeds | First seed | Violations | Found | Minutes |"
_RULE = "| --- | --- | --- | ---: | ---: | ---: | --- | ---: |"
_SUMS_HEAD = "| Tier | Seeds | Violations |"
_ROW = re.compile(
    r"\| (?P<date>[0-9-]{10}) \| (?P<commit>[0-9a-f+]+) \| (?P<tier>\w+) \| (?P<seeds>\d+) "
    r"\| (?P<first>\d+) \| (?P<violations>\d+) \| (?P<found>[\w ]*) \| (?P<minutes>[0-9.]+) \|"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One tier of one long run; or the rows at their full size; or the search for planted bugs."""

    date: str
    #: Abbreviated; "+" at its end where the tree had changes.
    commit: str
    tier: str
    seeds: int
    first_seed: int
    violations: int
    minutes: float
    #: Of the planted bugs: "18 of 18".
    found: str = ""

    def __str__(self) -> str:
        return (
            f"| {self.date} | {self.commit} | {self.tier} | {self.seeds} | {self.first_seed} "
            f"| {self.violations} | {self.found} | {self.minutes:.1f} |"
        )


def parse(text: str) -> list[Row]:
    """The rows of a ledger."""
    return [
        Row(
            found["date"],
            found["commit"],
            found["tier"],
            int(found["seeds"]),
            int(found["first"]),
            int(found["violations"]),
            float(found["minutes"]),
            found["found"],
        )
        for found in map(_ROW.fullmatch, text.splitlines())
        if found is not None
    ]


def next_seed(rows: Iterable[Row], tier: str) -> int:
    """The first seed that neither the share nor the ledger has used."""
    ends = [row.first_seed + row.seeds for row in rows if row.tier == tier]
    return max([SHARE.get(tier, 0), *ends])


def extended(text: str, new: Sequence[Row]) -> str:
    """The ledger with more rows and new sums; what stands before the first table is kept."""
    rows = [*parse(text), *new]
    preface = text.partition(_HEAD)[0].partition(_SUMS_HEAD)[0].rstrip()
    tiers = [tier for tier in (*SHARE, ROWS, PLANTED) if any(row.tier == tier for row in rows)]
    sums = [_sum(tier, [row for row in rows if row.tier == tier]) for tier in tiers]
    lines = [preface, "", _SUMS_HEAD, "| --- | ---: | ---: |", *sums, ""]
    return "\n".join([*lines, _HEAD, _RULE, *map(str, rows)]) + "\n"


def _sum(tier: str, rows: Sequence[Row]) -> str:
    seeds, violations = sum(row.seeds for row in rows), sum(row.violations for row in rows)
    return f"| {tier} | {seeds:,} | {violations} |"

"""What the long run writes down, and that the promises' table names tests that are there."""

import re
from pathlib import Path

import pytest

from tests.chaos import ledger
from tests.chaos.ledger import PLANTED, Row

_ROOT = Path(__file__).parents[2]
_DOC = _ROOT / "docs" / "reliability.md"
#: Every row of the failure table that has a part to fail yet.
SLUGS = (
    *("K-EPOCH", "K-GAP", "ZOMBIE", "TWO-CLAIM", "HANG", "POISON", "GPU-OOM", "NAN", "CANCEL"),
    *("TERM-TRAIN", "R-RESTART", "R-KILL", "R-WIPE", "R-FAILOVER", "R-OOM", "R-DISK", "R-SLOW"),
    *("N-PART", "N-HALF", "CLK-JUMP", "S-DOWN", "S-FULL", "S-HALF", "S-CORRUPT", "S-TRUNC"),
    *("S-RACE", "I-RELOAD", "I-BAD", "I-KILL", "I-TERM", "C-GONE", "U-CUT", "U-BAD"),
)
_LINE = re.compile(r"\| (?P<slug>[A-Z][A-Z-]+) \|.*\| `(?P<file>[\w/]+\.py)` \|")
PREFACE = "# Ledger\n\nWords.\n"


def row(tier: str, seeds: int, first_seed: int, violations: int = 0, found: str = "") -> Row:
    return Row("2026-01-02", "abc1234", tier, seeds, first_seed, violations, 1.5, found)


def test_a_ledger_keeps_its_rows_and_adds_them_up() -> None:
    first = ledger.extended(PREFACE, [row("S", 1_000, 20_000), row("P", 60, 10, violations=1)])
    text = ledger.extended(first, [row("S", 500, 21_000), row(PLANTED, 18, 0, found="18 of 18")])

    assert text.startswith(PREFACE)
    assert [(found.tier, found.seeds) for found in ledger.parse(text)] == [
        *(("S", 1_000), ("P", 60), ("S", 500)),
        (PLANTED, 18),
    ]
    assert "| S | 1,500 | 0 |" in text
    assert "| P | 60 | 1 |" in text
    assert ledger.parse(text)[-1].found == "18 of 18"
    assert text.count("| Tier | Seeds | Violations |") == 1


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ledger.SHARE["S"]),
        ([row("S", 10, 50_000), row("S", 10, 30_000), row("R", 10, 90_000)], 50_010),
    ],
)
def test_a_run_takes_seeds_that_were_never_run(rows: list[Row], expected: int) -> None:
    assert ledger.next_seed(rows, "S") == expected


def test_the_ledger_of_this_checkout_can_be_read_and_extended() -> None:
    text = (_ROOT / "docs" / "reliability-ledger.md").read_text(encoding="utf-8")
    rows = ledger.parse(text)

    assert len(rows) == len(re.findall(r"^\| 20\d\d-", text, re.MULTILINE))
    assert not rows or ledger.extended(text, []) == text


def test_every_failure_of_the_table_names_a_file_with_its_test() -> None:
    lines = [found for found in map(_LINE.match, _DOC.read_text("utf-8").splitlines()) if found]
    named = {found["slug"]: found["file"] for found in lines}

    assert sorted(named) == sorted(SLUGS)
    assert [slug for slug, file in named.items() if not has_test(slug, file)] == []


def has_test(slug: str, file: str) -> bool:
    name = re.escape(slug.lower().replace("-", "_"))
    text = (_ROOT / "tests" / "chaos" / file).read_text(encoding="utf-8")
    return re.search(rf"^(async )?def test_(\w+_and_)?{name}_", text, re.MULTILINE) is not None

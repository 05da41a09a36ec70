"""The harness itself is tested: every planted bug is found, by its recorded seed or soon after."""

from pathlib import Path

import pytest

from tests.chaos.planted import catalogue, finding, tree
from tests.chaos.planted.catalogue import Bug

BUGS = catalogue.findable()
NAMES = [bug.slug for bug in BUGS]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
def test_a_seed_from_the_recorded_one_on_shows_the_bug_and_nothing_without_it(bug: Bug) -> None:
    found = finding.replay(bug)

    again = f"python -m tests.chaos.planted --find {bug.slug} --record"
    assert found.is_found, f"if its seed is out of date: {again}"


def test_a_bug_has_a_patch_or_says_what_is_missing() -> None:
    bugs = catalogue.read()

    assert len({bug.slug for bug in bugs}) == len(bugs) == 20
    assert [bug.slug for bug in bugs if bool(bug.finder) == bool(bug.missing)] == []
    patches = {path.stem for path in catalogue.FOLDER.glob("*.patch")}
    assert patches == {bug.slug for bug in BUGS}


def test_what_the_code_itself_shows_is_not_taken_for_the_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (bug,) = [bug for bug in BUGS if bug.slug == "error-text-passed-through"]
    monkeypatch.setattr(tree, "uproot", _leave)

    with pytest.raises(finding.SearchBroke, match="without the bug"):
        finding.replay(bug)


def _leave(*_: object) -> None:
    """Takes nothing out."""


def test_a_patch_that_does_not_apply_is_no_bug_that_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = BUGS[0].patch.read_text(encoding="utf-8").replace("\n ", "\n x")
    (tmp_path / f"{BUGS[0].slug}.patch").write_text(text, encoding="utf-8")
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)

    with pytest.raises(tree.DoesNotApply, match=BUGS[0].slug):
        finding.replay(BUGS[0])

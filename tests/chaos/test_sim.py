"""Tier S as a whole: it settles, repeats itself, and looks where it should."""

import gc
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import sim
from tests.chaos.__main__ import main
from tests.chaos.sim.scenario import Scenario
from twofold import faults
from twofold.lifecycle import Ledger

ROOT = Path(__file__).parents[2]
_STORY = """
import hashlib
from tests.chaos.sim.scenario import Scenario
found = hashlib.sha256()
for seed in (3, 42, 57, 99, 3):
    found.update(Scenario(seed, is_told=True).run().story.encode())
print(found.hexdigest())
"""


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_random_schedules_break_no_promise(first: int) -> None:
    results = [sim.run(seed) for seed in range(first, first + 100)]

    broken = [(result.seed, found) for result in results for found in result.violations]
    assert broken == []


def test_every_kind_of_fault_is_met() -> None:
    counts: Counter[str] = Counter()
    for seed in range(150):
        counts.update(Scenario(seed).run().counts)

    kinds = "kills stops crashs losts terms cuts clocks disks restarts wipes failovers pauses fulls"
    assert [kind for kind in kinds.split() if not counts[kind]] == []
    assert counts["jobs"] > 150


def test_a_seed_gives_the_same_story_in_every_process() -> None:
    command = [sys.executable, "-c", _STORY]
    stories = {
        subprocess.run(  # noqa: S603 - our own interpreter
            command, cwd=ROOT, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(stories) == 1


def test_a_run_leaves_no_trap_behind() -> None:
    Scenario(1).run()

    assert faults._armed == {}


def test_runs_leave_no_object_behind() -> None:
    """100,000 runs go one after the other."""

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    for seed in range(10):  # fill caches
        Scenario(seed).run()
    before = objects()
    for seed in range(10, 30):
        Scenario(seed).run()

    assert objects() - before < 200


def test_the_command_line_tells_what_was_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def nobody_reaps(_: Ledger) -> int:
        return 0

    monkeypatch.setattr(Ledger, "reap", nobody_reaps)
    code = main(["--tier", "S", "--seeds", "100", "--width", "1"])

    told = capsys.readouterr().out
    assert code == 1
    assert "python -m tests.chaos --tier S --replay" in told
    assert "J1" in told
    assert "fault what=" in told


def test_the_command_line_is_content_with_a_sound_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "5", "--first-seed", "8", "--width", "1"]) == 0
    assert "runs/s" in capsys.readouterr().out


def test_a_replay_tells_the_story_of_any_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TWOFOLD_CHAOS_TELL", "1")  # so that it is unset again

    assert main(["--replay", "3"]) == 0
    assert "settled" in capsys.readouterr().out

"""Choices outlive a process, and nothing that stands in the cache can do harm."""

import json
import os
from pathlib import Path

import pytest

from inferer.forms import remembered
from inferer.forms.choice import Choice
from inferer.forms.remembered import Choices, machine_of

CHOICE = Choice((("arrays", 16), ("fused", 64)), "1 rows: eager 9 us")


def only_file(root: Path) -> Path:
    (found,) = (root / "forms").iterdir()
    return found


def test_another_process_finds_what_was_measured(tmp_path: Path) -> None:
    Choices.below(tmp_path, "this machine").keep("graph", CHOICE)

    found = Choices.below(tmp_path, "this machine")

    assert found.find("graph") == CHOICE
    assert found.find("another graph") is None
    assert Choices.below(tmp_path, "another machine").find("graph") is None
    assert oct((tmp_path / "forms").stat().st_mode & 0o777) == "0o700"


def test_without_a_folder_nothing_is_remembered() -> None:
    choices = Choices.below(None, "machine")
    choices.keep("graph", CHOICE)

    assert choices.find("graph") is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"graph": "another"},
        {"ranges": []},
        {"ranges": [["arrays"]]},
        {"ranges": [["arrays", "16"]]},
        {"ranges": [["arrays", 0]]},
        {"ranges": [[1, 16]]},
        {"ranges": "arrays"},
        {"reason": 3},
    ],
)
def test_another_content_is_ignored(tmp_path: Path, change: dict[str, object]) -> None:
    choices = Choices.below(tmp_path, "machine")
    choices.keep("graph", CHOICE)
    path = only_file(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    assert choices.find("graph") is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000])
def test_junk_is_ignored(tmp_path: Path, data: bytes) -> None:
    choices = Choices.below(tmp_path, "machine")
    choices.keep("graph", CHOICE)
    only_file(tmp_path).write_bytes(data)

    assert choices.find("graph") is None
    choices.keep("graph", CHOICE)
    assert choices.find("graph") == CHOICE


def test_a_folder_that_others_may_write_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "forms").mkdir()
    (tmp_path / "forms").chmod(0o777)

    choices = Choices.below(tmp_path, "machine")
    choices.keep("graph", CHOICE)

    assert choices.find("graph") is None
    assert list((tmp_path / "forms").iterdir()) == []
    assert "choices of forms are not kept" in caplog.text


def test_a_full_disk_loses_a_choice_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choices = Choices.below(tmp_path, "machine")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    choices.keep("graph", CHOICE)

    assert list((tmp_path / "forms").iterdir()) == []
    assert "a choice of forms is not kept" in caplog.text


def test_the_oldest_choices_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST", 2)
    choices = Choices.below(tmp_path, "machine")
    for place in range(3):
        choices.keep(f"graph {place}", CHOICE)
        for path in (tmp_path / "forms").iterdir():
            earlier_s = path.stat().st_mtime - 10
            os.utime(path, (earlier_s, earlier_s))

    assert [choices.find(f"graph {place}") is not None for place in range(3)] == [False, True, True]


def test_a_machine_is_its_cpu_and_its_libraries() -> None:
    assert machine_of("torch 2") == machine_of("torch 2")
    assert machine_of("torch 2") != machine_of("torch 3")

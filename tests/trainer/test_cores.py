"""What the kernel says of cores."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainer import cores

#: Two threads of one process that compute on one core, without the interpreter's lock.
RIVALS = """
import hashlib, os, threading
from trainer import cores
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
before = cores.waited_s()
rivals = [threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"", b"", 300_000))
          for _ in range(2)]
[rival.start() for rival in rivals]
while any(rival.is_alive() for rival in rivals):
    waited = cores.waited_s()
print(waited - before)
"""


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def affinity(_pid: int) -> set[int]:
        return {0, 1, 2, 3}

    monkeypatch.setattr("os.sched_getaffinity", affinity)
    for name in ("_QUOTA", "_QUOTA_1", "_PERIOD_1"):
        monkeypatch.setattr(cores, name, tmp_path / name)


def test_without_a_quota_all_cores_of_the_affinity_are_usable() -> None:
    assert cores.usable_count() == 4


@pytest.mark.parametrize(
    ("quota", "count"),
    [
        ("max 100000", 4),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("900000 100000", 4),
        ("odd", 4),
        ("100000 0", 4),
    ],
)
def test_a_containers_quota_counts(tmp_path: Path, quota: str, count: int) -> None:
    (tmp_path / "_QUOTA").write_text(quota + "\n")

    assert cores.usable_count() == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 4), ("300000", 3), ("50000", 1)])
def test_so_does_that_of_the_first_version(tmp_path: Path, quota: str, count: int) -> None:
    (tmp_path / "_QUOTA_1").write_text(quota + "\n")
    (tmp_path / "_PERIOD_1").write_text("100000\n")

    assert cores.usable_count() == count


def test_threads_that_wait_for_a_core_are_seen() -> None:
    found = subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, "-c", RIVALS], capture_output=True, check=True
    )

    assert float(found.stdout) > 0.02


@pytest.mark.parametrize("content", ["", "1", "a b c"])
def test_a_kernel_that_does_not_count_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "tasks" / "1").mkdir(parents=True)
    (tmp_path / "tasks" / "1" / "schedstat").write_text(content)
    monkeypatch.setattr(cores, "_TASKS", tmp_path / "tasks")
    assert cores.waited_s() is None

    monkeypatch.setattr(cores, "_TASKS", tmp_path / "gone")
    assert cores.waited_s() is None


def test_a_thread_that_ends_meanwhile_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, content in enumerate(["5 2000000000 1\n", "5 500000000 1\n"]):
        (tmp_path / "tasks" / str(number)).mkdir(parents=True)
        (tmp_path / "tasks" / str(number) / "schedstat").write_text(content)
    (tmp_path / "tasks" / "ended").mkdir()
    monkeypatch.setattr(cores, "_TASKS", tmp_path / "tasks")

    assert cores.waited_s() == pytest.approx(2.5)

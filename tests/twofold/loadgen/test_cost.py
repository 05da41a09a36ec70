"""Processor time of this process and of a server with its children."""

import os
from pathlib import Path

import pytest

from twofold.errors import NotFound
from twofold.loadgen import cost


def process(proc: Path, number: int, parent: int, ticks: tuple[int, int, int, int]) -> None:
    """A process as the kernel tells of it; its name is as bad as names may be."""
    folder = proc / str(number)
    folder.mkdir(exist_ok=True)
    times = " ".join(map(str, ticks))
    before = "0 0 0 0 0 0 0 0 0"
    (folder / "stat").write_text(f"{number} (a) 7 (b) S {parent} {before} {times} 20 0 1 0\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text("")
    process(tmp_path, 10, 1, (100, 20, 3, 4))
    process(tmp_path, 11, 10, (1000, 0, 0, 0))
    process(tmp_path, 12, 11, (10_000, 0, 0, 0))
    process(tmp_path, 13, 1, (500_000, 0, 0, 0))
    return tmp_path


def test_family_is_a_process_with_all_below_it(proc: Path) -> None:
    assert sorted(cost.family(10, proc)) == [10, 11, 12]
    assert cost.family(13, proc) == [13]


def test_no_such_process_is_told(proc: Path) -> None:
    with pytest.raises(NotFound, match="there is no process 99 on this machine"):
        cost.family(99, proc)


def test_time_is_of_all_children_and_of_those_that_have_ended(proc: Path) -> None:
    tick_s = 1 / os.sysconf("SC_CLK_TCK")

    assert cost.cpu_s([10, 11, 12], proc) == pytest.approx(11_127 * tick_s)

    process(proc, 11, 10, (1000, 0, 10_000, 0))
    (proc / "12" / "stat").unlink()
    assert cost.cpu_s([10, 11, 12], proc) == pytest.approx(11_127 * tick_s)


def test_server_that_has_ended_has_no_time(proc: Path) -> None:
    (proc / "10" / "stat").unlink()

    assert cost.cpu_s([10, 11], proc) is None


def test_meter_reads_this_process_and_another() -> None:
    read = cost.meter(os.getpid())
    before = read()
    while (used := read().since(before)).own_s < 0.05:
        sum(range(10_000))

    assert used.wall_s >= 0.04
    assert used.server_s is not None
    # Clock ticks are coarse.
    assert used.server_s == pytest.approx(used.own_s, abs=0.04)
    assert cost.meter(None)().since(before).server_s is None

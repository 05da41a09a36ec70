"""The workers of the comparison: nobody else's process is killed."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.killing import fleet
from bench.killing.fleet import Fleet
from tests.waiting import until


def _ends_at_once(_: int) -> Sequence[str]:
    return ["true"]


def _environment(_: int) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin"}


async def test_a_worker_that_has_ended_is_not_killed_by_its_old_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    def note(pid: int) -> frozenset[int]:
        killed.append(pid)
        return frozenset()

    monkeypatch.setattr(fleet, "family", note)
    with Fleet(_ends_at_once, _environment, tmp_path / "workers", 1) as workers:

        async def is_reaped() -> bool:
            workers.tend()
            return workers.exits == 1

        await until(is_reaped)

    assert killed == []


def test_a_process_and_its_parent_are_read_from_proc() -> None:
    assert fleet.is_alive(1)
    assert not fleet.is_alive(1 << 30)
    assert fleet.family(1 << 30) == {1 << 30}

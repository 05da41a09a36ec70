import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.cluster.folder import locked
from twofold.config import UnusableSettings


async def test_the_folder_is_private_and_named(tmp_path: Path) -> None:
    async with locked(tmp_path / "a" / "cluster") as place:
        assert stat.S_IMODE(place.path.stat().st_mode) == 0o700
        assert place.store == tmp_path / "a" / "cluster" / "store"
        place.make()
        for folder in (place.valkey, place.temporary):
            assert folder.parent == place.path
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_second_cluster_is_refused_with_folder_and_pid(tmp_path: Path) -> None:
    async with locked(tmp_path):
        with pytest.raises(UnusableSettings) as caught:
            async with locked(tmp_path):
                pass

    assert str(tmp_path) in str(caught.value)
    assert f"pid {os.getpid()} " in str(caught.value)


async def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        async with locked(tmp_path) as place:
            assert place.path == tmp_path


def start(script: str, *inherited: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this test's own command
        [sys.executable, "-c", script], stdin=subprocess.PIPE, pass_fds=inherited
    )


async def test_the_parts_of_a_killed_cluster_are_waited_for(tmp_path: Path) -> None:
    """The lock is held by what inherited it; the pid in it belongs to nobody any more."""
    async with locked(tmp_path) as place:
        heir = start("input()", place.lock)
    try:
        gone = start("pass")
        gone.communicate()
        (tmp_path / "lock").write_text(f"{gone.pid}\n", encoding="ascii")
        with pytest.raises(UnusableSettings, match=f"pid {gone.pid} "):
            async with locked(tmp_path, patience_s=0.1):
                pass
    finally:
        heir.communicate(b"\n")

    async with locked(tmp_path, patience_s=5):
        assert (tmp_path / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UnusableSettings, match="Not a directory"):
        async with locked(tmp_path / "file" / "cluster"):
            pass

"""What the store promises against crashes: the order of writes, syncs and names."""

import os
from pathlib import Path

import pytest

from twofold import faults
from twofold.store import LocalStore


class Crash(Exception):
    """Armed at fault points."""


def crash() -> None:
    raise Crash


class Calls:
    """Records fsync, link and mkdir in order, with the path that a descriptor stands for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        fsync, link, mkdir = os.fsync, os.link, os.mkdir

        def seen_fsync(descriptor: int) -> None:
            self.seen.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
            fsync(descriptor)

        def seen_link(
            src: str,
            dst: str,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
            follow_symlinks: bool = True,
        ) -> None:
            self.seen.append(("link", dst))
            link(
                src,
                dst,
                src_dir_fd=src_dir_fd,
                dst_dir_fd=dst_dir_fd,
                follow_symlinks=follow_symlinks,
            )

        def seen_mkdir(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            mkdir(path, mode, dir_fd=dir_fd)
            self.seen.append(("mkdir", Path(path).name))

        monkeypatch.setattr(os, "fsync", seen_fsync)
        monkeypatch.setattr(os, "link", seen_link)
        monkeypatch.setattr(os, "mkdir", seen_mkdir)


def test_file_is_synced_before_its_name_and_every_new_folder_before_the_next(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("t/x", b"")
    calls = Calls(monkeypatch)

    store.create("t/jobs/1/outcome", b"data")

    temporary = calls.seen[0][1]
    assert calls.seen == [
        ("fsync", temporary),
        ("mkdir", "jobs"),
        ("fsync", "t"),
        ("mkdir", "1"),
        ("fsync", "jobs"),
        ("link", "outcome"),
        ("fsync", "1"),
    ]


def test_memory_of_durable_folders_is_bounded(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twofold.store._SETTLED_LIMIT", 3)

    for number in range(9):
        assert store.create(f"t/jobs/{number}/spec.pb", b"")

    assert len(store._settled) <= 5


def test_what_is_removed_is_synced_when_made_again_and_the_rest_is_not(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("t/jobs/1/checkpoints/a", b"")
    store.create("t/models/m", b"")
    store.remove("t/jobs/1")
    calls = Calls(monkeypatch)

    store.create("t/models/n", b"")
    store.create("t/jobs/1/checkpoints/a", b"")

    synced = [name for what, name in calls.seen if what == "fsync"]
    assert synced[1] == "models"  # after the file itself, nothing on the way
    assert synced[3:] == ["jobs", "1", "checkpoints"]


def test_folder_made_by_another_is_synced_before_it_is_trusted(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made it may not have synced it yet."""
    (tmp_path / "store" / "t" / "jobs").mkdir(parents=True)
    calls = Calls(monkeypatch)

    store.create("t/jobs/a", b"")

    assert ("fsync", "store") in calls.seen
    assert ("fsync", "t") in calls.seen


def test_loser_of_an_exclusive_create_syncs_the_winners_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("t/a", b"")
    calls = Calls(monkeypatch)

    store.create("t/a", b"")

    assert calls.seen[-1] == ("fsync", "t")


def test_a_root_that_does_not_exist_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)

    LocalStore(tmp_path / "new" / "store").create("a", b"")

    assert calls.seen[:4] == [
        ("mkdir", "new"),
        ("fsync", tmp_path.name),
        ("mkdir", "store"),
        ("fsync", "new"),
    ]


@pytest.mark.parametrize(
    ("point", "is_there"),
    [
        ("store.create.written", False),
        ("store.create.synced", False),
        ("store.create.linked", True),
        ("store.create.named", True),
    ],
)
def test_crash_within_create_leaves_all_or_nothing(
    store: LocalStore, point: str, *, is_there: bool
) -> None:
    faults.arm(point, crash)

    with pytest.raises(Crash):
        store.create("t/a", b"data")

    assert store.read("t/a") == (b"data" if is_there else None)


def test_name_that_is_acted_on_is_synced_first(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("t/a", b"data")
    calls = Calls(monkeypatch)

    assert store.read_durable("t/a") == b"data"
    assert store.read_durable("t/none") is None
    assert calls.seen == [("fsync", "t")]


def test_sync_folder_syncs_it(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.make_folder("t/jobs")
    calls = Calls(monkeypatch)

    store.sync_folder("t/jobs")

    assert calls.seen == [("fsync", "jobs")]


def test_adopted_file_is_synced_before_its_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = store.temporary()
    temporary.write_bytes(b"data")
    calls = Calls(monkeypatch)

    store.adopt(temporary, "t/a")

    assert calls.seen[0] == ("fsync", temporary.name)
    assert calls.seen[-2:] == [("link", "a"), ("fsync", "t")]

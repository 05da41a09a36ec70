"""The store: durable in the right order, exclusive, and blind to links."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twofold.errors import Corrupt, Unavailable
from twofold.store import LocalStore, StoreError, split_key


def test_a_created_file_can_be_read_and_its_key_is_taken(store: LocalStore) -> None:
    assert store.create("t/jobs/a", b"one")

    assert not store.create("t/jobs/a", b"two")
    assert store.read("t/jobs/a") == b"one"
    assert store.exists("t/jobs/a")


def test_nothing_is_left_in_the_temporary_folder(store: LocalStore, tmp_path: Path) -> None:
    store.create("t/a", b"")
    store.create("t/a", b"")

    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_of_many_creators_one_wins(store: LocalStore) -> None:
    def create(number: int) -> bool:
        return store.create("t/a", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(32)))

    assert won.count(True) == 1
    assert store.read("t/a") == str(won.index(True)).encode()


def test_link_gives_a_second_name_once(store: LocalStore) -> None:
    store.create("t/a", b"one")
    store.create("t/b", b"two")

    assert store.link("t/a", "t/deep/c")
    assert not store.link("t/b", "t/deep/c")
    assert store.read("t/deep/c") == b"one"


def test_link_of_nothing_is_an_error(store: LocalStore) -> None:
    store.create("t/a", b"")

    with pytest.raises(StoreError):
        store.link("t/none", "t/b")


def test_adopt_consumes_the_file(store: LocalStore) -> None:
    temporary = store.temporary()
    temporary.write_bytes(b"data")

    assert store.adopt(temporary, "t/a")

    assert not temporary.exists()
    assert store.read("t/a") == b"data"


def test_adopt_where_the_key_is_taken_consumes_the_file_too(store: LocalStore) -> None:
    store.create("t/a", b"one")
    temporary = store.temporary()
    temporary.write_bytes(b"two")

    assert not store.adopt(temporary, "t/a")
    assert not temporary.exists()
    assert store.read("t/a") == b"one"


def test_adopt_refuses_a_link(store: LocalStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    temporary = store.temporary()
    temporary.symlink_to(secret)

    with pytest.raises(StoreError):
        store.adopt(temporary, "t/a")
    assert not store.exists("t/a")


def test_adopt_refuses_a_fifo(store: LocalStore) -> None:
    temporary = store.temporary()
    os.mkfifo(temporary)

    with pytest.raises(StoreError):
        store.adopt(temporary, "t/a")


def test_adopt_refuses_a_file_from_elsewhere(store: LocalStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "data"
    elsewhere.write_bytes(b"data")

    with pytest.raises(StoreError):
        store.adopt(elsewhere, "t/a")
    assert elsewhere.exists()


def test_links_are_never_followed(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    folder = store.make_folder("t/jobs")
    (folder / "file").symlink_to(outside / "file")
    (folder / "folder").symlink_to(outside)

    assert store.read("t/jobs/file") is None
    assert not store.exists("t/jobs/file")
    assert store.read("t/jobs/folder/file") is None
    assert not store.exists("t/jobs/folder/file")
    assert store.digest("t/jobs/folder/file") is None
    assert store.names("t/jobs/folder") == []
    with pytest.raises(StoreError):
        store.create("t/jobs/folder/new", b"")
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_remove_of_a_folder_keeps_what_links_in_it_point_to(
    store: LocalStore, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"keep")
    (store.make_folder("t/jobs/1") / "link").symlink_to(outside)

    store.remove("t/jobs/1")

    assert not store.exists("t/jobs/1")
    assert (outside / "file").exists()


def test_fifo_reads_as_absent_and_does_not_block(store: LocalStore) -> None:
    os.mkfifo(store.make_folder("t") / "pipe")

    assert store.read("t/pipe") is None


def test_folder_reads_as_absent(store: LocalStore) -> None:
    store.make_folder("t/a")

    assert store.read("t/a") is None
    assert store.exists("t/a")


def test_read_refuses_more_than_its_limit(store: LocalStore) -> None:
    store.create("t/a", b"12345")

    assert store.read("t/a", 5) == b"12345"
    with pytest.raises(Corrupt):
        store.read("t/a", 4)


def test_digest_gives_size_and_sha256(store: LocalStore) -> None:
    store.create("t/a", b"abc")

    assert store.digest("t/a") == (
        3,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    )
    assert store.digest("t/b") is None


def test_names_are_sorted_and_empty_without_a_folder(store: LocalStore) -> None:
    store.create("t/b", b"")
    store.create("t/a", b"")

    assert store.names("t") == ["a", "b"]
    assert store.names("t/none") == []
    assert store.names("t/a") == []


def test_remove_is_idempotent_and_the_key_can_be_made_again(store: LocalStore) -> None:
    store.create("t/jobs/1/spec.pb", b"old")

    store.remove("t/jobs/1")
    store.remove("t/jobs/1")
    store.remove("t/none/none")

    assert store.create("t/jobs/1/spec.pb", b"new")
    assert store.read("t/jobs/1/spec.pb") == b"new"


def test_folder_that_another_removed_is_made_again(store: LocalStore, tmp_path: Path) -> None:
    store.create("t/jobs/1/a", b"")

    LocalStore(tmp_path / "store").remove("t/jobs")

    assert store.create("t/jobs/1/a", b"new")


def test_read_only_store_reads_and_refuses_to_write(store: LocalStore, tmp_path: Path) -> None:
    store.create("t/a", b"one")
    reader = LocalStore(tmp_path / "store", read_only=True)

    assert reader.read("t/a") == b"one"
    assert "read_only" in repr(reader)
    for write in (
        lambda: reader.create("t/b", b""),
        lambda: reader.link("t/a", "t/b"),
        lambda: reader.remove("t/a"),
        reader.temporary,
        lambda: reader.make_folder("t/b"),
    ):
        with pytest.raises(StoreError, match="read-only"):
            write()


def test_read_only_store_without_a_root_is_empty(tmp_path: Path) -> None:
    reader = LocalStore(tmp_path / "none", read_only=True)

    assert reader.names("t") == []
    assert reader.read("t/a") is None
    assert not reader.exists("t/a")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "a//b", "../a", "a/../b", "a/..", ".hidden", "a\0b", "a b", "a\n"]
)
def test_what_is_no_key_is_refused(store: LocalStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.create(key, b"")
    with pytest.raises(ValueError, match="not a key"):
        split_key(key)


@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "full"), (errno.EIO, "cannot be used")]
)
def test_failing_disk_is_a_store_error_that_names_no_path(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, text: str
) -> None:
    store.make_folder("t")

    def fail(_: int) -> None:
        raise OSError(number, "disk", "/secret/path")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(StoreError, match=text) as caught:
        store.create("t/a", b"")

    assert isinstance(caught.value, Unavailable)
    assert "secret" not in str(caught.value)
    assert not store.exists("t/a")


def test_unreadable_folder_is_an_error_not_absence(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inferer must not take a failing disk for a store without models."""
    store.create("t/a", b"")
    real = os.open

    def fail(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            raise OSError(errno.EIO, "disk")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fail)

    for act in (store.names, store.read, store.exists, store.digest, store.sync_folder):
        with pytest.raises(StoreError):
            act("t/a")
    with pytest.raises(StoreError):
        store.remove("t/a")


def test_remove_that_is_not_permitted_is_an_error(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("t/a", b"")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "unlink", refuse)

    with pytest.raises(StoreError):
        store.remove("t/a")
    assert store.exists("t/a")


def test_folder_removed_by_two_at_once_is_gone_for_both(store: LocalStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        for number in range(20):
            for name in "abcdefgh":
                store.create(f"t/{number}/{name}", b"")
            list(pool.map(store.remove, [f"t/{number}"] * 4))

            assert not store.exists(f"t/{number}")


def test_temporary_file_that_stays_does_not_undo_what_was_done(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(os, "unlink", fail)

    assert store.create("t/a", b"one")
    assert store.read("t/a") == b"one"
    assert "could not be removed" in caplog.text


def test_a_root_that_is_replaced_is_not_taken_for_the_store(tmp_path: Path) -> None:
    """As where its file system is unmounted: what is beneath is another folder."""
    store = LocalStore(tmp_path / "store")
    store.create("t/before", b"1")
    (tmp_path / "store").rename(tmp_path / "real")
    (tmp_path / "store").mkdir()

    assert store.read("t/before") == b"1"
    assert store.create("t/after", b"2")

    assert list((tmp_path / "store").iterdir()) == []
    assert (tmp_path / "real" / "t" / "after").read_bytes() == b"2"


def test_a_root_that_is_removed_is_not_made_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.create("t/before", b"1")
    shutil.rmtree(tmp_path / "store")

    with pytest.raises(StoreError):
        store.create("t/after", b"2")

    assert not (tmp_path / "store").exists()

"""The simulated disk: the same answers as the machine's, and forgetful where it may be."""

import errno
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chaos.sim.disk import Dead, SimDisk, SimHandle
from twofold.disk import Disk, OsDisk, Parts

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
Act = Callable[[Disk], object]


def machine_of(seed: int) -> SimDisk:
    return SimDisk(random.Random(seed))  # noqa: S311 - a schedule, not a secret


def no_step(_: str) -> None:
    """Nobody else acts."""


def write(disk: Disk, parts: Parts, *, sync: bool = False) -> None:
    """Makes a file that says where it was made."""
    with disk.new_file(parts) as file:
        file.write("/".join(parts).encode())
        if sync:
            file.sync()


def pieces(disk: Disk, parts: Parts) -> bytes:
    return b"".join(disk.pieces(parts))


def names(disk: Disk, parts: Parts) -> list[str]:
    return sorted(disk.names(parts))


def acts() -> st.SearchStrategy[Act]:
    """One operation, on paths that others touch too."""

    def bound(act: Callable[..., object], *arguments: object) -> Act:
        return lambda disk: act(disk, *arguments)

    def method(name: str, *arguments: object) -> Act:
        return lambda disk: getattr(disk, name)(*arguments)

    return st.one_of(
        PATHS.map(partial(bound, write)),
        PATHS.map(partial(method, "make_folder")),
        st.tuples(PATHS, PATHS).map(lambda pair: method("link", *pair)),
        PATHS.map(partial(method, "remove")),
        PATHS.map(partial(method, "sync_folder")),
        PATHS.map(lambda path: method("read", path, 2)),
        PATHS.map(lambda path: method("read_range", path, 1, 2)),
        PATHS.map(partial(bound, pieces)),
        PATHS.map(partial(bound, names)),
        PATHS.map(partial(method, "kind")),
    )


def answer(act: Act, disk: Disk) -> object:
    """What the operation returns, or the errno it raises."""
    try:
        return act(disk)
    except OSError as error:
        return error.errno


@settings(max_examples=150)
@given(st.lists(acts(), max_size=30))
def test_both_disks_answer_alike(tried: list[Act]) -> None:
    simulated = machine_of(0).handle(no_step)
    with tempfile.TemporaryDirectory() as folder:
        real = OsDisk(Path(folder))

        assert [answer(act, simulated) for act in tried] == [answer(act, real) for act in tried]


@pytest.fixture
def machine() -> SimDisk:
    return machine_of(1)


@pytest.fixture
def disk(machine: SimDisk) -> SimHandle:
    return machine.handle(no_step)


def test_what_was_synced_survives_every_crash(machine: SimDisk, disk: SimHandle) -> None:
    disk.make_folder(("a",))
    disk.sync_folder(())
    write(disk, ("a", "b"), sync=True)
    disk.sync_folder(("a",))

    for _ in range(20):
        machine.crash(chance=1)

        assert machine.files() == {"a/b": b"a/b"}


def test_name_is_lost_without_a_sync_of_its_folder(machine: SimDisk, disk: SimHandle) -> None:
    write(disk, ("a",), sync=True)

    machine.crash(chance=1)

    assert machine.files() == {}


def test_folder_is_lost_with_all_in_it_unless_the_one_above_was_synced(
    machine: SimDisk, disk: SimHandle
) -> None:
    disk.make_folder(("a",))
    write(disk, ("a", "b"), sync=True)
    disk.sync_folder(("a",))

    machine.crash(chance=1)

    assert machine.files() == {}


def test_removal_that_was_not_synced_comes_back(machine: SimDisk, disk: SimHandle) -> None:
    disk.make_folder(("a",))
    write(disk, ("a", "b"), sync=True)
    disk.sync_folder(("a",))
    disk.sync_folder(())

    disk.remove(("a",))
    assert machine.files() == {}
    machine.crash(chance=1)

    assert machine.files() == {"a/b": b"a/b"}


def test_bytes_that_were_not_synced_are_lost_cut_or_blank() -> None:
    seen: set[bytes] = set()
    for seed in range(200):
        machine = machine_of(seed)
        disk = machine.handle(no_step)
        write(disk, ("ab",))
        disk.sync_folder(())
        machine.crash()
        seen.add(machine.files()["ab"])

    assert seen == {b"ab", b"a", b"", b"\0\0", b"a\0"}


def test_each_name_is_lost_for_itself() -> None:
    seen: set[tuple[str, ...]] = set()
    for seed in range(200):
        machine = machine_of(seed)
        disk = machine.handle(no_step)
        write(disk, ("a",), sync=True)
        write(disk, ("b",), sync=True)
        machine.crash()
        seen.add(tuple(machine.files()))

    assert seen == {(), ("a",), ("b",), ("a", "b")}


def test_crash_is_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> dict[str, bytes]:
        machine = machine_of(seed)
        disk = machine.handle(no_step)
        for name in "abcdefgh":
            write(disk, (name,))
        machine.crash()
        return machine.files()

    assert [run(seed) for seed in range(20)] == [run(seed) for seed in range(20)]


def test_killed_process_has_no_effect_any_more(machine: SimDisk, disk: SimHandle) -> None:
    other = machine.handle(no_step)
    with disk.new_file(("a",)) as file:
        disk.kill()
        with pytest.raises(Dead):
            file.write(b"late")
    for act in (
        partial(disk.remove, ("a",)),
        partial(disk.make_folder, ("b",)),
        partial(disk.link, ("a",), ("b",)),
        partial(disk.read, ("a",), 9),
        partial(disk.kind, ("a",)),
    ):
        with pytest.raises(Dead):
            act()

    assert machine.files() == {"a": b""}
    write(other, ("b",))


def test_a_crash_ends_every_process_of_the_machine(machine: SimDisk, disk: SimHandle) -> None:
    machine.crash()

    with pytest.raises(Dead):
        disk.names(())


def test_process_killed_while_it_waits_does_not_act(machine: SimDisk) -> None:
    handle = machine.handle(lambda _: handle.kill())

    with pytest.raises(Dead):
        handle.make_folder(("a",))

    assert machine.handle(no_step).names(()) == []


def test_failing_write_leaves_a_part(machine: SimDisk) -> None:
    def full(name: str) -> None:
        if name == "disk.write":
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        write(machine.handle(full), ("abcd",))

    assert machine.files() == {"abcd": b"ab"}


def test_names_of_temporary_files_need_no_luck(machine: SimDisk, disk: SimHandle) -> None:
    other = machine.handle(no_step)

    assert len({disk.unused_name(), other.unused_name(), disk.unused_name()}) == 3

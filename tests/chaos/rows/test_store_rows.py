"""S-FULL, S-DOWN, S-RACE: a store that is full, away or slow, and publishers that race."""

import contextlib
import ctypes
import errno
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.rows.whole import whole_versions
from tests.chaos.sim.disk import SimDisk, SimHandle
from tests.twofold.samples import TENANT, export, sample_attempt, trained_manifest
from twofold import keys, manifest, publish
from twofold.disk import Parts
from twofold.seams import SystemClock
from twofold.store import LocalStore, Store, StoreError

ROOT = Path(__file__).parents[3]
OLD, NEW = "01J00000000000000000000001", "01J00000000000000000000002"
ERRNOS = (errno.EIO, errno.ESTALE, errno.ENOSPC)
RACERS, PUBLISHES = 2, 200


# Each step of the protocol fails, under simulation.


@dataclass
class Trouble:
    """Fails the step number `at`, and with `lasts` each one after it, until repaired."""

    at: int
    number: int
    lasts: bool
    steps: int = 0

    def __call__(self, _: str = "") -> None:
        self.steps += 1
        if self.at and (self.steps == self.at or (self.lasts and self.steps > self.at)):
            raise OSError(self.number, os.strerror(self.number))

    @property
    def was_met(self) -> bool:
        return self.steps >= self.at

    def repair(self) -> None:
        self.at = 0


class Unanswered(SimHandle):
    """A network's file system: the link is made, and the answer may be lost."""

    def __init__(self, disk: SimDisk, trouble: Trouble) -> None:
        super().__init__(disk, lambda _: None)
        self._trouble = trouble

    def link(self, source: Parts, target: Parts) -> None:
        super().link(source, target)
        self._trouble()


def quiet(_: str) -> None:
    """Nothing happens at a step."""


def sim_store(handle: SimHandle) -> LocalStore:
    return LocalStore(Path("/simulated"), disk=handle)


def publish_now(store: Store, job: str = NEW) -> int:
    attempt = sample_attempt(job=job)
    outcome = publish.publish(
        store, SystemClock(), attempt, trained_manifest(), may_decide=lambda: True
    )
    return outcome.version


def adopt(store: LocalStore, handle: SimHandle) -> None:
    temporary = store.temporary()
    try:
        with handle.new_file(("tmp", temporary.name)) as file:
            file.write(b"data")
    except OSError as error:
        raise StoreError("an upload could not be written") from error
    store.adopt(temporary, f"{TENANT}/datasets/d/data")


def create(store: LocalStore, _: SimHandle) -> None:
    store.create(f"{TENANT}/jobs/{NEW}/spec.pb", b"data")


def link(store: LocalStore, _: SimHandle) -> None:
    store.link("tmp-source", f"{TENANT}/models/other/1/file")


def publish_new(store: LocalStore, _: SimHandle) -> None:
    publish_now(store)


Act = Callable[[LocalStore, SimHandle], None]
MADE: dict[Act, tuple[str, bytes]] = {
    create: (f"{TENANT}/jobs/{NEW}/spec.pb", b"data"),
    adopt: (f"{TENANT}/datasets/d/data", b"data"),
    link: (f"{TENANT}/models/other/1/file", b"data"),
}


def machine_with_an_old_version() -> SimDisk:
    machine = SimDisk(random.Random(1))  # noqa: S311 - a schedule, not a secret
    store = sim_store(machine.handle(quiet))
    for job in (OLD, NEW):
        export(store, sample_attempt(job=job))
    store.create("tmp-source", b"data")
    publish_now(store, OLD)
    return machine


def troubled_runs(
    act: Act, make: Callable[[SimDisk, Trouble], SimHandle], trouble: Callable[[int], Trouble]
) -> Iterator[tuple[SimDisk, SimHandle, Trouble]]:
    """Machines after `act` met trouble at each of its steps; nothing else may have come of it."""
    for at in range(1, 1000):
        machine, met = machine_with_an_old_version(), trouble(at)
        handle = make(machine, met)
        with contextlib.suppress(StoreError):
            act(sim_store(handle), handle)
        if not met.was_met:
            return
        yield machine, handle, met


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "for_a_while"])
@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
@pytest.mark.parametrize("act", [create, adopt, link, publish_new])
def test_s_down_and_s_full_at_any_step_leave_nothing_half_and_pass(
    act: Act, number: int, *, lasts: bool
) -> None:
    runs = 0
    for machine, handle, met in troubled_runs(
        act,
        lambda disk, trouble: disk.handle(trouble),
        partial(Trouble, number=number, lasts=lasts),
    ):
        runs += 1
        check_repair(act, machine, handle, met)

    assert runs > 5


@pytest.mark.parametrize("act", [create, adopt, link, publish_new])
def test_s_down_answer_lost_after_a_link_is_no_second_effect(act: Act) -> None:
    runs = 0
    for machine, handle, met in troubled_runs(
        act, Unanswered, partial(Trouble, number=errno.EIO, lasts=False)
    ):
        runs += 1
        check_repair(act, machine, handle, met)

    assert runs >= 1


@pytest.mark.parametrize("at", range(5, 40, 5))
def test_s_full_repeats_take_no_more_numbers(at: int) -> None:
    """A worker repeats for hours; each folder that it leaves would make a full store fuller."""
    machine, met = machine_with_an_old_version(), Trouble(0, errno.ENOSPC, lasts=True)
    store = sim_store(machine.handle(met))
    for _ in range(20):
        met.steps, met.at = 0, at
        with contextlib.suppress(StoreError):  # a repeat may come further
            publish_now(store)
    met.repair()

    assert publish_now(store) == 2
    assert store.names(keys.model(TENANT, "digits")) == ["1", "2"]


def check_repair(act: Act, machine: SimDisk, handle: SimHandle, met: Trouble) -> None:
    reader = sim_store(machine.handle(quiet))
    assert whole_versions(reader) in ([1], [1, 2])
    key, data = MADE.get(act, ("", b""))
    assert not key or reader.read(key) in (None, data)
    met.repair()

    act(sim_store(handle), handle)

    machine.crash(chance=1)
    reader = sim_store(machine.handle(quiet))
    visible = whole_versions(reader)
    if key:
        assert reader.read(key) == data
        assert visible == [1]
    else:
        outcome = publish.read_outcome(reader, TENANT, NEW)
        assert outcome is not None
        assert visible == [1, outcome.version]


# A full disk, for real.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 1 MiB; needs the right to mount."""
    folder, libc = tmp_path / "small", ctypes.CDLL(None, use_errno=True)
    folder.mkdir()
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert libc.umount2(bytes(folder), 2) == 0


def publish_big(store: Store, job: str) -> None:
    """Exports and publishes a version whose weights are 100 KiB."""
    attempt, data = sample_attempt(job=job), random.Random(job).randbytes(100 << 10)  # noqa: S311
    trained = trained_manifest()
    del trained.files[:]
    trained.files.add(
        name="weights.safetensors", size_bytes=len(data), sha256=manifest.sha256_hex(data)
    )
    folder = keys.attempt_artifact(TENANT, job, attempt.attempt)
    store.create(f"{folder}/weights.safetensors", data)
    publish.publish(store, SystemClock(), attempt, trained, may_decide=lambda: True)


def publish_until_full(store: Store) -> list[str]:
    """The jobs that were published, and last the one that was not."""
    jobs = [f"01J0000000000000000000{number:04}" for number in range(100)]
    for number, job in enumerate(jobs):
        try:
            publish_big(store, job)
        except StoreError:
            return jobs[: number + 1]
    raise AssertionError("the disk did not fill up")


def test_s_full_tmpfs_keeps_old_versions_and_takes_new_ones_once_there_is_room(
    small_disk: Path,
) -> None:
    store = LocalStore(small_disk / "store")
    filler = small_disk / "store" / "filler"
    *done, failed = publish_until_full(store)
    old = whole_versions(LocalStore(small_disk / "store", read_only=True))
    # To the last byte: also small files fail now.
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while file.write(b"0" * 512):
            file.flush()
    for _ in range(3):
        with pytest.raises(StoreError, match="full"):
            publish_big(store, failed)
        assert whole_versions(store) == old

    filler.unlink()
    for key in (f"{TENANT}/models/digits/1", keys.job(TENANT, done[0])):
        store.remove(key)
    publish_big(store, failed)

    assert len(old) == len(done) > 3
    outcome = publish.read_outcome(store, TENANT, failed)
    assert outcome is not None
    assert whole_versions(store) == [*old[1:], outcome.version]


def test_s_full_limit_of_a_files_size_is_a_full_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    export(store, sample_attempt(job=OLD))
    publish_now(store, OLD)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50 << 10, hard))
    try:
        with pytest.raises(StoreError, match="full"):
            publish_big(store, NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "store" / "tmp").iterdir()) == []

    publish_big(store, NEW)

    assert whole_versions(store) == [1, 2]


# Two publishers, the same next number.


def race(root: Path, racer: str) -> None:
    """Publishes one job after the other; begins when told."""
    store = LocalStore(root)
    print("ready", flush=True)  # noqa: T201 - to the test
    sys.stdin.readline()
    for number in range(PUBLISHES):
        attempt = sample_attempt(job=f"01J00000000000000000{racer}{number:05}")
        export(store, attempt)
        publish.publish(store, SystemClock(), attempt, trained_manifest(), may_decide=lambda: True)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_s_race_publishers_get_distinct_numbers(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "tests.chaos.rows.test_store_rows", str(tmp_path), str(racer)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for racer in range(RACERS)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == b"ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    for racer in racers:  # all run by now: this waits for the end of each
        racer.communicate()
    store = LocalStore(tmp_path)
    jobs = store.names(keys.jobs(TENANT))
    published = [publish.read_outcome(store, TENANT, job) for job in jobs]
    numbers = [outcome.version for outcome in published if outcome]
    # Jobs are named by racer first: these are the one's, then the other's.
    first, second = numbers[:PUBLISHES], numbers[PUBLISHES:]

    assert [racer.returncode for racer in racers] == [0] * RACERS
    assert len(jobs) == RACERS * PUBLISHES
    assert whole_versions(store) == sorted(numbers)
    assert len(set(numbers)) == len(jobs)
    assert min(first) < max(second), "they did not race"
    assert min(second) < max(first), "they did not race"


if __name__ == "__main__":
    race(Path(sys.argv[1]), sys.argv[2])

"""The store over a disk that forgets: what it acknowledged stands, all else is whole or absent."""

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.rows.whole import whole_versions
from tests.chaos.sim.disk import Dead, SimDisk, SimHandle, SimNewFile
from tests.twofold.samples import (
    JOB,
    TENANT,
    export,
    sample_attempt,
    sample_record,
    trained_manifest,
)
from twofold import publish
from twofold.internal.v1 import record_pb2
from twofold.jobs import Job, Policy, State
from twofold.lifecycle import Ledger
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, World
from twofold.store import LocalStore, Store

#: Chances of loss: everything, some, and what the seed decides.
CHANCES = (1.0, 0.5, None)


@dataclass
class Machine:
    """A disk, and processes on it that are killed at a step."""

    disk: SimDisk

    def store(self, kill_at: int = 0) -> LocalStore:
        """A process's store; the machine's power goes at its `kill_at`th step."""
        steps = 0

        def count(_: str) -> None:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                handle.kill()

        handle = self.disk.handle(count)
        return LocalStore(Path("/simulated"), disk=handle)


def machine_of(seed: int) -> Machine:
    return Machine(SimDisk(random.Random(seed)))  # noqa: S311 - a schedule, not a secret


def crashes(act: Callable[[Store], object]) -> list[tuple[Machine, bool]]:
    """Machines after a crash at every step of `act`, and whether it had returned before."""
    found: list[tuple[Machine, bool]] = []
    for seed, chance in enumerate(CHANCES * 3):
        kill_at, is_done = 0, False
        while not is_done:
            kill_at += 1
            machine = machine_of(1000 * seed + kill_at)
            prepare(machine.store())
            try:
                act(machine.store(kill_at))
                is_done = True
            except Dead:
                pass
            machine.disk.crash(chance)
            found.append((machine, is_done))
    return found


def prepare(store: Store) -> None:
    """What stands already, durably."""
    store.create("t/base", b"base")
    export(store, sample_attempt())


def create(store: Store) -> bool:
    return store.create("t/jobs/1/outcome", b"decided")


def link(store: Store) -> bool:
    return store.link("t/base", "t/models/m/base")


@pytest.mark.parametrize(
    ("act", "key", "data"),
    [(create, "t/jobs/1/outcome", b"decided"), (link, "t/models/m/base", b"base")],
)
def test_file_is_whole_or_absent_and_stands_once_acknowledged(
    act: Callable[[Store], bool], key: str, data: bytes
) -> None:
    after = crashes(act)

    assert {machine.store().read(key) for machine, _ in after} == {None, data}
    assert all(machine.store().read(key) == data for machine, is_done in after if is_done)


def test_loser_of_a_race_can_rely_on_the_winners_file() -> None:
    """The winner dies before it syncs its name; the loser was told that the key is taken."""
    for kill_at in range(1, 40):
        machine = machine_of(kill_at)
        machine.store().create("t/base", b"")
        with contextlib.suppress(Dead):
            machine.store(kill_at).create("t/a", b"one")
        loser = machine.store().create("t/a", b"two")
        machine.disk.crash(chance=1)

        assert machine.store().read("t/a") == (b"two" if loser else b"one")


def publish_sample(store: Store) -> record_pb2.JobOutcome:
    return publish.publish(
        store, SystemClock(), sample_attempt(), trained_manifest(), may_decide=lambda: True
    )


def test_crashed_publish_leaves_no_half_version_and_its_repeat_succeeds() -> None:
    for machine, is_done in crashes(publish_sample):
        store = machine.store()
        seen = whole_versions(store)
        outcome = publish.read_outcome(store, TENANT, JOB)
        assert seen == [1] if is_done else seen in ([], [1])
        assert outcome is not None or not seen

        decided = publish_sample(store)

        assert decided.state == State.JOB_STATE_SUCCEEDED
        assert outcome is None or outcome == decided
        assert whole_versions(store) == [decided.version]


def publish_again(store: Store) -> record_pb2.JobOutcome | None:
    return publish_sample(store)


def reap(store: Store) -> record_pb2.JobOutcome | None:
    ledger_over(store)._standing_verdict(TENANT, JOB)
    return publish.read_outcome(store, TENANT, JOB)


def cancel(store: Store) -> record_pb2.JobOutcome | None:
    return ledger_over(store)._cancel_in_store(TENANT, Job(id=JOB, model="digits"), now_ms=1)


def ledger_over(store: Store) -> Ledger:
    return Ledger(store, RedisQueue("unix:///nowhere"), World(), Policy())


@pytest.mark.parametrize("act", [publish_again, reap, cancel])
def test_decision_of_a_killed_publisher_that_another_acts_on_survives_a_crash(
    act: Callable[[Store], record_pb2.JobOutcome | None],
) -> None:
    """The publisher may have died between the name and its sync."""
    for kill_at in range(1, 120):
        machine = machine_of(kill_at)
        prepare(machine.store())
        with contextlib.suppress(Dead):
            publish_sample(machine.store(kill_at))
        decided = act(machine.store())
        machine.disk.crash(chance=1)

        store = machine.store()
        assert publish.read_outcome(store, TENANT, JOB) == decided
        assert whole_versions(store) == ([decided.version] if decided and decided.version else [])


def test_binding_of_a_killed_request_that_its_repeat_acts_on_survives_a_crash() -> None:
    record = sample_record(request_id="0c9f5a52-8b9f-4f3b-9a6e-3f9e4f1f7d11")
    for kill_at in range(1, 30):
        machine = machine_of(kill_at)
        with contextlib.suppress(Dead):
            ledger_over(machine.store(kill_at))._bind(TENANT, record)
        bound = ledger_over(machine.store())._read_binding(TENANT, record)
        machine.disk.crash(chance=1)

        assert ledger_over(machine.store())._read_binding(TENANT, record) == bound


@pytest.mark.parametrize(("owner", "name"), [(SimHandle, "sync_folder"), (SimNewFile, "sync")])
def test_store_that_left_out_a_sync_would_be_found(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    def left_out(*_: object) -> None: ...

    monkeypatch.setattr(owner, name, left_out)

    assert any(
        machine.store().read("t/jobs/1/outcome") != b"decided"
        for machine, is_done in crashes(create)
        if is_done
    )

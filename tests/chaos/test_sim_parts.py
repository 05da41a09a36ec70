"""The parts of the simulation: sites in use, threads that share greenlets, manifests read once."""

import gc
import logging

import pytest

from tests.chaos import seeds
from tests.chaos.runs import Result
from tests.chaos.sim.schedule import Killed, Process, Schedule, Thread, drive
from tests.chaos.sim.site import Node, Site
from tests.chaos.sim.stage import remembered
from tests.chaos.sim.used import make_used
from twofold import manifest
from twofold.errors import Corrupt
from twofold.lifecycle import Reconciled
from twofold.v1 import model_pb2


@pytest.mark.parametrize(("used", "expected"), [(True, None), (False, Reconciled())])
def test_only_a_new_site_is_compared(*, used: bool, expected: Reconciled | None) -> None:
    found: list[Reconciled | None] = []

    def recover(node: Node) -> None:
        node.process.spawn(lambda: found.append(drive(node.ledger.recover())))

    site = Site(1)
    if used:
        make_used(site)
    site.start("worker0", recover)
    site.schedule.run(lambda: False)

    assert found == [expected]


def test_what_one_site_does_is_not_seen_by_the_next() -> None:
    first, second = Site(1), Site(2)
    for site in (first, second):
        make_used(site)
    first.server.execute(["FLUSHALL"])
    first.disk.root.entries.clear()

    assert second.server.data
    assert list(second.disk.files()) == ["identity"]


def test_a_site_in_use_forgets_nothing_in_a_crash() -> None:
    site = Site(1)
    make_used(site)
    before = site.disk.files()
    site.disk.crash(chance=1.0)

    assert site.disk.files() == before


def process_of(schedule: Schedule) -> Process:
    return Process(schedule, "p")


def test_a_thread_that_has_ended_leaves_its_greenlet_to_the_next() -> None:
    schedule = Schedule(1)
    process = process_of(schedule)
    first = process.spawn(lambda: None)
    schedule.run(lambda: False)
    second = process.spawn(lambda: None)
    schedule.wake(first)
    schedule.run(lambda: False)

    assert first.carrier is second.carrier
    assert second.is_done


def test_threads_that_are_left_end_where_they_stand() -> None:
    schedule = Schedule(1)
    process = process_of(schedule)
    ended: list[str] = []

    def wait() -> None:
        try:
            schedule.pause(1_000_000)
        except Killed:
            ended.append("waited")
            raise

    threads = [process.spawn(wait), process.spawn(lambda: schedule.pause(10))]
    schedule.run(lambda: threads[1].is_done)
    late = process.spawn(lambda: ended.append("late"))
    schedule.close()
    # Their greenlets are as good as new.
    process_of(schedule).spawn(lambda: ended.append("next"))
    schedule.run(lambda: False)

    assert ended == ["waited", "next"]
    assert not late.has_begun


def test_a_killed_process_gets_no_further() -> None:
    schedule = Schedule(1)
    process = process_of(schedule)
    steps: list[int] = []

    def walk() -> None:
        for step in range(5):
            process.step("walk", 10)
            steps.append(step)

    def kill(victim: Thread) -> None:
        schedule.pause(25)
        process.kill()
        schedule.join(victim)

    walker = process.spawn(walk)
    process_of(schedule).spawn(lambda: kill(walker))
    schedule.run(lambda: walker.is_done)

    assert walker.is_done
    assert steps == [0, 1]


def test_a_manifest_that_was_read_before_is_the_same_and_nobody_elses() -> None:
    asked: list[bytes] = []

    def decode(data: bytes) -> model_pb2.Manifest:
        asked.append(data)
        return manifest.decode(data)

    made = model_pb2.Manifest(format_version=manifest.FORMAT_VERSION, model="m", version=1)
    data, read = manifest.encode(made), remembered(decode)
    read(data).model = "other"

    assert read(data) == made
    assert asked == [data]
    for _ in range(2):
        with pytest.raises(Corrupt):
            read(b"{}")


def test_many_runs_in_one_process_leave_it_as_it_was() -> None:
    thresholds, was_silent = gc.get_threshold(), logging.root.manager.disable
    found: list[Result] = []
    for result in seeds.results("S", range(2), 1):
        assert logging.root.manager.disable >= logging.CRITICAL
        found.append(result)

    assert [result.seed for result in found] == [0, 1]
    assert gc.isenabled()
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
    assert logging.root.manager.disable == was_silent

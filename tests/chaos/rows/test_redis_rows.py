"""The queue's server restarts, is killed, has no disk, stands still."""

import asyncio
import itertools
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.real.client import Client, Refused
from tests.chaos.real.nursery import Nursery
from tests.chaos.real.site import Site, folder, need_root
from tests.chaos.rows.again import until_kept
from tests.chaos.scale import scaled
from tests.valkey import Valkey

#: Longer than a stall of a worker's process, shorter than the server stands still.
LEASE_S = 5.0
#: New jobs are taken so soon after the server is back.
ACCEPTED_S = 1.0
#: So many times the usual commands are no storm.
STORM = 4.0
ROUNDS = 20
#: Longer than the reply timeout and a lease.
PAUSE_S = scaled(8.0, 20.0)


async def create_all(client: Client, count: int, epochs: int, name: str = "r") -> list[str]:
    return [await client.create(f"{name}{index}", "digits", epochs) for index in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_r_restart_submits_are_refused_meanwhile_and_running_jobs_go_on(site: Site) -> None:
    await site.api("api")
    client = Client("client", site)
    for index in range(8):
        site.worker(f"w{index}", lease_s=30.0)
    jobs = await create_all(client, 50, epochs=8)
    await site.until(lambda: len(site.begun()) >= 8)

    for measured in until_kept(ACCEPTED_S):
        measured.value = await seconds_to_accept(site, client, measured.name)
    await site.settle(60)

    assert {site.outcome(job) for job in site.jobs()} == {"SUCCEEDED"}
    assert len(site.jobs()) > len(jobs)
    assert set(site.begun().values()) == {1}
    assert await site.violations() == []


async def seconds_to_accept(site: Site, client: Client, name: str) -> float:
    """Restarts the server; from its start to a new job."""
    site.note("fault", what="restart", which="redis")
    await asyncio.to_thread(site.valkey.stop)
    with pytest.raises(Refused, match="UNAVAILABLE"):
        await client.call("create", request_id=name, model="digits", epochs="1")
    # Whoever was training has finished that; none of it is lost.
    await site.until(lambda: len(site.facts("train_end")) == len(site.facts("train_begin")))
    await asyncio.to_thread(site.valkey.start)
    back_s = time.monotonic()
    await client.create(name, "digits", 1)
    return time.monotonic() - back_s


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_r_kill_nothing_acknowledged_is_lost_in_a_storm_of_submits(site: Site) -> None:
    await site.api("api")
    is_over = asyncio.Event()
    for name in ("w1", "w2"):
        site.worker(name, epoch_s=0.005)

    async def storm(name: str) -> int:
        client = Client(name, site)
        for index in itertools.count():
            if is_over.is_set():
                return index
            await client.create(f"{name}-{index}", "digits", 1)
        return 0

    storms = [asyncio.create_task(storm(f"client{index}")) for index in range(3)]
    for number in range(ROUNDS):
        accepted = len(site.jobs())
        await site.until(lambda accepted=accepted: len(site.jobs()) > accepted, 20)
        await asyncio.sleep(0.013 * number)  # at another moment of a submit each time
        site.note("fault", what="kill", which="redis")
        await asyncio.to_thread(site.valkey.restart)
    is_over.set()
    counts = await asyncio.gather(*storms)
    await site.settle(60)

    assert len(site.jobs()) == sum(counts) > ROUNDS
    assert {site.outcome(job) for job in site.jobs()} == {"SUCCEEDED"}
    assert await site.violations() == []


@contextmanager
def small_disk() -> Generator[Path]:
    """A folder on a disk of 1 MiB; needs root."""
    with folder() as path:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:  # noqa: S603 - our own words
            need_root("mounting a file system")
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)  # noqa: S603, S607 - as above


def fill(path: Path) -> Path:
    """A file that leaves no room on its disk."""
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_r_disk_a_full_disk_refuses_submits_until_there_is_room_again(
    nursery: Nursery,
) -> None:
    # With appendfsync always the server ends rather than acknowledge what it cannot keep; whoever
    # started it starts it again. Our processes go on all the while.
    with folder() as path, small_disk() as disk:
        async with Site(path, nursery, Valkey(disk)) as site:
            api, worker = await site.api("api"), site.worker("worker")
            client = Client("client", site)
            before = await client.create("before", "digits")
            await client.ended(before)

            site.note("fault", what="disk full", which="redis")
            filler = fill(disk)
            accepted, code = await submit_until_refused(client)
            still = await refusal(client, "still-full")
            filler.unlink()
            await asyncio.to_thread(site.valkey.start)
            after = await client.create("still-full", "digits")
            await site.settle(30)

            assert {code, still} == {"UNAVAILABLE"}
            assert {site.outcome(job) for job in (before, *accepted, after)} == {"SUCCEEDED"}
            assert api.is_running
            assert worker.is_running
            assert await site.violations() == []


async def submit_until_refused(client: Client) -> tuple[list[str], str]:
    """The jobs that still went into the file's last page, and the code of the one that did not."""
    accepted: list[str] = []
    try:
        while True:
            name = f"full-{len(accepted)}"
            answer = await client.call("create", request_id=name, model="digits", epochs="1")
            accepted.append(str(answer["job"]))
    except Refused as refused:
        return accepted, refused.code


async def refusal(client: Client, request_id: str) -> str:
    """The code with which a submit is refused."""
    with pytest.raises(Refused) as refused:
        await client.call("create", request_id=request_id, model="digits", epochs="1")
    return refused.value.code


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_r_slow_a_server_that_stood_still_is_not_stormed_and_nothing_is_trained_twice(
    site: Site,
) -> None:
    await site.api("api")
    client = Client("client", site, deadline_s=PAUSE_S + 5)
    workers = [site.worker(f"w{index}", lease_s=LEASE_S) for index in range(8)]
    await site.listening(workers)
    for measured in until_kept(STORM):
        measured.value = await storm_after_pause(site, client, measured.name)
    await site.settle(60)

    assert set(site.begun().values()) == {1}
    assert {site.outcome(job) for job in site.jobs()} == {"SUCCEEDED"}
    assert await site.violations() == []


async def storm_after_pause(site: Site, client: Client, name: str) -> float:
    """Lets the server stand still while jobs run; its commands afterwards, by those before."""
    jobs = await create_all(client, 4, int(PAUSE_S / 0.05) + 100, name)
    await site.until(lambda: set(jobs) <= site.begun().keys())
    usual = await rate(site)

    site.note("fault", what="pause", which="redis")
    site.valkey.pause()
    begun_s = time.monotonic()
    code = await refusal(client, f"{name}-slow")
    refused_s = time.monotonic() - begun_s
    await asyncio.sleep(max(0.0, begun_s + PAUSE_S - time.monotonic()))
    site.valkey.resume()
    after = await rate(site)
    await client.create(f"{name}-slow", "digits", 1)

    assert code == "UNAVAILABLE"
    assert refused_s < PAUSE_S
    return after / usual


async def rate(site: Site, span_s: float = 2.0) -> float:
    """Commands that the server runs in a second."""
    first, begun_s = processed(site), time.monotonic()
    await asyncio.sleep(span_s)
    return (processed(site) - first) / (time.monotonic() - begun_s)


def processed(site: Site) -> int:
    return int(site.server_info("stats")["total_commands_processed"])

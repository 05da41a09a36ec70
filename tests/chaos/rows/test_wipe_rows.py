"""The queue's server loses its data, falls back to a replica, or has no memory left."""

import asyncio
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.real.client import Client, Refused
from tests.chaos.real.nursery import Nursery
from tests.chaos.real.site import TENANT, Site, folder
from tests.chaos.rows.pair import Pair, caught_up
from tests.twofold.samples import sample_record
from twofold import keys
from twofold.jobs import Policy
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import World

#: Longer than any stall of a worker's process: nothing but the wipe takes a job from its worker.
LEASE_S = 30.0
#: An attempt that takes this many epochs is under way whenever we look.
LONG = 60


def flush(site: Site) -> None:
    site.valkey.command("FLUSHALL")
    site.note("wipe")


@asynccontextmanager
async def ledger_of(site: Site) -> AsyncGenerator[Ledger]:
    async with RedisQueue(site.valkey.url) as queue:
        yield Ledger(site.store, queue, World(), Policy(lease_ms=1_000))


async def create_delayed(site: Site, delay_ms: int) -> str:
    async with ledger_of(site) as ledger:
        record = sample_record("delayed")
        record.not_before_time.FromMilliseconds(World().clock.time_ms() + delay_ms)
        return (await ledger.create(LOCAL, record)).name.removeprefix("jobs/")


async def test_r_wipe_in_any_phase_every_job_ends_once_and_numbers_go_on(site: Site) -> None:
    await site.api("api")
    client = Client("client", site)
    first = site.worker("first", lease_s=LEASE_S)
    ended = await client.create("ended", "digits", epochs=1)
    await client.ended(ended)
    site.signal(first, signal.SIGTERM)
    await site.exit_code(first)
    steps = ("publish.staged", "publish.decided")
    stopped = [site.worker(step, faults=f"{step}=stop", lease_s=LEASE_S) for step in steps]
    publishing = [await client.create(step, "digits", epochs=2) for step in steps]
    await asyncio.gather(*[site.stopped(process) for process in stopped])
    second = site.worker("second", lease_s=LEASE_S)
    running = await client.create("running", "digits", epochs=LONG)
    await site.until(lambda: running in site.begun())
    delayed = await create_delayed(site, 4_000)
    queued = await client.create("queued", "digits", epochs=1)

    flush(site)
    for process in stopped:
        site.signal(process, signal.SIGCONT)
    await site.settle(25)

    jobs = [ended, *publishing, running, delayed, queued]
    assert {site.outcome(job) for job in jobs} == {"SUCCEEDED"}
    assert site.begun()[ended] == 1
    assert second.is_running
    assert site.visible("delayed") == [1]
    assert len(site.visible("digits")) == 5
    assert (await client.call("get", job=ended))["version"] == 1
    assert await client.create("ended", "digits", epochs=1) == ended
    assert await site.violations() == []


async def test_r_wipe_a_server_without_its_data_folder_is_filled_again(site: Site) -> None:
    await site.api("api")
    client = Client("client", site)
    jobs = [await client.create(f"r{index}", "digits", epochs=2) for index in range(5)]
    cancelled = await client.create("cancelled", "digits")
    await client.call("cancel", job=cancelled)

    await asyncio.to_thread(site.valkey.kill)
    shutil.rmtree(site.valkey.folder / "appendonlydir")
    site.note("wipe")
    await asyncio.to_thread(site.valkey.start)
    site.worker("worker", lease_s=LEASE_S)
    await site.settle(20)

    assert {site.outcome(job) for job in jobs} == {"SUCCEEDED"}
    assert site.outcome(cancelled) == "CANCELLED"
    assert site.begun() == dict.fromkeys(jobs, 1)
    assert await site.violations() == []


async def test_r_wipe_again_and_again_while_jobs_are_submitted_loses_none(site: Site) -> None:
    await site.api("api")
    clients = [Client(f"c{index}", site) for index in range(3)]
    for name in ("w1", "w2"):
        site.worker(name)

    async def submit(client: Client, name: str) -> list[str]:
        return [await client.create(f"{name}-{n}", "digits", epochs=1) for n in range(10)]

    submitting = [asyncio.create_task(submit(client, f"{n}")) for n, client in enumerate(clients)]
    while not all(task.done() for task in submitting):
        flush(site)
        await asyncio.wait(submitting, timeout=0.2)
    jobs = [job for task in submitting for job in await task]
    await site.settle(25)

    assert len(set(jobs)) == 30
    assert len(site.visible("digits")) == 30
    assert await clients[0].create("1-3", "digits", epochs=1) == jobs[13]
    assert await site.violations() == []


async def test_r_failover_to_a_replica_that_lags_is_a_wipe_of_the_latest_part(
    nursery: Nursery,
) -> None:
    with folder() as path:
        (path / "valkey").mkdir()
        pair = Pair(path / "valkey")
        async with Site(path, nursery, pair) as site:
            await site.api("api")
            client = Client("client", site)
            seen = [await client.create(f"seen-{n}", "digits", epochs=1) for n in range(2)]
            dropped = await client.create("dropped", "digits")
            await caught_up(site, pair)
            pair.cut_link()
            await client.call("cancel", job=dropped)
            worker = site.worker("worker", lease_s=LEASE_S)
            await site.until(lambda: all(site.outcome(job) for job in seen))
            running = await client.create("running", "digits", epochs=LONG)
            unseen = await client.create("unseen", "digits", epochs=1)
            await site.until(lambda: running in site.begun())

            await asyncio.to_thread(pair.switch)
            site.note("wipe")
            with pytest.raises(Refused, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
                await client.call("create", request_id="r", model="digits", epochs="1")
            pair.promote()
            late = await client.create("r", "digits", epochs=1)
            await site.settle(25)

            ended = [*seen, running, unseen, late]
            assert {site.outcome(job) for job in ended} == {"SUCCEEDED"}
            assert site.outcome(dropped) == "CANCELLED"
            assert [site.begun()[job] for job in (*seen, dropped)] == [1, 1, 0]
            assert site.visible("digits") == [*range(1, 6)]
            assert worker.is_running
            assert await site.violations() == []


async def test_r_oom_refuses_new_jobs_only_and_writes_nothing_of_them(site: Site) -> None:
    await site.api("api")
    client = Client("client", site)
    site.worker("worker", lease_s=LEASE_S)
    running = await client.create("running", "digits", epochs=LONG)
    queued = await client.create("queued", "digits", epochs=1)
    await site.until(lambda: running in site.begun())
    await site.until(lambda: bool(site.store.names(keys.job_checkpoints(TENANT, running))))

    site.valkey.command("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(Refused, match="RESOURCE_EXHAUSTED"):
        await client.call("create", request_id="late", model="digits", epochs="1")
    assert len(site.jobs()) == 2
    assert "late" not in site.store.names(keys.requests(TENANT))
    assert not site.outcome(running)
    seen = await client.ended(running)
    await client.ended(queued)
    site.valkey.command("CONFIG", "SET", "maxmemory", 0)
    late = await client.create("late", "digits", epochs=1)
    await site.settle()

    assert (seen["state"], seen["attempt_count"], seen["eviction_count"]) == ("SUCCEEDED", 1, 0)
    assert site.begun() == dict.fromkeys([running, queued, late], 1)
    assert await site.violations(once=True) == []

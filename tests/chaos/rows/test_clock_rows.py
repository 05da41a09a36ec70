"""Workers whose wall clocks are wrong, and jump while they work."""

import asyncio
import signal
import time

import pytest

from tests.chaos.real.client import Client
from tests.chaos.real.roles import HOUR_MS
from tests.chaos.real.site import Site

#: Longer than any stall of a worker's process; an hour's jump is far beyond it.
LEASE_S = 10.0
#: Between two jumps: looks of every worker after lost jobs.
JUMP_S = 1.0


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_clk_jump_no_job_is_stolen_from_a_living_worker_and_waits_are_the_servers(
    site: Site,
) -> None:
    await site.api("api", skew_ms=HOUR_MS)
    client = Client("client", site)
    workers = [
        site.worker(name, lease_s=LEASE_S, retry_backoff_s=2.0, skew_ms=skew_ms)
        for name, skew_ms in (("right", 0), ("ahead", HOUR_MS), ("behind", -HOUR_MS))
    ]
    await site.listening(workers)
    long = [await client.create(f"long-{index}", "digits", epochs=100) for index in range(2)]
    await site.until(lambda: len(site.facts("train_begin")) == len(long))
    failing = await client.create("failing", "fails", epochs=1)

    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2, signal.SIGUSR1):
        begun_s = time.monotonic()
        for process in workers:
            site.note("fault", what="clock", which=process.name)
            site.signal(process, number)
        await asyncio.sleep(max(0.0, begun_s + JUMP_S - time.monotonic()))
    await site.settle(30)

    tries = [event.at_ns / 1e9 for event in site.facts("train_begin", job=failing)]
    assert [len(site.facts("train_begin", job=job)) for job in long] == [1, 1]
    assert {site.outcome(job) for job in long} == {"SUCCEEDED"}
    assert site.outcome(failing) == "FAILED"
    assert len(tries) == 2
    # A random half of two seconds is left out; a clock that is an hour off would say 0 or 3,600.
    assert 1.0 < tries[1] - tries[0] < 10.0
    assert await site.violations(once=True) == []


async def test_clk_jump_jobs_are_begun_in_the_order_of_their_submits(site: Site) -> None:
    apis = [await site.api(f"api{skew}", skew_ms=skew * HOUR_MS) for skew in (1, -1)]
    client = Client("client", site)  # takes turns
    jobs = [await client.create(f"r{index}", "digits", epochs=1) for index in range(6)]
    site.worker("worker", lease_s=30.0, skew_ms=HOUR_MS)
    await site.settle(20)

    begun = [event.fields["job"] for event in site.facts("train_begin")]
    assert len(apis) == 2
    assert begun == jobs
    assert await site.violations(once=True) == []

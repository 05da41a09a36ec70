"""Workers that are killed, stopped, told to end or to cancel, and that race each other."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.chaos.history import Event
from tests.chaos.real.client import Client, Reader, Refused
from tests.chaos.real.nursery import Nursery
from tests.chaos.real.site import TENANT, Process, Site, folder
from tests.chaos.rows.again import until_kept
from twofold import keys

#: The steps from a trained network to a job that has ended, in their order.
STEPS = (
    "worker.trained",
    "publish.claimed",
    "publish.linked",
    "publish.staged",
    "publish.decided",
    "publish.visible",
    "ledger.published",
)
#: From here on the job is decided, whatever becomes of its worker.
DECIDED = STEPS[4:]
LEASE_S = 2.0
#: A job is taken over within its lease and two seconds.
TAKEOVER_LEASE_S = 1.0
#: What is promised as "at once", and of a cancellation.
AT_ONCE_S, CANCEL_S = 1.0, 2.0
#: How a job of this model ends that another attempt takes up.
EXPECTED = {"digits": "SUCCEEDED", "relapses": "FAILED"}
#: The claim, the staged manifest and the outcome are written; three files and the manifest linked.
WRITES, NAMES = range(1, 4), range(1, 8)
KILLS = (
    *(f"{step}=kill" for step in (*STEPS, "worker.concluded")),
    *(f"store.create.{part}=kill@{hit}" for part in ("written", "synced") for hit in WRITES),
    *(f"store.create.{part}=kill@{hit}" for part in ("linked", "named") for hit in NAMES),
)


def job_of(site: Site, worker: str) -> str:
    """The job that a worker began first."""
    begun = [event for event in site.facts("train_begin") if event.actor == worker]
    return str(begun[0].fields["job"])


def has_checkpoint(site: Site, job: str, epoch: int) -> bool:
    """Whether some attempt at a job has come that far."""
    folder = site.path / "store" / keys.job_checkpoints(TENANT, job)
    return any(folder.glob(f"*/{epoch}.toy"))


async def end(site: Site, workers: Sequence[Process]) -> None:
    """Tells them to end; they do, well."""
    for process in workers:
        site.signal(process, signal.SIGTERM)
    for process in workers:
        assert await site.exit_code(process) == 0


def begun_by(site: Site) -> set[str]:
    """Workers that have begun to train something."""
    return {event.actor for event in site.facts("train_begin")}


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_k_gap_a_kill_at_any_step_of_publishing_shows_nothing_and_the_rerun_publishes(
    site: Site,
) -> None:
    await site.api("api")
    client = Client("client", site)
    models = {f"m{index}": kill for index, kill in enumerate(KILLS)}
    # They take no jobs over: the one that dies last must not train what the first one had.
    workers = [site.worker(kill, faults=kill, patrols=False) for kill in KILLS]
    await site.listening(workers)
    jobs = {await client.create(model, model, epochs=1): model for model in models}
    reading = asyncio.create_task(Reader(site, list(models), 0.3).run(lambda: False))

    codes = {process.name: await site.exit_code(process, 60) for process in workers}
    for kill in KILLS:
        site.note("fault", what="kill", which=kill)
    decided = {job for job in jobs if site.outcome(job)}
    unpublished = [job for job in jobs if job not in decided and site.visible(jobs[job])]
    for name in ("w1", "w2", "w3"):
        site.worker(name)
    await site.settle(60)
    reading.cancel()

    assert set(codes.values()) == {-signal.SIGKILL}
    assert unpublished == []
    assert {site.outcome(job) for job in jobs} == {"SUCCEEDED"}
    assert {job for job, count in site.begun().items() if count > 1} == jobs.keys() - decided
    assert await site.violations() == []


async def stop_at(site: Site, steps: Sequence[str], model: str) -> dict[str, str]:
    """One worker stopped at each step, each with a job of `model`; the jobs by step."""
    client = Client("client", site)
    # They take no jobs over: the one that is stopped last must not get what the first one has.
    workers = [
        site.worker(step, faults=f"{step}=stop", lease_s=LEASE_S, patrols=False) for step in steps
    ]
    await site.listening(workers)
    jobs = [await client.create(f"{model}-{step}", model, epochs=2) for step in steps]
    for process in workers:
        await site.stopped(process, 30)
        site.note("fault", what="stop", which=process.name)
    stopped = {step: job_of(site, step) for step in steps}
    assert sorted(stopped.values()) == sorted(jobs)
    return stopped


async def finish_beside_zombies(nursery: Nursery, model: str, *, is_cancelled: bool) -> None:
    """Stops a worker at each step; others end its job meanwhile; then it wakes."""
    with folder() as path:
        async with Site(path, nursery) as site:
            await site.api("api")
            client = Client("client", site)
            jobs = await stop_at(site, STEPS, model)
            if is_cancelled:
                await asyncio.gather(*[client.call("cancel", job=job) for job in jobs.values()])
            others = [site.worker(name, lease_s=LEASE_S) for name in ("w1", "w2")]
            await site.settle(60)
            ends = {step: site.outcome(job) for step, job in jobs.items()}
            await wake_zombies(site, others)

            expected = "CANCELLED" if is_cancelled else EXPECTED[model]
            assert ends == {step: "SUCCEEDED" if step in DECIDED else expected for step in STEPS}
            await put_to_work(site, client, STEPS)
            await site.settle(30)
            assert {step: site.outcome(job) for step, job in jobs.items()} == ends
            assert await site.violations() == []


async def wake_zombies(site: Site, others: Sequence[Process]) -> None:
    """Ends the others and wakes everyone who is stopped."""
    await end(site, others)
    for process in site.running("worker"):
        site.signal(process, signal.SIGCONT)


async def put_to_work(site: Site, client: Client, workers: Sequence[str]) -> None:
    """Gives each worker jobs until it has begun one more than it had."""
    before = Counter(event.actor for event in site.facts("train_begin"))

    def is_at_work(worker: str) -> bool:
        return sum(event.actor == worker for event in site.facts("train_begin")) > before[worker]

    async with asyncio.timeout(30):
        while idle := [worker for worker in workers if not is_at_work(worker)]:
            for worker in idle:
                await client.create(f"{worker}-{time.monotonic_ns()}", "digits", epochs=10)
            await asyncio.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_zombie_is_refused_at_any_step_while_others_end_its_job_and_then_goes_on_working(
    nursery: Nursery,
) -> None:
    await asyncio.gather(
        finish_beside_zombies(nursery, "digits", is_cancelled=False),
        finish_beside_zombies(nursery, "relapses", is_cancelled=False),
        finish_beside_zombies(nursery, "iris", is_cancelled=True),
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_two_claim_eight_workers_train_each_of_a_hundred_jobs_once(site: Site) -> None:
    await site.api("api")
    client = Client("client", site)
    # Long leases: no fault here but a slow machine.
    workers = [
        site.worker(f"w{index}", lease_s=30.0, beat_s=2.0, epoch_s=0.01) for index in range(8)
    ]
    await site.listening(workers)

    jobs = [await client.create(f"r{index}", "digits", epochs=2) for index in range(100)]
    await site.settle(60)

    assert site.begun() == dict.fromkeys(jobs, 1)
    assert len(site.visible("digits")) == 100
    assert begun_by(site) == {process.name for process in workers}
    assert await site.violations(once=True) == []


async def test_term_train_a_worker_told_to_end_hands_its_job_back_at_once_and_uncharged(
    site: Site,
) -> None:
    await site.api("api")
    client = Client("client", site)
    for measured in until_kept(AT_ONCE_S):
        measured.value = await seconds_to_hand_back(site, client, measured.name)
    await site.settle()

    assert await site.violations() == []


async def seconds_to_hand_back(site: Site, client: Client, name: str) -> float:
    """From SIGTERM to a worker at its job until another one has begun with it; ends both."""
    first = site.worker(f"{name}-told", lease_s=30.0)
    job = await client.create(name, "digits", epochs=60)
    await site.until(lambda: site.begun()[job] == 1)
    await site.until(lambda: has_checkpoint(site, job, 2))
    second = site.worker(f"{name}-other", lease_s=30.0)
    await site.listening([second])

    told_ns = time.monotonic_ns()
    site.signal(first, signal.SIGTERM)
    await site.until(lambda: site.begun()[job] == 2)
    begun = site.facts("train_begin", job=job)[1]
    code = await site.exit_code(first)
    seen = await client.ended(job)
    await end(site, [second])

    assert begun.actor == second.name
    assert int(str(begun.fields["resumed_epoch"])) >= 2
    assert code == 0
    assert (seen["state"], seen["attempt_count"], seen["eviction_count"]) == ("SUCCEEDED", 2, 0)
    ends = [event.fields["how"] for event in site.facts("train_end", job=job)]
    assert ends == ["handed_back", "trained"]
    return (begun.at_ns - told_ns) / 1e9


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_cancel_at_each_step_of_publishing_ends_the_job_within_two_seconds_and_twice_alike(
    site: Site,
) -> None:
    await site.api("api")
    jobs = await stop_at(site, STEPS, "digits")
    client = Client("user", site)

    states = {step: await cancel_twice(site, client, step, job) for step, job in jobs.items()}
    await site.settle()

    expected = {step: "SUCCEEDED" if step in DECIDED else "CANCELLED" for step in STEPS}
    assert states == expected
    assert {step: site.outcome(job) for step, job in jobs.items()} == expected
    assert len(site.visible("digits")) == len(DECIDED)
    assert await site.violations() == []


async def cancel_twice(site: Site, client: Client, step: str, job: str) -> str:
    """Cancels a job whose worker is stopped, wakes the worker; how the job ended in 2 s."""
    first = (await client.call("cancel", job=job))["state"]
    assert (await client.call("cancel", job=job))["state"] == first
    site.signal(site.processes[step], signal.SIGCONT)
    seen = await client.ended(job, within_s=2)
    assert (await client.call("cancel", job=job))["state"] == seen["state"]
    return str(seen["state"])


async def test_cancel_of_a_waiting_a_running_and_an_unknown_job(site: Site) -> None:
    await site.api("api")
    client = Client("client", site)
    waiting = await client.create("waiting", "digits")
    assert (await client.call("cancel", job=waiting))["state"] == "CANCELLED"

    site.worker("worker", lease_s=30.0)
    for measured in until_kept(CANCEL_S):
        measured.value = await seconds_to_cancel(site, client, measured.name)

    with pytest.raises(Refused, match="NOT_FOUND"):
        await client.call("cancel", job="01J00000000000000000000000")
    await site.settle()
    assert site.visible("digits") == []
    assert await site.violations() == []


async def seconds_to_cancel(site: Site, client: Client, name: str) -> float:
    """From cancelling a running job to its end."""
    running = await client.create(name, "digits", epochs=1_000)
    await site.until(lambda: running in site.begun())
    begun_s = time.monotonic()
    await client.call("cancel", job=running)
    seen = await client.ended(running)

    assert seen["state"] == "CANCELLED"
    return time.monotonic() - begun_s


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_killed_workers_job_is_taken_over_within_its_lease_and_two_seconds(
    site: Site,
) -> None:
    await site.api("api")
    client = Client("client", site)
    for measured in until_kept(TAKEOVER_LEASE_S + 2.0):
        measured.value = await seconds_to_take_over(site, client, measured.name)

    await site.settle()
    assert await site.violations() == []


async def seconds_to_take_over(site: Site, client: Client, name: str) -> float:
    """Kills three workers at their jobs; the longest time until another one began with one."""
    victims = await start_three(site, f"{name}-victim")
    jobs = [await client.create(f"{name}-{index}", "digits", epochs=100) for index in range(3)]
    await site.until(lambda: all(has_checkpoint(site, job, 1) for job in jobs))
    others = await start_three(site, f"{name}-other")
    # Nobody's job is taken before the server has been up for a lease, and whole seconds count.
    await site.until(lambda: int(site.server_info("server")["uptime_in_seconds"]) > 2)

    killed_ns: dict[str, int] = {}
    for process in victims:
        held = [job for job in jobs if begun_last(site, job).actor == process.name]
        killed_ns |= dict.fromkeys(held, time.monotonic_ns())
        site.signal(process, signal.SIGKILL)
    await site.until(lambda: all(begun_last(site, job).at_ns > killed_ns[job] for job in killed_ns))
    again = {job: begun_last(site, job) for job in killed_ns}
    for job in jobs:
        await client.call("cancel", job=job)
    await end(site, others)

    assert min(int(str(event.fields["resumed_epoch"])) for event in again.values()) > 0
    return max((again[job].at_ns - at_ns) / 1e9 for job, at_ns in killed_ns.items())


async def start_three(site: Site, name: str) -> list[Process]:
    """Workers that wait for jobs."""
    workers = [site.worker(f"{name}{index}", lease_s=TAKEOVER_LEASE_S) for index in range(3)]
    await site.listening(workers)
    return workers


def begun_last(site: Site, job: str) -> Event:
    """The latest training of a job."""
    return site.facts("train_begin", job=job)[-1]

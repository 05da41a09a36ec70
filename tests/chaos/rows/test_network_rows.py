"""Workers that the network cuts off from the queue."""

import asyncio
import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.chaos.real.client import Client
from tests.chaos.real.proxy import Proxy
from tests.chaos.real.site import Site, need_root

LEASE_S = 1.0
_PORT = 6390


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_n_half_a_worker_whose_connections_are_half_open_is_back_within_15_seconds(
    site: Site,
) -> None:
    await site.api("api")
    client = Client("client", site)
    async with Proxy(site.path / "proxy", site.valkey.socket) as proxy:
        # What the server sent into the half-open connection comes back after a lease.
        worker = site.worker("worker", url=proxy.url, lease_s=LEASE_S)
        await site.listening([worker])

        site.note("fault", what="half-open", which=worker.name)
        proxy.freeze()
        begun_s = time.monotonic()
        job = await client.create("r", "digits", 1)
        seen = await client.ended(job)

        assert seen["state"] == "SUCCEEDED"
        assert time.monotonic() - begun_s < 15
        await site.settle()
        assert await site.violations() == []


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_n_half_a_job_of_a_cut_off_worker_is_published_once(site: Site) -> None:
    await site.api("api")
    client = Client("client", site)
    async with Proxy(site.path / "proxy", site.valkey.socket) as proxy:
        cut = site.worker("cut", url=proxy.url, lease_s=LEASE_S)
        job = await client.create("r", "digits", epochs=30)
        await site.until(lambda: len(site.facts("train_begin")) == 1)

        site.note("fault", what="half-open", which=cut.name)
        proxy.is_black = True
        site.worker("other", lease_s=LEASE_S)
        await client.ended(job)
        proxy.heal()
        await until_at_work(site, client, "cut")
        await site.settle()

        assert site.outcome(job) == "SUCCEEDED"
        assert [event.actor for event in site.facts("train_begin", job=job)] == ["cut", "other"]
        assert await site.violations() == []


async def until_at_work(site: Site, client: Client, worker: str) -> None:
    """Gives out jobs until `worker` has begun one more than it had; raises TimeoutError."""

    def count() -> int:
        return sum(event.actor == worker for event in site.facts("train_begin"))

    before = count()
    for number in range(80):
        if count() > before:
            return
        await client.create(f"more-{number}", "digits", epochs=10)
        await asyncio.sleep(0.3)
    raise TimeoutError


@dataclass(frozen=True, slots=True)
class Cable:
    """A network of two: this machine and a namespace."""

    namespace: str
    address: str
    link: str

    def switch(self, *, on: bool) -> None:
        """Pulls the cable, or plugs it in."""
        run("ip", "link", "set", self.link, "up" if on else "down")


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)  # noqa: S603 - our own words


@contextmanager
def cable() -> Generator[Cable]:
    """A namespace at the end of a cable; needs root."""
    number = os.getpid() % 10_000
    name, ours, theirs = f"chaos-{number}", f"chaos{number}a", f"chaos{number}b"
    network = f"10.{200 + number // 2_500}.{number // 10 % 250}"
    try:
        run("ip", "netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        need_root("a network namespace")
    try:
        try:
            run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        except subprocess.CalledProcessError:
            need_root("a cable between network namespaces")
        run("ip", "address", "add", f"{network}.1/30", "dev", ours)
        run("ip", "-n", name, "address", "add", f"{network}.2/30", "dev", theirs)
        run("ip", "-n", name, "link", "set", theirs, "up")
        made = Cable(name, f"{network}.1", ours)
        made.switch(on=True)
        yield made
    finally:
        run("ip", "netns", "delete", name)


def listen(site: Site, address: str) -> str:
    """Lets the queue's server listen on an address too; its URL there."""
    for setting, value in (("protected-mode", "no"), ("bind", address), ("port", _PORT)):
        site.valkey.command("CONFIG", "SET", setting, value)
    return f"redis://{address}:{_PORT}/0"


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_n_part_a_worker_cut_off_for_three_leases_publishes_nothing_and_rejoins(
    site: Site,
) -> None:
    with cable() as network:
        await site.api("api")
        client = Client("client", site)
        url = listen(site, network.address)
        cut = site.worker("cut", url=url, namespace=network.namespace, lease_s=LEASE_S)
        await site.listening([cut])
        job = await client.create("r", "digits", epochs=30)
        await site.until(lambda: len(site.facts("train_begin")) == 1)

        site.note("fault", what="partition", which=cut.name)
        network.switch(on=False)
        down_s = time.monotonic()
        site.worker("other", lease_s=LEASE_S)
        seen = await client.ended(job)
        await asyncio.sleep(max(0.0, down_s + 3 * LEASE_S - time.monotonic()))
        trained_count = len(site.facts("train_end", how="trained"))
        network.switch(on=True)
        await until_at_work(site, client, "cut")
        await site.settle()

        assert (seen["state"], seen["version"]) == ("SUCCEEDED", 1)
        assert trained_count == 2  # both trained it to the end; one has published it
        assert (await client.call("get", job=job))["version"] == 1
        assert [event.actor for event in site.facts("train_begin", job=job)] == ["cut", "other"]
        assert await site.violations() == []

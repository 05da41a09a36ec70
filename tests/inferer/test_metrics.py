"""The metrics page, without its server."""

import asyncio
import math
import re
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from inferer.convert import Inputs
from inferer.lane import Answer
from inferer.metrics import InfererCollector, MetricsPage
from inferer.models import Models, Refused, Served
from inferer.versions import Retention, Stored
from tests.inferer.fakes import FakeClock, FakeProgram, FakeThread, rows, served
from twofold import __version__
from twofold.errors import DeadlineExceeded, Internal, QueueFull
from twofold.versions import VersionState

#: Units that are no base units in Prometheus's conventions.
_UNITS = re.compile(r"_(ms|us|ns|s|kb|mb|millis|milliseconds|microseconds)(_|$)")


class Bench:
    """Models whose versions load at once, and what their page shows."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.thread = FakeThread()
        self.program = FakeProgram()
        self.models = Models(self._load, self.clock, Retention(grace_s=0.0, max_pinned=0))
        self.registry = CollectorRegistry()
        self.registry.register(InfererCollector(self.models))

    async def _load(self, name: str, number: int) -> Served:
        if name == "bad":
            raise Refused("wrong answers", "sha")
        return served(name, number, self.clock, self.program, self.thread)

    async def store(self, *numbers: int, name: str = "m") -> None:
        versions = tuple(VersionState(number, withdrawn=False) for number in numbers)
        self.models.update({name: Stored(versions)})
        for _ in range(30):
            await asyncio.sleep(0)

    async def ask(self, *values: float, patience_s: float = math.inf) -> Answer:
        (loaded,) = self.models
        inputs = Inputs({"x": rows(*values)}, len(values))
        return await loaded.lane.submit(inputs, self.clock.now_s + patience_s)

    def value(self, name: str, model: str = "m", version: str = "1", **more: str) -> float | None:
        labels = {"model": model, "version": version, **more}
        return self.registry.get_sample_value(name, labels)

    def versions(self) -> set[str]:
        """The version labels of the whole page."""
        return {
            sample.labels["version"]
            for family in self.registry.collect()
            for sample in family.samples
            if "model" in sample.labels and "version" in sample.labels
        }


@pytest_asyncio.fixture
async def bench() -> AsyncGenerator[Bench]:
    made = Bench()
    task = asyncio.create_task(made.models.run())
    await made.store(1)
    yield made
    task.cancel()


async def turn() -> None:
    """Lets the loop run what is ready."""
    for _ in range(5):
        await asyncio.sleep(0)


async def cancelled(bench: Bench) -> None:
    """A request whose caller leaves while it waits for the engine's thread."""
    bench.program.seconds = 1.0
    running, leaving = (asyncio.create_task(bench.ask(1.0)) for _ in range(2))
    await turn()
    third = asyncio.create_task(bench.ask(1.0))
    await turn()
    assert bench.value("nv_inference_pending_request_count") == 1
    third.cancel()
    await asyncio.wait([third])
    bench.thread.run_next()
    await asyncio.gather(running, leaving)


async def late(bench: Bench) -> None:
    """Requests that come too late: one at once, one while it waits, one that cannot be in time."""
    with pytest.raises(DeadlineExceeded):
        await bench.ask(1.0, patience_s=0.0)
    waiting = asyncio.create_task(bench.ask(1.0, patience_s=5.0))
    await asyncio.sleep(0)
    bench.clock.now_s += 10.0
    with pytest.raises(DeadlineExceeded):
        await waiting
    bench.program.seconds = 1.0
    running = asyncio.create_task(bench.ask(1.0))
    await turn()
    with pytest.raises(DeadlineExceeded, match="needs at least"):
        await bench.ask(1.0, patience_s=0.5)
    bench.thread.run_next()
    await running


async def full(bench: Bench) -> None:
    """A request for which 16 rows leave no room."""
    waiting = [asyncio.create_task(bench.ask(*[1.0] * 8)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await bench.ask(1.0)
    await asyncio.gather(*waiting)


async def broken(bench: Bench) -> None:
    """A request that the network fails on."""
    with pytest.raises(Internal):
        await bench.ask(-1.0)


@pytest.mark.parametrize(
    ("fail", "reason", "word", "count"),
    [
        (full, "queue_full", "REJECTED", 1),
        (late, "deadline_exceeded", "REJECTED", 3),
        (cancelled, "cancelled", "CANCELED", 1),
        (broken, "internal", "BACKEND", 1),
    ],
)
async def test_failures_are_told_by_reason(
    bench: Bench, fail: Callable[[Bench], Awaitable[None]], reason: str, word: str, count: int
) -> None:
    await fail(bench)

    (loaded,) = bench.models
    assert loaded.lane.statistics.failure.count == count
    for each in ("queue_full", "deadline_exceeded", "cancelled", "internal"):
        told = bench.value("twofold_inferer_failures_total", reason=each)
        assert told == (count if each == reason else 0)
    for each in ("REJECTED", "CANCELED", "BACKEND"):
        told = bench.value("nv_inference_request_failure", reason=each)
        assert told == (count if each == word else 0)


async def test_times_are_histograms_of_what_they_say(bench: Bench) -> None:
    bench.program.seconds = 1.0
    asked = [asyncio.create_task(bench.ask(1.0)), asyncio.create_task(bench.ask(2.0, 3.0))]
    await turn()
    bench.clock.now_s += 0.2
    bench.thread.run_next()
    await asyncio.gather(*asked)

    assert bench.value("twofold_inferer_queue_seconds_count") == 2
    assert bench.value("twofold_inferer_queue_seconds_sum") == 0
    assert bench.value("twofold_inferer_compute_seconds_count") == 1
    assert bench.value("twofold_inferer_compute_seconds_sum") == pytest.approx(6e-9)
    assert bench.value("twofold_inferer_request_seconds_sum") == pytest.approx(0.4)
    assert bench.value("twofold_inferer_request_seconds_bucket", le="0.1") == 0
    assert bench.value("twofold_inferer_request_seconds_bucket", le="0.25") == 2
    assert bench.value("twofold_inferer_batch_rows_sum") == 3


async def test_a_version_that_is_unloaded_leaves_the_page(bench: Bench) -> None:
    await bench.ask(1.0)
    assert bench.versions() == {"1"}

    await bench.store(1, 2)
    bench.clock.now_s += 1.0
    await bench.store(2)
    await bench.store(2)

    assert bench.versions() == {"2"}
    current = bench.registry.get_sample_value("twofold_inferer_current_version", {"model": "m"})
    assert current == 2


async def test_a_loaded_version_is_traced_to_manifest_and_job(bench: Bench) -> None:
    origin = {"manifest_sha256": "sha of 1", "training_job": "jobs/J"}

    assert bench.value("twofold_inferer_version_info", **origin) == 1


async def test_a_refused_version_is_counted(bench: Bench) -> None:
    await bench.store(1, name="bad")

    assert bench.registry.get_sample_value("twofold_inferer_refused_versions_total") == 1
    assert bench.registry.get_sample_value("twofold_inferer_load_failures_total") == 1
    assert bench.registry.get_sample_value("twofold_inferer_loads_total") == 1


async def test_the_page_has_the_process_and_the_release(bench: Bench) -> None:
    with MetricsPage("127.0.0.1:0", bench.models) as page:
        text = await asyncio.to_thread(_read, f"http://{page.address}/metrics")
    samples = {
        sample.name: sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    assert samples["twofold_inferer_process_cpu_seconds_total"].value > 0
    assert samples["twofold_inferer_process_resident_memory_bytes"].value > 1 << 20
    assert samples["twofold_inferer_info"].labels["version"] == __version__


async def test_names_follow_the_conventions(bench: Bench) -> None:
    """Base units, counters that say so, a meaning each; Triton's names are its own."""
    families = list(bench.registry.collect())

    assert len(families) > 15
    for family in families:
        assert family.documentation
        if not family.name.startswith("nv_"):
            assert family.name.startswith("twofold_inferer")
            assert family.type != "unknown"
            assert not _UNITS.search(family.name), family.name


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own page
        return response.read().decode()

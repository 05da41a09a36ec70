"""Policies, rollbacks and the memory budget of a whole inferer over a real store."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
import pytest_asyncio

from inferer.batcher import Limits
from inferer.engine import Engine
from inferer.loading import Loader, Network, load_lane, measure
from inferer.memory import size_of
from tests.inferer import artifacts
from tests.inferer.server import Running, outputs_of, running, settings_for
from tests.inferer.test_app import read
from tests.valkey import Valkey
from tests.waiting import until
from twofold.config import UnusableSettings
from twofold.golden import Golden
from twofold.principal import LOCAL
from twofold.queue.plan import announcement
from twofold.rollback import roll_back
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.v1 import model_pb2
from twofold.versions import read_manifest

X = np.zeros((1, 2), np.float32)


async def value_of(server: Running, version: str = "") -> tuple[str, float]:
    """The version that answered, and its answer, which tells the version too."""
    response = await server.infer("m", {"x": X}, version)
    return response.model_version, float(outputs_of(response)["value"][0, 0])


def put(store: LocalStore, *values: float) -> None:
    for value in values:
        artifacts.put(store, "m", artifacts.constant(value))


async def until_loaded(server: Running, *versions: str) -> None:
    async def are() -> bool:
        return all([await server.is_ready("m", version) for version in versions])

    await until(are)


async def counted(server: Running) -> dict[str, float]:
    """Our own figures of the metrics page that have no labels."""
    page = await asyncio.to_thread(read, f"http://{server.app.metrics_address}/metrics")
    prefix = "twofold_inferer_"
    lines = (line.split() for line in page.splitlines() if line.startswith(prefix))
    return {name.removeprefix(prefix): float(value) for name, value in lines if "{" not in name}


async def test_a_rollback_serves_the_version_before_without_loading_it(
    store: LocalStore, tmp_path: Path, valkey: Valkey
) -> None:
    """The store can load nothing more: what serves was loaded before."""
    put(store, 1, 2, 3)
    settings = settings_for(tmp_path / "store", poll_interval_s=3600, redis_url=valkey.url)
    async with running(settings) as server:
        assert await value_of(server) == ("3", 3.0)
        await until_loaded(server, "2")
        artifacts.overwrite(store, "m", 2, "weights.safetensors", b"damaged since")

        done = await asyncio.to_thread(roll_back, store, SystemClock(), LOCAL, "m", 3)
        valkey.command(*(str(part) for part in announcement(LOCAL.tenant)))

        async def is_back() -> bool:
            return await value_of(server) == ("2", 2.0)

        await until(is_back)
        assert done.is_new
        assert await value_of(server, "3") == ("3", 3.0), "who names it gets it"


async def test_the_file_says_which_versions_serve_and_stay(
    store: LocalStore, tmp_path: Path
) -> None:
    put(store, 1, 2, 3, 4)
    file = tmp_path / "models.toml"
    file.write_text("[models.m]\nversion_policy = { specific = [1, 2] }\nmax_batch_size = 4\n")
    async with running(settings_for(tmp_path / "store", models_file=str(file))) as server:
        assert await value_of(server) == ("2", 2.0)
        await until_loaded(server, "1", "2")
        assert not await server.is_ready("m", "4")
        assert await value_of(server, "4") == ("4", 4.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default]\nversion_policy = 'newest'\n", "default.version_policy is 'newest'; allowed:"),
        ("[default\n", "no TOML"),
        (None, "which cannot be read"),
    ],
)
async def test_a_file_that_cannot_be_used_does_not_start(
    tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "models.toml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(UnusableSettings, match=message):
        async with running(settings_for(tmp_path / "store", models_file=str(file))):
            pass


async def test_versions_take_turns_in_a_small_memory(store: LocalStore, tmp_path: Path) -> None:
    """Room for two: the default and one other, whichever is asked for."""
    put(store, 1, 2, 3)
    manifest, _ = read_manifest(store, LOCAL.tenant, "m", 1)
    budget = 2 * size_of(manifest) + 1000
    settings = settings_for(tmp_path / "store", memory_budget_bytes=budget)
    async with running(settings) as server:
        await until_loaded(server, "2", "3")
        for number in ("1", "2", "1", "3"):
            assert await value_of(server, number) == (number, float(number))
        assert await value_of(server) == ("3", 3.0)
        assert not await server.is_ready("m", "2")
        page = await counted(server)
        assert (page["evictions_total"], page["thrashes_total"]) == (3.0, 2.0)
        assert page["refused_versions_total"] == page["no_room_total"] == 0.0
        assert page["memory_bytes"] == 2 * size_of(manifest)
        assert page["memory_budget_bytes"] == budget
        tight = settings.model_copy(update={"memory_budget_bytes": size_of(manifest) - 1})
    async with running(tight) as server:
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError, match="is too large: it takes") as caught:
                await value_of(server)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await counted(server))["refused_versions_total"] == 3.0, "each of them once"


class Reads(LocalStore):
    """Counts what is read, and by which thread."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.counts = Counter[str]()
        self.threads = set[str]()

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        self.counts[key.rpartition("/")[2]] += 1
        self.threads.add(threading.current_thread().name)
        return super().read(key, limit_bytes)


class Told:
    """A network, and a word before each of its steps."""

    def __init__(self, network: Network, tell: Callable[[str], None]) -> None:
        self._network = network
        self._tell = tell
        self.expected_s = network.expected_s
        self.run = network.run

    def replay(self, examples: Golden, tolerance: model_pb2.Tolerance) -> None:
        self._tell("replay")
        self._network.replay(examples, tolerance)

    def warm_up(self, examples: Golden) -> None:
        self._tell("warm-up")
        self._network.warm_up(examples)


class Watched:
    """An engine whose loads wait to be let on, and tell their steps and their thread."""

    device_type = "cpu"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.loader, self.slow = engine.loader, engine.slow
        self.steps: list[tuple[str, str]] = []
        self.go_on = threading.Event()

    def load(self, manifest: model_pb2.Manifest, files: Mapping[str, bytes]) -> Network:
        self.go_on.wait(10)
        return Told(self._engine.load(manifest, files), self._tell)

    def _tell(self, step: str) -> None:
        self.steps.append((step, threading.current_thread().name))


@pytest_asyncio.fixture
async def watched() -> AsyncGenerator[Watched]:
    with Engine() as engine:
        yield Watched(engine)


async def test_a_load_reads_once_replays_and_warms_up_and_leaves_the_loop_alone(
    store: LocalStore, tmp_path: Path, watched: Watched
) -> None:
    """While it is in the middle of it the loop runs; nothing serves before all of it is done."""
    put(store, 1)
    reads = Reads(tmp_path / "store")
    loader = Loader(reads, watched, max_batch_size=8)
    assert (await measure(loader, LOCAL.tenant, "m", 1)).size_bytes > 0
    reads.counts.clear()
    limits = Limits(max_batch_size=8, max_queue_size=8)
    load = asyncio.create_task(
        load_lane(loader, LOCAL.tenant, lambda _: limits, SystemClock(), "m", 1)
    )
    for _ in range(100):  # the loop turns while the loader's thread waits
        await asyncio.sleep(0)
    assert (load.done(), watched.steps) == (False, [])

    watched.go_on.set()
    served = await load

    assert set(reads.counts.values()) == {1}, "what was verified is what was loaded"
    assert len(reads.counts) == 4
    assert [step for step, _ in watched.steps] == ["replay", "warm-up"]
    threads = {thread for _, thread in watched.steps} | reads.threads
    assert all(thread.startswith("loader") for thread in threads)
    assert served.number == 1

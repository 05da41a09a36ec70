import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.waiting import until
from twofold.cluster import folder, up
from twofold.cluster.ports import Reserved
from twofold.cluster.supervise import Part, Policy

FAST = Policy(first_delay_s=0.01, longest_delay_s=0.02)
#: Writes its name to a log when it starts and when it gets SIGTERM.
TOY = """
import signal, sys, threading
name, log = sys.argv[1:]
def note(word):
    with open(log, "a") as file:
        file.write(f"{word} {name}\\n")
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
note("start")
while not done.wait(0.01):
    pass
note("end")
"""


@dataclass
class Toys:
    """Toy parts, and what they noted."""

    log: Path
    said: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="ascii").splitlines() if self.log.exists() else []

    def part(self, name: str) -> Part:
        async def has_started() -> bool:
            return f"start {name}" in self.lines()

        command = [sys.executable, "-c", TOY, name, str(self.log)]
        return Part(name, command, dict(os.environ), has_started, stop_s=10)

    def say(self, name: str, text: str) -> None:
        self.said.append(f"{name} {text}")

    def cluster(self, groups: list[list[Part]], stopping: asyncio.Event) -> up.Cluster:
        return up.Cluster(groups, stopping, self.say, FAST)


@pytest.fixture
def toys(tmp_path: Path) -> Toys:
    return Toys(tmp_path / "log")


async def run(cluster: up.Cluster, when_ready: Callable[[], None]) -> int:
    async with asyncio.timeout(20):
        return await cluster.run(when_ready)


async def test_groups_start_in_order_and_end_in_the_opposite_one(toys: Toys) -> None:
    stopping = asyncio.Event()
    groups = [[toys.part("valkey")], [toys.part("trainer"), toys.part("inferer")]]

    assert await run(toys.cluster(groups, stopping), stopping.set) == 0
    lines = toys.lines()
    assert lines[0] == "start valkey"
    assert set(lines[1:3]) == {"start trainer", "start inferer"}
    assert set(lines[3:5]) == {"end trainer", "end inferer"}
    assert lines[5:] == ["end valkey"]


async def test_the_cluster_is_ready_only_when_every_part_answers(toys: Toys) -> None:
    stopping = asyncio.Event()
    cluster = toys.cluster([[toys.part("a")], [toys.part("b"), toys.part("c")]], stopping)
    figures: list[tuple[str, bool, int]] = []

    def when_ready() -> None:
        figures.extend((f.name, f.is_running, f.restart_count) for f in cluster.figures())
        stopping.set()

    await run(cluster, when_ready)
    assert figures == [("a", True, 0), ("b", True, 0), ("c", True, 0)]
    assert [f.is_running for f in cluster.figures()] == [False, False, False]


async def test_a_stop_before_the_cluster_is_ready_ends_what_started(toys: Toys) -> None:
    async def never() -> bool:
        return False

    stopping = asyncio.Event()
    command = [sys.executable, "-c", TOY, "a", str(toys.log)]
    deaf = Part("a", command, dict(os.environ), never, stop_s=10)
    ready: list[int] = []
    task = asyncio.create_task(
        run(toys.cluster([[deaf], [toys.part("b")]], stopping), lambda: ready.append(1))
    )

    async def has_started() -> bool:
        return toys.lines() == ["start a"]

    await until(has_started)
    stopping.set()

    assert await task == 0
    assert ready == []
    assert toys.lines() == ["start a", "end a"]


async def test_a_part_that_is_given_up_ends_the_cluster_with_its_code(toys: Toys) -> None:
    async def never() -> bool:
        return False

    refused = Part("b", [sys.executable, "-c", "exit(2)"], dict(os.environ), never, stop_s=10)
    cluster = toys.cluster([[toys.part("a")], [refused]], asyncio.Event())

    assert await run(cluster, lambda: None) == 2
    assert toys.lines() == ["start a", "end a"]
    assert "b exit code 2: it refuses its settings" in toys.said


def test_unusable_addresses_end_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = up.Options(tmp_path, train_address="0.0.0.0:0")

    assert up.run(options) == 2
    assert "up      | --train-address is '0.0.0.0:0': other machines" in capsys.readouterr().err


async def test_the_parts_get_the_clusters_settings(
    ports: Reserved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_DRAIN_S", "3")
    addresses = up.Addresses.of(
        up.Options(
            train_address="127.0.0.1:0", infer_address="127.0.0.1:0", metrics_address="127.0.0.1:0"
        ),
        ports,
    )
    async with folder.locked(tmp_path) as place:
        groups = up.parts_of(up.Options(tmp_path), addresses, place, tmp_path / "s")
        (server,), (trainer, inferer) = groups

    assert server.name == "valkey"
    assert trainer.environment["TMPDIR"] == str(tmp_path / "tmp")
    assert trainer.environment["TWOFOLD_STORE"] == str(tmp_path / "store")
    assert trainer.environment["TWOFOLD_REDIS_URL"] == f"unix://{tmp_path}/s"
    assert trainer.environment["TWOFOLD_TRAIN_ADDRESS"] == addresses.train
    assert inferer.environment["TWOFOLD_INFER_ADDRESS"] == addresses.infer
    assert trainer.stop_s == 8
    pages = {part.environment["TWOFOLD_METRICS_ADDRESS"] for part in (trainer, inferer)}
    assert pages == set(addresses.pages.values())
    assert len(pages) == 2
    assert addresses.metrics not in pages


async def test_an_existing_server_is_used_instead_of_an_own_one(
    ports: Reserved, tmp_path: Path
) -> None:
    options = up.Options(tmp_path, redis_url="redis://127.0.0.1:7777/0")
    address = ports.free()
    addresses = up.Addresses(address, address, address, {"trainer": "", "inferer": ""})
    async with folder.locked(tmp_path) as place:
        (services,) = up.parts_of(options, addresses, place, tmp_path / "s")

    assert [part.name for part in services] == ["trainer", "inferer"]
    assert {part.environment["TWOFOLD_REDIS_URL"] for part in services} == {options.redis_url}


def test_a_wrong_drain_time_is_left_to_the_parts_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWOFOLD_DRAIN_S", "soon")

    assert up.drain_s() == 10


async def test_signals_stop_and_are_given_back() -> None:
    stopping = asyncio.Event()
    with up.stopped_by_signals(stopping):
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await stopping.wait()

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

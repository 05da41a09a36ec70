"""Two real inferers over one store, one of them gone at a time, while clients predict on and on.

The clients know both addresses and connect to one that listens; calls that fail as UNAVAILABLE are
repeated, as they are by default.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from tests.chaos.full.parts import Part
from tests.chaos.scale import scaled
from tests.inferer import artifacts
from tests.waiting import until
from twofold.client import Client, Connection, RetryPolicy
from twofold.cluster import up
from twofold.cluster.ports import Reserved
from twofold.errors import TwofoldError
from twofold.store import LocalStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(scaled(120, 900))]

CLIENTS = 3
#: How often each of the two is restarted; a start takes some seconds.
KILL_ROUNDS, TERM_ROUNDS = scaled(1, 6), scaled(2, 10)
DRAIN_S = 2.0
#: Starting means importing torch, here beside whatever else this machine does.
START_LIMIT_S = 60.0
_CHECK = "/grpc.health.v1.Health/Check"
ROWS = np.zeros((1, 2), np.float32)


class Replica:
    """One of the two."""

    def __init__(self, name: str, folder: Path, address: str) -> None:
        self.address = address
        environment = os.environ | {
            "TWOFOLD_STORE": str(folder / "store"),
            "TWOFOLD_REDIS_URL": "",
            "TWOFOLD_INFER_ADDRESS": address,
            "TWOFOLD_METRICS_ADDRESS": "127.0.0.1:0",
            "TWOFOLD_DRAIN_S": str(DRAIN_S),
            "TWOFOLD_POLL_INTERVAL_S": "0.2",
            "OMP_NUM_THREADS": "1",
        }
        environment |= up.checkout_path(environment)
        self.log = folder / f"{name}.log"
        self.process = Part(name, ["inferer"], environment, self.log)

    async def start(self) -> float:
        """Starts it; the seconds until it says that it serves."""
        begin_s = time.monotonic()
        self.process.start()
        await until(self.is_serving, START_LIMIT_S)
        return time.monotonic() - begin_s

    async def is_serving(self) -> bool:
        """What its health service says."""
        return await asyncio.to_thread(self._is_serving)

    def _is_serving(self) -> bool:
        request = health_pb2.HealthCheckRequest().SerializeToString()
        with grpc.insecure_channel(self.address) as channel:
            # grpcio's stubs leave the types of messages open.
            check = cast("Callable[..., bytes]", channel.unary_unary(_CHECK))
            try:
                data = check(request, timeout=2)
            except grpc.RpcError:
                return False
        status = health_pb2.HealthCheckResponse.FromString(data).status
        return status == health_pb2.HealthCheckResponse.SERVING

    @property
    def exit_code(self) -> int | None:
        """Of the process that ended last."""
        process = self.process._process
        return None if process is None else process.returncode


@dataclass
class Asking:
    """What one client saw."""

    count: int = 0
    failures: list[str] = field(default_factory=list[str])

    def ask(self, client: Client) -> None:
        try:
            prediction = client.predict("m", ROWS, timeout_s=30)
        except TwofoldError as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        self.count += 1
        if (prediction.version, prediction.value.tolist()) != (1, [[3.0]]):
            self.failures.append(f"{prediction}")


@contextmanager
def asking(replicas: list[Replica], policy: RetryPolicy) -> Generator[list[Asking]]:
    """CLIENTS threads that predict without pause."""
    done, found = threading.Event(), [Asking() for _ in range(CLIENTS)]
    addresses = [replica.address for replica in replicas]

    def run(one: Asking, first: int) -> None:
        target = "ipv4:" + ",".join([*addresses[first:], *addresses[:first]])
        with Client(connection=Connection(infer=target, retry=policy)) as client:
            while not done.wait(0.002):
                one.ask(client)

    threads = [
        threading.Thread(target=run, args=(one, number % 2)) for number, one in enumerate(found)
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def replicas(store: LocalStore, tmp_path: Path) -> Generator[list[Replica]]:
    """Both, serving one version."""
    artifacts.put(store, "m", artifacts.constant(3.0))
    with Reserved() as ports:
        made = [Replica(name, tmp_path, ports.free()) for name in ("one", "two")]

        async def start() -> None:
            await asyncio.gather(*(replica.start() for replica in made))

        try:
            asyncio.run(start())
            yield made
        finally:
            for replica in made:
                replica.process.end()


def progress(found: list[Asking]) -> Callable[[], None]:
    """Waits until every client has had some more answers."""

    async def more() -> None:
        goals = [one.count + 20 for one in found]

        async def is_more() -> bool:
            return all(one.count >= goal for one, goal in zip(found, goals, strict=True))

        await until(is_more, 30)

    return lambda: asyncio.run(more())


def test_i_kill_clients_of_two_inferers_see_no_failure_when_one_is_killed(
    replicas: list[Replica],
) -> None:
    took_s: list[float] = []
    with asking(replicas, RetryPolicy()) as found:
        go_on = progress(found)
        for _ in range(KILL_ROUNDS):
            for replica in replicas:
                go_on()
                replica.process.end(signal.SIGKILL)
                go_on()
                took_s.append(asyncio.run(replica.start()))

    assert [failure for one in found for failure in one.failures] == []
    assert len(took_s) == 2 * KILL_ROUNDS


def test_i_term_a_rolling_restart_fails_nothing_and_exits_0(replicas: list[Replica]) -> None:
    with asking(replicas, RetryPolicy()) as found:
        go_on = progress(found)
        for _ in range(TERM_ROUNDS):
            for replica in replicas:
                go_on()
                replica.process.end(signal.SIGTERM)
                assert replica.exit_code == 0
                go_on()
                asyncio.run(replica.start())

    assert [failure for one in found for failure in one.failures] == []
    for replica in replicas:
        log = replica.log.read_text(encoding="utf-8")
        assert log.count('"message": "stopped"') == TERM_ROUNDS

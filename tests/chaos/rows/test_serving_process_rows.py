"""Two real inferers over one store, one of them gone at a time, while clients predict on and on.

The clients know both addresses and connect to one that listens; calls that fail as UNAVAILABLE are
repeated: by our library as it does by default, by grpcio's clients as their service config says.
"""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from tests.chaos.full.parts import Part
from tests.chaos.scale import scaled
from tests.chaos.serving.site import answer_of
from tests.inferer import artifacts
from tests.inferer.server import SERVICE, infer_request
from tests.waiting import until
from twofold.client import Client, Connection, RetryPolicy
from twofold.cluster import up
from twofold.cluster.ports import Reserved
from twofold.errors import TwofoldError
from twofold.oip import inference_pb2 as pb
from twofold.store import LocalStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(scaled(120, 900))]

#: Clients of our own library among them.
CLIENTS, OURS = 4, 2
#: gRPC's own way to repeat what failed as UNAVAILABLE.
RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
#: How often each of the two is restarted; a start takes some seconds.
KILL_ROUNDS, TERM_ROUNDS = scaled(1, 6), scaled(2, 10)
DRAIN_S = 2.0
#: Starting means importing torch, here beside whatever else this machine does.
START_LIMIT_S = 60.0
_INFER = SERVICE + "ModelInfer"
_CHECK = "/grpc.health.v1.Health/Check"
ROWS = np.zeros((1, 2), np.float32)
#: Between two calls of a client; and while a replica starts, which takes its seconds of the cores.
PAUSE_S, LONG_PAUSE_S = 0.002, 0.05


class Replica:
    """One of the two."""

    def __init__(self, name: str, folder: Path, address: str) -> None:
        self.address = address
        environment = os.environ | {
            "TWOFOLD_STORE": str(folder / "store"),
            "TWOFOLD_REDIS_URL": "",
            "TWOFOLD_INFER_ADDRESS": address,
            "TWOFOLD_METRICS_ADDRESS": "127.0.0.1:0",
            "TWOFOLD_TRANSPORT": "native",  # with grpcio a call ends as CANCELLED now and then
            "TWOFOLD_DRAIN_S": str(DRAIN_S),
            "TWOFOLD_POLL_INTERVAL_S": "0.2",
            "OMP_NUM_THREADS": "1",
        }
        environment |= up.checkout_path(environment)
        self.log = folder / f"{name}.log"
        self.process = Part(name, ["inferer"], environment, self.log)

    async def start(self) -> None:
        """Starts it, until it says that it serves."""
        self.process.start()
        await until(self.is_serving, START_LIMIT_S)

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


class Plain:
    """A client of grpcio alone, with gRPC's own retry policy (gRFC A6)."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target, [("grpc.service_config", RETRIES)])
        # grpcio's stubs leave the types of messages open.
        self._infer = cast("Callable[..., bytes]", self._channel.unary_unary(_INFER))
        self._request = infer_request("m", {"x": ROWS}).SerializeToString()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def ask(self, seen: Asking) -> None:
        try:
            data = self._infer(self._request, timeout=30)
        except grpc.RpcError as error:
            seen.failures.append(str(error))
            return
        seen.count += 1
        answer = answer_of(pb.ModelInferResponse.FromString(data))
        if (answer[0], answer[1].tolist()) != (1, [[3.0]]):
            seen.failures.append(f"{answer}")


class Crowd:
    """CLIENTS threads that predict on and on: ours, then plain ones of grpcio."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.seen = [Asking() for _ in range(CLIENTS)]
        self._addresses = [replica.address for replica in replicas]
        self._pause_s = PAUSE_S
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one, number))
            for number, one in enumerate(self.seen)
        ]

    def _run(self, one: Asking, number: int) -> None:
        first = number % 2
        target = "ipv4:" + ",".join([*self._addresses[first:], *self._addresses[:first]])
        if number >= OURS:
            with Plain(target) as plain:
                while not self._done.wait(self._pause_s):
                    plain.ask(one)
            return
        with Client(connection=Connection(infer=target, retry=RetryPolicy())) as client:
            while not self._done.wait(self._pause_s):
                one.ask(client)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[str]:
        """Of all clients."""
        return [failure for one in self.seen for failure in one.failures]

    def go_on(self) -> None:
        """Waits until every client has had some more answers."""
        goals = [one.count + 20 for one in self.seen]

        async def is_more() -> bool:
            return all(one.count >= goal for one, goal in zip(self.seen, goals, strict=True))

        asyncio.run(until(is_more, 30))

    def restart(self, replica: Replica, number: signal.Signals) -> int | None:
        """Ends one of the two by a signal, and starts it again; its exit code.

        The clients go on all the time.
        """
        self.go_on()
        replica.process.end(number)
        code = replica.exit_code
        self.go_on()
        self._pause_s = LONG_PAUSE_S
        asyncio.run(replica.start())
        self._pause_s = PAUSE_S
        self.go_on()
        return code


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Generator[list[Replica]]:
    """Both, serving one version."""
    folder = tmp_path_factory.mktemp("replicas")
    artifacts.put(LocalStore(folder / "store"), "m", artifacts.constant(3.0))
    with Reserved() as ports:
        made = [Replica(name, folder, ports.free()) for name in ("one", "two")]

        async def start() -> None:
            await asyncio.gather(*(replica.start() for replica in made))

        try:
            asyncio.run(start())
            yield made
        finally:
            for replica in made:
                replica.process.end()


def test_i_kill_clients_of_two_inferers_see_no_failure_when_one_is_killed(
    replicas: list[Replica],
) -> None:
    codes: list[int | None] = []
    with Crowd(replicas) as crowd:
        for _ in range(KILL_ROUNDS):
            codes += [crowd.restart(replica, signal.SIGKILL) for replica in replicas]

    assert crowd.failures == []
    assert codes == [-signal.SIGKILL] * 2 * KILL_ROUNDS


def test_i_term_a_rolling_restart_fails_nothing_and_exits_0(replicas: list[Replica]) -> None:
    codes: list[int | None] = []
    with Crowd(replicas) as crowd:
        for _ in range(TERM_ROUNDS):
            codes += [crowd.restart(replica, signal.SIGTERM) for replica in replicas]

    assert crowd.failures == []
    assert codes == [0] * 2 * TERM_ROUNDS
    for replica in replicas:
        log = replica.log.read_text(encoding="utf-8")
        assert log.count('"message": "stopped"') == TERM_ROUNDS

"""Hot reloads and rollbacks of one inferer: `python -m bench.reloads [--reloads 200]`.

An MLP 64-128-128-10 of which every version answers its own number, so that an answer tells by
itself whether versions were mixed. All versions are published before; each then becomes visible in
turn, is announced through Valkey, and the next follows once it answers. Told are requests that
failed, answers that were another version's or went back, p99 in steady state and during reloads,
from the announcement to the first answer for reloads and rollbacks, and resident memory after 100
reloads and after all.

`--connections 0` reloads without load, `--reloads 1000` shows whether memory grows.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import grpc.aio
import numpy as np
import torch

from tests.inferer import artifacts
from tests.inferer.server import SERVICE, infer_request, outputs_of
from tests.valkey import Valkey
from twofold import keys
from twofold.nets import catalogue
from twofold.nets.net import Net, init, load
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL
from twofold.queue.plan import announcement
from twofold.rollback import roll_back
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.v1 import model_pb2, spec_pb2

MODEL = "reloaded"
_WIDTH, _HIDDEN, _OUTPUTS = 64, (128, 128), 10
#: So many versions stay in the store behind the newest, as where a collector is at work.
_KEPT = 10
#: How often whoever waits for a version asks for it, where nobody else does.
_POLL_S = 0.0005
_GIVE_UP_S = 30.0
_FIRST_RSS = 100


def answering(value: float, spec: model_pb2.FeatureSpec, template: Net) -> Net:
    """The network of which every output is `value`: zeros but for the last bias."""
    state = {path: torch.zeros_like(tensor) for path, tensor in template.state_dict().items()}
    last = [path for path in state if path.endswith("bias")][-1]
    del spec
    return load(template.graph, {**state, last: state[last] + value})


def mlp() -> tuple[model_pb2.FeatureSpec, Net]:
    """64 numbers to 10 numbers."""
    spec = model_pb2.FeatureSpec(
        numeric_columns=[f"x{place}" for place in range(_WIDTH)],
        target="y0",
        targets=[f"y{place}" for place in range(_OUTPUTS)],
        task=spec_pb2.TASK_REGRESSION,
    )
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=_HIDDEN)
    graph = catalogue.build(network, spec, scaling=False, loss=spec_pb2.LOSS_UNSPECIFIED)
    return spec, init(graph, 0)


class Versions:
    """Published versions of which only some are in sight."""

    def __init__(self, root: Path, count: int) -> None:
        self.store = LocalStore(root / "store")
        self._aside = root / "aside"
        self._aside.mkdir()
        spec, template = mlp()
        for number in range(1, count + 1):
            published = artifacts.put(self.store, MODEL, (spec, answering(number, spec, template)))
            if published != number:
                raise SystemExit(f"version {number} was published as {published}")
        for number in range(2, count + 1):
            self._folder(number).rename(self._aside / str(number))

    def _folder(self, number: int) -> Path:
        return self.store.path(keys.version(LOCAL.tenant, MODEL, number))

    def show(self, number: int) -> None:
        """Makes a version visible, and takes an old one away."""
        (self._aside / str(number)).rename(self._folder(number))
        if number > _KEPT and (old := self._folder(number - _KEPT)).exists():
            old.rename(self._aside / f"old-{number - _KEPT}")


@contextlib.contextmanager
def inferer(root: Path, redis: str) -> Generator[tuple[int, str]]:
    """The process id and the address of an inferer."""
    changes = {
        "TWOFOLD_STORE": str(root / "store"),
        "TWOFOLD_REDIS_URL": redis,
        "TWOFOLD_INFER_ADDRESS": "127.0.0.1:0",
        "TWOFOLD_METRICS_ADDRESS": "127.0.0.1:0",
        "TWOFOLD_POLL_INTERVAL_S": "60",
        "TWOFOLD_LOG_STYLE": "json",
    }
    with (root / "inferer.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "inferer"], env=os.environ | changes, stderr=log
        )
    try:
        yield process.pid, _address(root / "inferer.log")
    finally:
        process.terminate()
        process.wait()


def _address(log: Path) -> str:
    until_s = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < until_s:
        for line in log.read_text().splitlines():
            if (fields := json.loads(line))["message"] == "listening":
                return fields["address"]
        time.sleep(0.05)
    raise SystemExit("the inferer does not listen")


def resident_bytes(pid: int) -> int:
    """VmRSS of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the inferer has ended")


@dataclass
class Answers:
    """What all clients saw."""

    latencies_s: list[float] = field(default_factory=list[float])
    failures: list[str] = field(default_factory=list[str])
    mixed: list[str] = field(default_factory=list[str])
    newest: int = 0
    count: int = 0
    #: Whether a version may be lower than one before it.
    may_go_back: bool = False

    def take_in(self, response: pb.ModelInferResponse, seen: int) -> int:
        """Checks an answer; the version that it came from."""
        number = int(response.model_version)
        values = set(outputs_of(response)["value"].ravel().tolist())
        if values != {float(number)}:
            self.mixed.append(f"version {number} answered {values}")
        if number < seen and not self.may_go_back:
            self.mixed.append(f"version {number} after {seen}")
        self.newest = number if self.may_go_back else max(self.newest, number)
        self.count += 1
        return number


@dataclass(frozen=True)
class Clients:
    """Clients that ask on and on, and one for whoever wants to know."""

    answers: Answers
    ask: Callable[[], "asyncio.Future[bytes]"]

    async def until(self, is_so: Callable[[], bool], *, is_asked: bool) -> None:
        """Returns once the answers are so; asks by itself unless others do (`is_asked`)."""
        until_s = time.monotonic() + _GIVE_UP_S
        while not is_so():
            if time.monotonic() > until_s:
                raise SystemExit(f"no answer of the expected version; {self.answers.failures[:3]}")
            if is_asked:
                await asyncio.sleep(_POLL_S)
            else:
                self.answers.take_in(pb.ModelInferResponse.FromString(await self.ask()), 0)


def caller(channel: grpc.aio.Channel) -> Callable[[], "asyncio.Future[bytes]"]:
    """Asks for one prediction, in bytes, over a channel."""
    rows = np.random.default_rng(3).standard_normal((1, _WIDTH)).astype(np.float32)
    data = infer_request(MODEL, {"x": rows}).SerializeToString()
    # grpcio's stubs leave the types of messages open.
    method = cast(
        "Callable[[bytes], asyncio.Future[bytes]]", channel.unary_unary(SERVICE + "ModelInfer")
    )
    return lambda: method(data)


async def ask_forever(ask: Callable[[], "asyncio.Future[bytes]"], answers: Answers) -> None:
    """One client: the next request after the answer to the last."""
    seen = 0
    while True:
        start_s = time.perf_counter()
        try:
            data = await ask()
        except grpc.aio.AioRpcError as error:
            answers.failures.append(f"{error.code().name}: {error.details()}")
            continue
        answers.latencies_s.append(time.perf_counter() - start_s)
        seen = answers.take_in(pb.ModelInferResponse.FromString(data), seen)


@contextlib.asynccontextmanager
async def clients(address: str, connections: int, each: int) -> AsyncGenerator[Clients]:
    """Clients at work, so many on each of so many connections."""
    answers = Answers()
    async with contextlib.AsyncExitStack() as stack:
        # Channels of equal arguments would share one connection.
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(address, options=[("bench.channel", place)])
            )
            for place in range(connections + 1)
        ]
        tasks = [
            asyncio.create_task(ask_forever(caller(channel), answers))
            for channel in channels[1:]
            for _ in range(each)
        ]
        yield Clients(answers, caller(channels[0]))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Figures:
    """What one run measured."""

    steady_s: Sequence[float] = ()
    reloading_s: Sequence[float] = ()
    reloads_s: list[float] = field(default_factory=list[float])
    rollbacks_s: list[float] = field(default_factory=list[float])
    resident: dict[int, int] = field(default_factory=dict[int, int])


class Run:
    """One inferer, its versions and its clients."""

    def __init__(self, options: argparse.Namespace, versions: Versions, valkey: Valkey) -> None:
        self._options = options
        self._versions = versions
        self._valkey = valkey
        self.figures = Figures()

    def _announce(self) -> None:
        self._valkey.command(*(str(part) for part in announcement(LOCAL.tenant)))

    async def play(self, pid: int, asking: Clients) -> None:
        """Steady state, reloads, rollbacks."""
        answers, is_asked = asking.answers, self._options.connections > 0
        await asking.until(lambda: answers.newest == 1, is_asked=False)
        if is_asked:
            await asyncio.sleep(1)  # connections and caches
            answers.latencies_s.clear()
            await asyncio.sleep(self._options.steady_s)
            self.figures.steady_s = list(answers.latencies_s)
            answers.latencies_s.clear()
        for number in range(2, self._options.reloads + 2):
            await self._reload(number, asking, is_asked=is_asked)
            if number - 1 in (_FIRST_RSS, self._options.reloads):
                self.figures.resident[number - 1] = resident_bytes(pid)
        self.figures.reloading_s = list(answers.latencies_s)
        answers.may_go_back = True
        for number in range(self._options.reloads + 1, self._options.reloads - 4, -1):
            await self._roll_back(number, asking, is_asked=is_asked)

    async def _reload(self, number: int, asking: Clients, *, is_asked: bool) -> None:
        start_s = time.perf_counter()
        self._versions.show(number)
        self._announce()
        await asking.until(lambda: asking.answers.newest >= number, is_asked=is_asked)
        self.figures.reloads_s.append(time.perf_counter() - start_s)
        await asyncio.sleep(self._options.pause_ms / 1000)

    async def _roll_back(self, number: int, asking: Clients, *, is_asked: bool) -> None:
        """Withdraws the version that serves; the one before it must answer."""
        await asyncio.to_thread(
            roll_back, self._versions.store, SystemClock(), LOCAL, MODEL, number
        )
        start_s = time.perf_counter()
        self._announce()
        await asking.until(lambda: asking.answers.newest == number - 1, is_asked=is_asked)
        self.figures.rollbacks_s.append(time.perf_counter() - start_s)
        await asyncio.sleep(max(self._options.pause_ms / 1000, 0.3))  # the next spare is loaded


def _ms(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    marks = (float(np.percentile(seconds, percent)) * 1e3 for percent in (50, 99, 100))
    return "p50 {:.2f}  p99 {:.2f}  max {:.2f} ms".format(*marks) + f"  n={len(seconds)}"


def report(figures: Figures, answers: Answers) -> list[str]:
    """The lines to print."""
    lines = [
        f"answers {answers.count}, failed {len(answers.failures)}, mixed {len(answers.mixed)}",
        f"requests, steady          {_ms(figures.steady_s)}",
        f"requests, during reloads  {_ms(figures.reloading_s)}",
        f"reload to first answer    {_ms(figures.reloads_s)}",
        f"rollback to first answer  {_ms(figures.rollbacks_s)}",
    ]
    if figures.steady_s and figures.reloading_s:
        steady, reloading = (
            float(np.percentile(each, 99)) for each in (figures.steady_s, figures.reloading_s)
        )
        lines.append(f"p99 during reloads / steady: {reloading / steady:.2f}")
    for count, size in figures.resident.items():
        lines.append(f"resident after {count} reloads: {size / (1 << 20):.1f} MiB")
    first, last = (figures.resident.get(c, math.nan) for c in (_FIRST_RSS, max(figures.resident)))
    lines.append(f"growth since {_FIRST_RSS} reloads: {100 * (last / first - 1):+.2f} %")
    return lines + [f"  {problem}" for problem in (*answers.failures[:5], *answers.mixed[:5])]


async def measure(options: argparse.Namespace, root: Path) -> tuple[Figures, Answers]:
    """One whole run in a folder."""
    versions = await asyncio.to_thread(Versions, root, options.reloads + 1)
    valkey = Valkey(root)
    valkey.start()
    run = Run(options, versions, valkey)
    try:
        with inferer(root, valkey.url) as (pid, address):
            async with clients(address, options.connections, options.each) as asking:
                await run.play(pid, asking)
    finally:
        valkey.kill()
    return run.figures, asking.answers


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=200, help="at least 6")
    parser.add_argument("--connections", type=int, default=3, help="0: no load")
    parser.add_argument("--each", type=int, default=5, help="clients of each connection")
    parser.add_argument("--steady-s", type=float, default=10.0)
    parser.add_argument("--pause-ms", type=float, default=50.0, help="between two reloads")
    return parser.parse_args(arguments)


def main() -> None:
    """Measures, prints, and fails where a request failed or an answer was mixed."""
    options = parsed()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="twofold-reloads-") as folder:
        figures, answers = asyncio.run(measure(options, Path(folder)))
    print("\n".join(report(figures, answers)))
    sys.exit(bool(answers.failures or answers.mixed))


if __name__ == "__main__":
    main()

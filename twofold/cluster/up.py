"""`twofold up`: starts the parts in order, says when all answer, and drains them in order."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import twofold
from twofold.cluster import folder, health, metrics, ports, valkey
from twofold.cluster.supervise import DEFAULT_POLICY, GiveUp, Part, Policy, Supervisor, first
from twofold.config import UnusableSettings

TRAINING_SERVICE = "twofold.v1.TrainingService"
#: On top of a part's own drain, before it is killed.
_STOP_MARGIN_S = 5.0
#: Valkey synchronises its file and ends within milliseconds; a busy disk may take longer.
_VALKEY_STOP_S = 10.0
_NAME_WIDTH = 7
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` was asked for."""

    directory: Path = Path(".twofold")
    train_address: str = "127.0.0.1:50051"
    infer_address: str = "127.0.0.1:8001"
    metrics_address: str = "127.0.0.1:8002"
    #: An existing server; None: one of our own.
    redis_url: str | None = None
    #: The inferer's, "grpcio" or "native"; None: as its settings say.
    transport: str | None = None


def run(options: Options) -> int:
    """Runs the cluster until SIGINT or SIGTERM; the exit code."""
    try:
        return asyncio.run(_run(options))
    except UnusableSettings as error:
        say("up", str(error))
        return 2


def say(name: str, text: str) -> None:
    """One line on standard error, the component's name in front."""
    sys.stderr.write(f"{name:{_NAME_WIDTH}} | {text}\n")
    sys.stderr.flush()


async def _run(options: Options) -> int:
    stopping = asyncio.Event()
    with stopped_by_signals(stopping):
        async with folder.locked(options.directory) as place:
            place.make()
            with ports.Reserved() as reserved, valkey.socket_path(place.path) as socket:
                addresses = Addresses.of(options, reserved)
                cluster = Cluster(parts_of(options, addresses, place, socket), stopping)
                async with _metrics_page(addresses, cluster):
                    return await cluster.run(lambda: _announce(addresses))


@contextmanager
def stopped_by_signals(stopping: asyncio.Event) -> Generator[None]:
    """Sets `stopping` at SIGINT, SIGTERM and SIGHUP."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens, with real ports."""

    train: str
    infer: str
    metrics: str
    #: The parts' own metrics pages, by part.
    pages: dict[str, str]

    @classmethod
    def of(cls, options: Options, reserved: ports.Reserved) -> "Addresses":
        """The addresses that were asked for, checked, and free ones for the parts' own pages."""
        return cls(
            reserved.resolve("--train-address", options.train_address),
            reserved.resolve("--infer-address", options.infer_address),
            reserved.resolve("--metrics-address", options.metrics_address),
            {"trainer": reserved.free(), "inferer": reserved.free()},
        )


def parts_of(
    options: Options, addresses: Addresses, place: folder.Folder, socket: Path
) -> list[list[Part]]:
    """Valkey, unless there is one already; then the services, side by side."""
    redis_url = options.redis_url or valkey.url(socket)
    common = _environment() | {
        "TMPDIR": str(place.temporary),
        "TWOFOLD_STORE": str(place.store),
        "TWOFOLD_REDIS_URL": redis_url,
        "TWOFOLD_TRAIN_ADDRESS": addresses.train,
        "TWOFOLD_INFER_ADDRESS": addresses.infer,
    }
    if options.transport is not None:
        common["TWOFOLD_TRANSPORT"] = options.transport
    stop_s = drain_s() + _STOP_MARGIN_S

    def service(name: str, address: str, grpc_service: str) -> Part:
        return Part(
            name=name,
            command=[sys.executable, "-P", "-m", name],
            environment=common | {"TWOFOLD_METRICS_ADDRESS": addresses.pages[name]},
            probe=lambda: health.is_serving(address, grpc_service),
            stop_s=stop_s,
            inherited=(place.lock,),
        )

    services = [
        service("trainer", addresses.train, TRAINING_SERVICE),
        service("inferer", addresses.infer, ""),
    ]
    return [services] if options.redis_url else [[_valkey(place, socket)], services]


def _valkey(place: folder.Folder, socket: Path) -> Part:
    return Part(
        name="valkey",
        command=valkey.command(valkey.find_server_binary(), place.valkey, socket),
        environment=dict(os.environ),
        probe=lambda: valkey.is_answering(socket),
        stop_s=_VALKEY_STOP_S,
        inherited=(place.lock,),
    )


def _environment() -> dict[str, str]:
    """The parts' environment: ours, readable logs on a terminal, and where the packages are."""
    environment = dict(os.environ)
    if sys.stderr.isatty():
        environment.setdefault("TWOFOLD_LOG_STYLE", "human")
    return environment | checkout_path(environment)


def checkout_path(environment: Mapping[str, str]) -> dict[str, str]:
    """PYTHONPATH with this checkout in front; empty where the packages are installed."""
    root = Path(twofold.__file__).parents[1]
    if not (root / "pyproject.toml").is_file():
        return {}
    old = environment.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{old}" if old else str(root)}


def drain_s() -> float:
    """What the parts will read; their own check refuses a wrong value."""
    with contextlib.suppress(ValueError):
        return float(os.environ.get("TWOFOLD_DRAIN_S", ""))
    return 10.0


@dataclass(frozen=True, eq=False, slots=True)
class _Running:
    """A part under supervision; setting `stop` makes `task` end it and finish."""

    supervisor: Supervisor
    stop: asyncio.Event
    task: asyncio.Task[GiveUp | None]


@dataclass(eq=False)
class Cluster:
    """The supervised parts of one `up`, in groups: each starts once the one before answers."""

    groups: Sequence[Sequence[Part]]
    #: Set by signals, or once a part is given up.
    stopping: asyncio.Event
    say: Callable[[str, str], None] = say
    policy: Policy = DEFAULT_POLICY
    _started: list[list[_Running]] = field(default_factory=list[list[_Running]])

    async def run(self, when_ready: Callable[[], None]) -> int:
        """Runs the parts until stopped; the exit code."""
        try:
            if await self._start():
                when_ready()
                await self.stopping.wait()
        finally:
            await self._drain()
        results = [running.task.result() for group in self._started for running in group]
        return next((given_up.exit_code for given_up in results if given_up is not None), 0)

    def figures(self) -> list[metrics.PartFigures]:
        """What is known of each part now."""
        supervisors = [running.supervisor for group in self._started for running in group]
        return [
            metrics.PartFigures(one.part.name, one.is_running, one.restart_count)
            for one in supervisors
        ]

    async def _start(self) -> bool:
        """Starts group after group; whether all of them answer."""
        for group in self.groups:
            started = [self._supervise(part) for part in group]
            self._started.append(started)
            answers = [one.supervisor.answered.wait() for one in started]
            await first(asyncio.gather(*answers), self.stopping.wait())
            if self.stopping.is_set():
                return False
        return True

    def _supervise(self, part: Part) -> _Running:
        stop = asyncio.Event()
        supervisor = Supervisor(part, self.say, self.policy)
        task = asyncio.create_task(supervisor.run(stop))
        # A part that is given up ends the whole cluster.
        task.add_done_callback(lambda _: self.stopping.set())
        return _Running(supervisor, stop, task)

    async def _drain(self) -> None:
        """Ends the last group first: Valkey must be there for the services' last words."""
        self.say("up", "drains")
        for group in reversed(self._started):
            for running in group:
                running.stop.set()
            await asyncio.gather(*(running.task for running in group), return_exceptions=True)


@asynccontextmanager
async def _metrics_page(addresses: Addresses, cluster: Cluster) -> AsyncGenerator[None]:
    server = await metrics.serve(addresses.metrics, addresses.pages, cluster.figures)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def _announce(addresses: Addresses) -> None:
    """The one line of standard output, for people and for programs that wait for it."""
    sys.stdout.write(
        f"ready train={addresses.train} infer={addresses.infer} metrics={addresses.metrics}\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":  # how twofold.cluster.embedded starts it
    directory, *listen = sys.argv[1:]
    sys.exit(run(Options(Path(directory), *listen)))

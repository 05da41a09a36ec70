"""Puts the inferer together, runs it until it is told to stop, and drains it."""

import asyncio
import functools
import gc
import importlib.util
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from inferer import model_config
from inferer.engine import Engine
from inferer.health import Health
from inferer.loading import Loader, load_lane, measure
from inferer.memory import Memory
from inferer.metrics import MetricsPage
from inferer.models import Models
from inferer.reflection import Reflection
from inferer.rehearsal import Make, rehearse_others, rehearse_usual
from inferer.service import InferenceService
from inferer.transport import Server, native
from inferer.transport.grpcio import GrpcioServer
from inferer.transport.tls import tls_of
from inferer.watcher import StoreReader, Watcher
from twofold import private_folder
from twofold.config import InfererSettings, UnusableSettings
from twofold.principal import LOCAL
from twofold.queue import follow_versions
from twofold.seams import Clock, SystemClock
from twofold.store import LocalStore

#: Draining: how long load balancers get to notice before calls are turned away; a tenth of drain_s
#: where that is less.
_NOTICE_S = 1.0
#: A thread that loads gives up the interpreter within this time, not within Python's 5 ms, when
#: the thread that answers wants it.
_SWITCH_INTERVAL_S = 0.0005
#: So many more objects than before, and cycles among them are looked for: far more than requests
#: under way have, which are let go of without that.
_YOUNG_OBJECTS = 50_000

_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")

_log = logging.getLogger(__name__)


class App:
    """One inferer. `run` serves until `stop` is called.

    Args:
        settings: as users give them.
        clock: the time.
        at_rest: called once all is loaded that was there, before inference is accepted.

    Raises:
        UnusableSettings: the file of the models' settings cannot be used.
    """

    def __init__(
        self,
        settings: InfererSettings,
        clock: Clock | None = None,
        at_rest: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._at_rest = at_rest
        self._stopping = asyncio.Event()
        self.health = Health()
        #: Set once calls are taken; `address` and `metrics_address` are known then.
        self.listening = asyncio.Event()
        self.address = ""
        self.metrics_address = ""
        self._config = model_config.read(settings)

    def stop(self) -> None:
        """Begins to drain."""
        self._stopping.set()

    async def run(self) -> None:
        """Serves, then drains; raises OSError where an address cannot be listened on."""
        store = LocalStore(self._settings.store, read_only=True)
        with self._engine() as engine:
            # Beside the start, which takes no longer for it; what is loaded first comes after it.
            self._rehearse(engine, rehearse_usual)
            config, message_bytes = self._config, self._settings.max_message_bytes
            tells = self._settings.response_parameters
            loader = Loader(store, engine, config.max_batch_size, message_bytes, tells)
            load = functools.partial(load_lane, loader, LOCAL.tenant, config.limits, self._clock)
            memory = self._memory(loader)
            models = Models(load, self._clock, policies=config.policies, memory=memory)
            watcher = Watcher(
                StoreReader(store, LOCAL.tenant),
                models,
                self._clock,
                self._settings.poll_interval_s,
                self._events(),
            )
            with MetricsPage(self._settings.metrics_address, models) as page:
                self.metrics_address = page.address
                await self._serve(models, watcher, engine)

    def _engine(self) -> Engine:
        device = self._settings.infer_device
        try:
            return Engine(
                threads=self._settings.infer_threads,
                device=device,
                cache=_cache(),
                is_compiling=self._settings.infer_compile,
            )
        except ValueError as error:
            text = f"TWOFOLD_INFER_DEVICE is {device!r}, but {error}; use cpu"
            raise UnusableSettings(text) from error

    def _rehearse(self, engine: Engine, rehearse: Callable[[Make, int, str], None]) -> None:
        threads, device = self._settings.infer_threads, self._settings.infer_device
        engine.loader.submit(rehearse, Engine, threads, device)

    def _memory(self, loader: Loader) -> Memory | None:
        budget_bytes = self._settings.memory_budget_bytes
        if not budget_bytes:
            return None
        return Memory(budget_bytes, functools.partial(measure, loader, LOCAL.tenant))

    def _events(self) -> Callable[[], AsyncIterator[None]] | None:
        url = self._settings.redis_url
        if not url:
            return None
        if not url.startswith(_REDIS_SCHEMES):
            allowed = ", ".join(_REDIS_SCHEMES)
            raise UnusableSettings(f"TWOFOLD_REDIS_URL is {url[:100]!r}; allowed: {allowed}")
        return functools.partial(follow_versions, url, LOCAL.tenant)

    async def _serve(self, models: Models, watcher: Watcher, engine: Engine) -> None:
        tenants = {LOCAL.tenant: models}
        reflection = Reflection() if self._settings.reflection else None
        service = InferenceService(tenants, watcher.missed, self.health, reflection)
        server = self._server(service)
        self.address = await server.start(self._settings.infer_address)
        _log.info("listening", extra={"address": self.address, "metrics": self.metrics_address})
        self.listening.set()
        try:
            await self._until_drained(models, watcher, server, engine)
        finally:
            await server.stop(0)
        _log.info("stopped")

    def _server(self, service: InferenceService) -> Server:
        size, tls = self._settings.max_message_bytes, tls_of(self._settings)
        if _is_native(self._settings):
            return native.make_server(service, self._clock, size, tls)
        return GrpcioServer(service, self._clock, size, tls)

    async def _until_drained(
        self, models: Models, watcher: Watcher, server: Server, engine: Engine
    ) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(models.run()),
                group.create_task(watcher.run()),
                group.create_task(self._announce(models, engine)),
            ]
            await self._stopping.wait()
            await self._drain(server)
            for task in tasks:
                task.cancel()

    async def _announce(self, models: Models, engine: Engine) -> None:
        """Says that inference is accepted, once what the store holds was loaded or refused."""
        await models.settled.wait()
        if self._at_rest is not None:
            self._at_rest()
        if not self._stopping.is_set():
            self.health.set_serving(is_serving=True)
            _log.info("ready", extra={"loaded": len(list(models))})
            if not list(models):  # else it would only keep the interpreter from who is served
                self._rehearse(engine, rehearse_others)

    async def _drain(self, server: Server) -> None:
        """Says so, lets callers go elsewhere, finishes what runs; within drain_s."""
        drain_s = self._settings.drain_s
        self.health.set_serving(is_serving=False)
        notice_s = min(_NOTICE_S, drain_s / 10)
        _log.info("draining", extra={"notice_s": notice_s, "drain_s": drain_s})
        await self._clock.sleep(notice_s)
        self.health.close()
        await server.stop(drain_s - notice_s)


def _is_native(settings: InfererSettings) -> bool:
    return settings.transport == "native" and native.is_usable()


def _freeze() -> None:
    """Lets no collection visit what is there now: nearly all of it, torch above all, never dies."""
    gc.collect()
    gc.freeze()


def _cache() -> Path | None:
    """This user's cache; none for a user who has no home, as in a container."""
    try:
        return private_folder.cache_root()
    except RuntimeError:
        _log.warning("this user has no home; set TWOFOLD_CACHE to keep what is measured")
        return None


async def serve(settings: InfererSettings) -> None:
    """Runs an inferer until SIGTERM or SIGINT."""
    app = App(settings, at_rest=_freeze)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.stop)
    await app.run()


def run(settings: InfererSettings) -> None:
    """Runs `serve` in this process, on uvloop where it is installed."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if _is_native(settings):  # each call of grpcio's leaves a circle, with the message if it fails
        gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(settings))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:  # it is not on every platform
        return None
    import uvloop  # noqa: PLC0415 - only where it is

    return uvloop.new_event_loop

"""The trainer's process: starts the parts its role asks for, drains them when told to stop."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from trainer import childproc, tasks
from trainer.api.desk import Desk
from trainer.api.server import ApiServer, CannotBind, Checks
from trainer.api.usage import DatasetUsage
from trainer.checker import FileChecker, GraphChecker
from trainer.housekeeping import Housekeeper
from trainer.metrics import Metrics, serve
from trainer.outage import PASSING, Backoff, Outages
from trainer.recovery import Recovery
from trainer.site import Site
from trainer.warm import WarmChild
from trainer.worker import Worker
from twofold.config import TrainerSettings, UnusableSettings, is_insecure_accepted
from twofold.housekeeping import Place
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, SystemRandomness, World
from twofold.store import LocalStore, StoreError

logger = logging.getLogger(__name__)

#: Threads that wait for the disk: uploads and durable writes of many calls at once.
_STORE_THREADS = 32
#: Seconds between two looks at the depth of the queue, for the metrics.
_DEPTH_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Trainer:
    """What every role has."""

    settings: TrainerSettings
    store: LocalStore
    queue: RedisQueue
    ledger: Ledger
    metrics: Metrics


async def run(settings: TrainerSettings, stop: asyncio.Event) -> None:
    """Serves and works until `stop`, then drains.

    Raises:
        UnusableSettings: an address, the store or the queue's server cannot be used.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_STORE_THREADS, "store"))
    if is_insecure_accepted():
        logger.warning("exposure without TLS and tokens is accepted by the operator")
    async with _opened(settings) as trainer, _listening(trainer, stop) as api:
        if await _is_queue_usable(trainer, stop):
            if api is not None:
                await api.serve()
            await _work(trainer, stop)


@contextlib.asynccontextmanager
async def _opened(settings: TrainerSettings) -> AsyncGenerator[Trainer]:
    store = LocalStore(settings.store)
    try:
        # Makes the root and the folder of temporary files.
        await asyncio.to_thread(store.temporary)
    except StoreError as error:
        raise UnusableSettings(
            f"TWOFOLD_STORE is {str(settings.store)!r}: it cannot be written; give the trainer "
            "a folder of its own"
        ) from error
    async with RedisQueue(settings.redis_url) as queue:
        ledger = Ledger(store, queue, World(), settings.job_policy)
        yield Trainer(settings, store, queue, ledger, Metrics())


@contextlib.asynccontextmanager
async def _listening(trainer: Trainer, stop: asyncio.Event) -> AsyncGenerator[ApiServer | None]:
    """The metrics and the API, if this role has one, which drains as soon as `stop` is set."""
    settings = trainer.settings
    graphs = GraphChecker()
    api = None if settings.role == "worker" else _make_api(trainer, graphs)
    with _metrics_page(trainer) as page:
        try:
            address = await api.start() if api is not None else ""
        except CannotBind as error:
            raise UnusableSettings(str(error)) from error
        logger.info("listening", extra={"address": address, "metrics": page})
        draining = asyncio.create_task(_drain_at(stop, api, settings.drain_s))
        try:
            yield api
        finally:
            stop.set()
            await draining
            await graphs.close()


async def _drain_at(stop: asyncio.Event, api: ApiServer | None, within_s: float) -> None:
    await stop.wait()
    if api is not None:
        await api.drain(within_s)


def _make_api(trainer: Trainer, graphs: GraphChecker) -> ApiServer:
    desk = Desk(trainer.ledger, trainer.store, SystemClock(), DatasetUsage(), asyncio.Event())
    return ApiServer(desk, trainer.settings, trainer.metrics, Checks(FileChecker(), graphs))


@contextlib.contextmanager
def _metrics_page(trainer: Trainer) -> Generator[str]:
    wanted = trainer.settings.metrics_address
    with contextlib.ExitStack() as stack:
        try:
            page = stack.enter_context(serve(trainer.metrics, wanted))
        except OSError as error:
            raise UnusableSettings(
                f"TWOFOLD_METRICS_ADDRESS is {wanted!r}: it cannot be listened on; is it in use?"
            ) from error
        yield page.address


async def _is_queue_usable(trainer: Trainer, stop: asyncio.Event) -> bool:
    """Waits for the queue's server; False if told to stop before. Raises UnusableSettings."""
    backoff = Backoff(SystemRandomness(), longest_s=2.0)
    while not stop.is_set():
        try:
            await trainer.queue.check_server(insecure=is_insecure_accepted())
            await trainer.ledger.pair()
        except PASSING:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next_s()):
                    await stop.wait()
        else:
            return True
    return False


async def _work(trainer: Trainer, stop: asyncio.Event) -> None:
    """Runs the worker, if this role has one, until `stop` and then for the drain time at most."""
    outages = Outages()
    measuring = asyncio.create_task(_measure_depth(trainer))
    recovering = asyncio.create_task(_recovery(trainer, outages).run())
    collecting = asyncio.create_task(_housekeeper(trainer, outages).run())
    working = (
        asyncio.create_task(_worker(trainer, outages).run(stop)) if _has_worker(trainer) else None
    )
    stopping = asyncio.create_task(stop.wait())
    decisive = [task for task in (working, stopping) if task is not None]
    try:
        await asyncio.wait(decisive, return_when=asyncio.FIRST_COMPLETED)
        if working is not None:
            await asyncio.wait((working,), timeout=trainer.settings.drain_s)
    finally:
        await tasks.end(measuring, recovering, collecting, *decisive)
    if working is not None and not working.cancelled():
        working.result()  # raises what ended it


def _has_worker(trainer: Trainer) -> bool:
    return trainer.settings.role != "api"


def _recovery(trainer: Trainer, outages: Outages) -> Recovery:
    return Recovery(trainer.ledger, SystemClock(), SystemRandomness(), outages)


def _housekeeper(trainer: Trainer, outages: Outages) -> Housekeeper:
    settings = trainer.settings
    # Beside an API, of which there are few; a worker's machine may be a busy one.
    interval_s = 0.0 if settings.role == "worker" else settings.collect_interval_s
    place = Place(trainer.store, trainer.queue, World(), LOCAL.tenant)
    return Housekeeper(place, settings.collector_policy, interval_s, outages)


def _worker(trainer: Trainer, outages: Outages) -> Worker:
    settings = trainer.settings
    site = Site(
        ledger=trainer.ledger,
        store=trainer.store,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        settings=settings,
        metrics=trainer.metrics,
        outages=outages,
    )
    start_child = partial(childproc.start, nice=settings.nice)
    children = WarmChild(start_child, settings.jobs_per_child, trainer.metrics)
    # Unique: after a restart in a container the process id is the same.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return Worker(site, children, name)


async def _measure_depth(trainer: Trainer) -> None:
    while True:
        try:
            depth = await trainer.ledger.depth()
        except PASSING:
            pass  # the connection has said it
        except Exception:  # the top of a task
            logger.exception("the queue's depth cannot be read")
        else:
            for kind in ("waiting", "delayed", "running", "dead"):
                trainer.metrics.queue_depth.labels(kind).set(getattr(depth, kind))
        await asyncio.sleep(_DEPTH_INTERVAL_S)

"""What the forked processes do: work on jobs with the product's worker, or answer clients."""

import asyncio
import hashlib
import json
import logging
import signal
from contextlib import suppress
from pathlib import Path
from typing import cast

from tests.chaos.final import state_name
from tests.chaos.history import JsonLines
from tests.chaos.real.options import Options
from tests.chaos.real.toy import ToyChild
from trainer import tasks
from trainer.childproc import Child
from trainer.metrics import Metrics
from trainer.outage import Outages
from trainer.recovery import Recovery
from trainer.site import Site
from trainer.warm import WarmChild
from trainer.worker import Worker
from twofold.config import TrainerSettings
from twofold.errors import TwofoldError
from twofold.internal.v1 import record_pb2
from twofold.jobs import Policy
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, SystemRandomness, World
from twofold.store import LocalStore
from twofold.v1 import training_pb2

#: More than the wait of any toy job, so that no child is replaced for its age.
_JOBS_PER_CHILD = 1_000_000
HOUR_MS = 3_600_000
_LINE_LIMIT = 1 << 16

logger = logging.getLogger(__name__)


class SkewedClock(SystemClock):
    """A machine whose wall clock is wrong, and jumps an hour ahead at SIGUSR1, back at SIGUSR2."""

    def __init__(self, skew_ms: int) -> None:
        self.skew_ms = skew_ms

    def time_ms(self) -> int:
        return super().time_ms() + self.skew_ms

    def jump(self, by_ms: int) -> None:
        self.skew_ms += by_ms


class Heedless(Ledger):
    """The ledger of a worker that looks after no jobs but its own."""

    async def reap(self) -> int:
        """Leaves lost jobs to others."""
        return 0

    async def promote(self) -> int:
        """Leaves due jobs to others."""
        return 0


async def run(options: Options) -> None:
    """The process' life, until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    store = LocalStore(Path(options.store))
    clock = SkewedClock(options.skew_ms)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, clock.jump, HOUR_MS)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, clock.jump, -HOUR_MS)
    policy = Policy(
        lease_ms=int(options.lease_s * 1000), retry_backoff_ms=int(options.retry_backoff_s * 1000)
    )
    async with RedisQueue(options.url) as queue:
        kind = Ledger if options.patrols else Heedless
        ledger = kind(store, queue, World(clock), policy)
        recovery = Recovery(ledger, clock, SystemRandomness(), Outages())
        recovering = asyncio.create_task(recovery.run())
        if options.role == "worker":
            await _work(options, _site(options, ledger, store, clock), stop)
        else:
            await _answer(options, ledger, stop)
        await tasks.end(recovering)


def _site(options: Options, ledger: Ledger, store: LocalStore, clock: SystemClock) -> Site:
    settings = TrainerSettings.model_validate(
        {
            "store": options.store,
            "lease_s": options.lease_s,
            "beat_s": options.beat_s,
            "drain_s": options.drain_s,
        }
    )
    return Site(
        ledger=ledger,
        store=store,
        clock=clock,
        randomness=SystemRandomness(),
        settings=settings,
        metrics=Metrics(),
        outages=Outages(),
    )


async def _work(options: Options, site: Site, stop: asyncio.Event) -> None:
    sink = JsonLines(Path(options.history))

    async def start_child() -> Child:
        return ToyChild(options.name, options.epoch_s, sink)

    children = WarmChild(start_child, _JOBS_PER_CHILD, site.metrics)
    await Worker(site, children, options.name).run(stop)


async def _answer(options: Options, ledger: Ledger, stop: asyncio.Event) -> None:
    """Answers one request per connection on the unix socket."""
    desk = Desk(ledger)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            line = await reader.readline()
            if line:
                writer.write(json.dumps(await desk.answer(line)).encode() + b"\n")
                await writer.drain()
            writer.close()

    server = await asyncio.start_unix_server(answer, options.socket, limit=_LINE_LIMIT)
    async with server:
        await stop.wait()


class Desk:
    """Calls the ledger as the trainer's handlers do, and answers in plain values."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def answer(self, line: bytes) -> dict[str, object]:
        """The answer's fields, or "code"."""
        try:
            return await self._call(cast("dict[str, str]", json.loads(line)))
        except TwofoldError as error:
            return {"code": error.code, "text": error.message}
        except Exception:  # the top of a call, as trainer.api.edge is
            logger.exception("a call broke")
            return {"code": "INTERNAL", "text": "internal error"}

    async def _call(self, asked: dict[str, str]) -> dict[str, object]:
        ledger, job_id = self._ledger, asked.get("job", "")
        match asked["op"]:
            case "create":
                return _named(await ledger.create(LOCAL, _record(asked)))
            case "retry":
                return _named(await ledger.retry(LOCAL, job_id, asked["request_id"]))
            case "cancel":
                return {"state": state_name((await ledger.cancel(LOCAL, job_id)).state)}
            case "get":
                return _seen(await ledger.get(LOCAL, job_id))
            case other:
                raise ValueError(other)


def _record(asked: dict[str, str]) -> record_pb2.JobRecord:
    text = json.dumps([asked["model"], asked["epochs"]])
    record = record_pb2.JobRecord(request_id=asked["request_id"])
    record.request_sha256 = hashlib.sha256(text.encode()).hexdigest()
    record.spec.model = asked["model"]
    record.spec.data.dataset = "xor"
    record.spec.training.epochs = int(asked["epochs"])
    record.spec.limits.max_retries = 1
    record.spec.limits.retry_user_errors = True
    return record


def _named(job: training_pb2.TrainingJob) -> dict[str, object]:
    return {"job": job.name.removeprefix("jobs/")}


def _seen(job: training_pb2.TrainingJob) -> dict[str, object]:
    number = job.model_version.rpartition("/")[2]
    return {
        "state": state_name(job.state),
        "version": int(number or 0),
        "attempt_count": job.attempt_count,
        "eviction_count": job.eviction_count,
    }

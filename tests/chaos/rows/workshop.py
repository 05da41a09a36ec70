"""A trainer within the test's process: the real worker and ledger, and children that misbehave."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.valkey import Valkey
from tests.waiting import until
from trainer import childproc
from trainer.metrics import Metrics
from trainer.outage import Outages
from trainer.site import Site
from trainer.warm import WarmChild
from trainer.worker import Worker
from twofold.config import TrainerSettings
from twofold.internal.v1 import record_pb2
from twofold.jobs import TERMINAL, Policy
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, SystemRandomness, World
from twofold.store import LocalStore
from twofold.v1 import spec_pb2, training_pb2


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the tests ask of it."""

    ledger: Ledger
    store: LocalStore

    async def submit(self, spec: spec_pb2.TrainingSpec) -> str:
        """A new job's identifier."""
        made = await self.ledger.create(LOCAL, record_pb2.JobRecord(spec=spec))
        return made.name.removeprefix("jobs/")

    async def ended(self, job_id: str, timeout_s: float = 60) -> training_pb2.TrainingJob:
        """The job once it has ended; raises TimeoutError."""

        async def has_ended() -> bool:
            return (await self.ledger.get(LOCAL, job_id)).state in TERMINAL

        await until(has_ended, timeout_s)
        return await self.ledger.get(LOCAL, job_id)


@asynccontextmanager
async def working(
    valkey: Valkey, folder: Path, program: str, workers: int = 1
) -> AsyncGenerator[Workshop]:
    """Workers whose children run `python -m PROGRAM`."""
    settings = TrainerSettings.model_validate(
        {"store": folder / "store", "lease_s": 3, "beat_s": 0.5, "drain_s": 2, "threads": 1}
    )
    store, stop = LocalStore(settings.store), asyncio.Event()
    async with RedisQueue(valkey.url) as queue:
        ledger = Ledger(store, queue, World(), Policy(lease_ms=3_000, retry_backoff_ms=50))
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                worker = _worker(ledger, store, settings, program, f"worker-{number}")
                group.create_task(worker.run(stop))
            try:
                yield Workshop(ledger, store)
            finally:
                stop.set()


def _worker(
    ledger: Ledger, store: LocalStore, settings: TrainerSettings, program: str, name: str
) -> Worker:
    metrics = Metrics()
    site = Site(ledger, store, SystemClock(), SystemRandomness(), settings, metrics, Outages())
    start = partial(childproc.start, program=("-m", program))
    return Worker(site, WarmChild(start, settings.jobs_per_child, metrics), name)

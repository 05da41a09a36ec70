"""What tests of the ledger work with."""

import asyncio
from pathlib import Path
from typing import Self

from google.protobuf import timestamp_pb2

from tests.twofold.samples import FILES, sample_record, trained_manifest
from tests.valkey import Valkey
from twofold import keys, versions
from twofold.internal.v1 import record_pb2
from twofold.jobs import Policy
from twofold.lifecycle import Claim, Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue, schema
from twofold.seams import SystemClock, World
from twofold.store import LocalStore, StoreError
from twofold.v1 import training_pb2

TENANT = LOCAL.tenant
#: Long: a slow machine must not lose a lease. Tests take it away, or bring their own policy.
LEASE_MS = 60_000
POLICY = Policy(lease_ms=LEASE_MS, retry_backoff_ms=20, max_queued_jobs=5)


class BenchQueue(RedisQueue):
    """A queue that has always been up, unless a test says otherwise."""

    assume_steady = True

    async def is_steady(self, for_ms: int, stall_ms: int) -> bool:
        return self.assume_steady or await super().is_steady(for_ms, stall_ms)


class BenchStore(LocalStore):
    """A store some of whose folders cannot be read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        #: Parts of the keys that cannot.
        self.unreadable: set[str] = set()

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        self._check(key)
        return super().read(key, limit_bytes)

    def names(self, key: str) -> list[str]:
        self._check(key)
        return super().names(key)

    def exists(self, key: str) -> bool:
        self._check(key)
        return super().exists(key)

    def _check(self, key: str) -> None:
        if not self.unreadable.isdisjoint(key.split("/")):
            raise StoreError("the store cannot be used now; try again later")


class Bench:
    """A ledger with its queue and store, as one process has them."""

    def __init__(self, valkey: Valkey, root: Path, policy: Policy = POLICY) -> None:
        self.valkey = valkey
        self.store = BenchStore(root)
        self.clock = SystemClock()
        self.queue = BenchQueue(valkey.url)
        self.ledger = Ledger(self.store, self.queue, World(self.clock), policy)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.queue.close()

    async def create(self, request_id: str = "", model: str = "digits") -> str:
        """A new job's identifier."""
        job = await self.ledger.create(LOCAL, sample_record(model, request_id))
        return job.name.removeprefix("jobs/")

    async def create_delayed(self, delay_ms: int = 600_000) -> str:
        """A job that is due later by the server's clock."""
        record = sample_record()
        due = timestamp_pb2.Timestamp()
        due.FromMilliseconds(await self.queue.time_ms() + delay_ms)
        record.not_before_time.CopyFrom(due)
        return (await self.ledger.create(LOCAL, record)).name.removeprefix("jobs/")

    async def claim(self, worker: str = "w1", timeout_s: float = 5) -> Claim:
        """The next job; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while (claim := await self.ledger.claim(worker, 0.2)) is None:
                pass
        return claim

    async def get(self, job_id: str) -> training_pb2.TrainingJob:
        return await self.ledger.get(LOCAL, job_id)

    async def watch(self, job_id: str, cursor: str = "") -> list[training_pb2.TrainingJob]:
        """All events until the job has ended."""
        return [job async for job, _, _ in self.ledger.watch(LOCAL, job_id, cursor)]

    def export(self, claim: Claim) -> None:
        """Writes what a training process would."""
        folder = keys.attempt_artifact(TENANT, claim.job.id, claim.attempt)
        for name, data in FILES.items():
            self.store.create(f"{folder}/{name}", data)

    async def publish(self, claim: Claim) -> record_pb2.JobOutcome:
        self.export(claim)
        return await self.ledger.publish(claim, trained_manifest(claim.job.model))

    def visible(self, model: str = "digits") -> list[int]:
        return [found.number for found in versions.visible_versions(self.store, TENANT, model)]

    def lose_lease(self, job_id: str) -> None:
        """As if nobody had touched the job for longer than its lease."""
        entry, owner = self._field(job_id, "entry"), self._field(job_id, "owner") or "w1"
        queue = schema.queue(TENANT)
        idle = ("IDLE", LEASE_MS + 1, "JUSTID")
        self.valkey.command("XCLAIM", queue, schema.GROUP, owner, 0, entry, *idle)
        self.valkey.command("HSET", schema.job(TENANT, job_id), "lease_until_ms", 0)

    async def take_over(self, job_id: str) -> None:
        """Loses the job's lease and reaps it."""
        self.lose_lease(job_id)
        assert await self.ledger.reap() == 1

    async def promote(self, job_id: str) -> None:
        """Lets a delayed job's time come, and promotes it."""
        self.come_due(job_id)
        assert await self.ledger.promote() == 1

    def come_due(self, job_id: str) -> None:
        """As if a delayed job's time had come."""
        self.valkey.command("ZADD", schema.delayed(TENANT), 1, job_id)
        self.valkey.command("HSET", schema.job(TENANT, job_id), "due_ms", 1)

    def _field(self, job_id: str, name: str) -> str:
        found = self.valkey.command("HGET", schema.job(TENANT, job_id), name)
        return found.decode() if isinstance(found, bytes) else ""

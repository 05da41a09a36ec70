"""A real gRPC server of the API over fakes, and a client for it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from tests.trainer.fakes import make_settings
from trainer.api.datasets import CheckFile
from trainer.api.desk import Desk
from trainer.api.server import ApiServer, Checks
from trainer.api.usage import DatasetUsage
from trainer.metrics import Metrics
from twofold import rpc
from twofold.errors import NotFound, TwofoldError
from twofold.internal.v1 import record_pb2
from twofold.principal import Principal
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.v1 import dataset_pb2, graph_pb2, training_pb2

JOB = "01J00000000000000000000000"


@dataclass
class FakeApiLedger:
    """Jobs in memory; `error` is raised by every call while it is set."""

    jobs: dict[str, training_pb2.TrainingJob] = field(
        default_factory=dict[str, training_pb2.TrainingJob]
    )
    records: list[record_pb2.JobRecord] = field(default_factory=list[record_pb2.JobRecord])
    asked: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    announced: list[str] = field(default_factory=list[str])
    error: Exception | None = None
    #: While cleared, `create` waits.
    may_create: asyncio.Event = field(default_factory=asyncio.Event)
    creating: asyncio.Event = field(default_factory=asyncio.Event)
    watch_closed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_create.set()

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    async def create(
        self, principal: Principal, record: record_pb2.JobRecord
    ) -> training_pb2.TrainingJob:
        del principal
        self._check()
        self.creating.set()
        await self.may_create.wait()
        self.records.append(record)
        job = training_pb2.TrainingJob(
            name=f"jobs/{JOB}", spec=record.spec, state=training_pb2.JOB_STATE_PENDING
        )
        self.jobs[JOB] = job
        return job

    async def get(self, principal: Principal, job_id: str) -> training_pb2.TrainingJob:
        self._check()
        self.asked.append((principal, job_id))
        if job_id not in self.jobs:
            raise NotFound(f"there is no jobs/{job_id}", resource=f"jobs/{job_id}")
        return self.jobs[job_id]

    async def watch(
        self, principal: Principal, job_id: str, cursor: str
    ) -> AsyncIterator[tuple[training_pb2.TrainingJob, str, int]]:
        self._check()
        job = await self.get(principal, job_id)
        try:
            yield job, cursor or "1-0", 1_000
            if job.state != training_pb2.JOB_STATE_SUCCEEDED:
                await asyncio.Event().wait()
        finally:
            self.watch_closed.set()

    async def cancel(self, principal: Principal, job_id: str) -> training_pb2.TrainingJob:
        job = await self.get(principal, job_id)
        job.state = training_pb2.JOB_STATE_CANCELLED
        return job

    async def retry(
        self, principal: Principal, job_id: str, request_id: str
    ) -> training_pb2.TrainingJob:
        job = await self.get(principal, job_id)
        return training_pb2.TrainingJob(retry_of=job.name, request_id=request_id, spec=job.spec)

    async def list(
        self,
        principal: Principal,
        page_size: int,
        page_token: str,
        states: Sequence[training_pb2.JobState],
        model: str,
    ) -> "tuple[list[training_pb2.TrainingJob], str]":
        del principal
        self._check()
        self.asked.append((page_size, page_token, list(states), model))
        # Two pages, so that callers must follow the token.
        if not page_token and self.jobs:
            return [], "next"
        return [job for job in self.jobs.values() if not states or job.state in states], ""

    async def announce_versions(self, tenant: str) -> None:
        self._check()
        self.announced.append(tenant)


async def describe(path: Path, file_format: dataset_pb2.DatasetFormat) -> dataset_pb2.Dataset:
    """A checker that takes any file."""
    del path, file_format
    dataset = dataset_pb2.Dataset(row_count=100)
    dataset.columns.add(name="a", kind=dataset_pb2.COLUMN_KIND_REAL)
    dataset.columns.add(name="label", kind=dataset_pb2.COLUMN_KIND_INTEGER, distinct_count=2)
    return dataset


async def measure_graph(graph: graph_pb2.Graph | None, loss: graph_pb2.Graph | None = None) -> int:
    """A GraphChecker that likes everything."""
    return 10 * sum(len(each.nodes) for each in (graph, loss) if each is not None)


@dataclass
class Served:
    """What a test of the API holds."""

    server: ApiServer
    channel: grpc.aio.Channel
    address: str
    ledger: FakeApiLedger
    store: LocalStore
    metrics: Metrics
    desk: Desk


@asynccontextmanager
async def serving(
    tmp_path: Path, check_file: CheckFile = describe, **changes: object
) -> AsyncGenerator[Served]:
    settings = make_settings(tmp_path, train_address="127.0.0.1:0", **changes)
    ledger, metrics, store = FakeApiLedger(), Metrics(), LocalStore(settings.store)
    desk = Desk(ledger, store, SystemClock(), DatasetUsage(), asyncio.Event())
    server = ApiServer(desk, settings, metrics, Checks(check_file, measure_graph))
    address = await server.start()
    await server.serve()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Served(server, channel, address, ledger, store, metrics, desk)
    finally:
        await server.drain(0.1)


async def error_of(call: Awaitable[object]) -> TwofoldError:
    """The error that a call ends with; raises AssertionError where it does not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return rpc.from_rpc_error(error)
    raise AssertionError("the call succeeded")

"""Jobs of the asyncio client."""

import builtins
from collections.abc import AsyncGenerator
from contextlib import aclosing

from twofold.client.aio.listing import collect
from twofold.client.aio.transport import AsyncTransport
from twofold.client.calls import jobs
from twofold.client.calls.jobs import CreateOptions, JobFilter
from twofold.client.following import TERMINAL_STATES, JobEvent, outcome, version_number
from twofold.client.submission import Spec, spec_of
from twofold.series import MetricPoint
from twofold.v1 import training_pb2 as pb


class AsyncJobHandle:
    """A job, to follow and to steer."""

    def __init__(self, jobs: "AsyncJobs", job: pb.TrainingJob) -> None:
        self._jobs = jobs
        self.job = job
        """The job as last seen."""

    def __repr__(self) -> str:
        return f"AsyncJobHandle({self.id}, {pb.JobState.Name(self.job.state)})"

    @property
    def id(self) -> str:
        """The ULID."""
        return self.job.name.removeprefix("jobs/")

    @property
    def version(self) -> int:
        """The number of the version it published; raises JobFailed where it has not."""
        return version_number(self.job)

    async def refresh(self) -> pb.TrainingJob:
        """Reads the job anew."""
        self.job = await self._jobs.get(self.id)
        return self.job

    async def watch(
        self, *, cursor: str = "", timeout_s: float | None = None
    ) -> AsyncGenerator[JobEvent]:
        """Its events until it has ended; see AsyncJobs.watch."""
        async with aclosing(
            self._jobs.watch(self.id, cursor=cursor, timeout_s=timeout_s)
        ) as events:
            async for event in events:
                self.job = event.job
                yield event

    async def wait(self, timeout_s: float | None = None) -> pb.TrainingJob:
        """The job once a version is published; None waits as long as it takes.

        Raises:
            JobFailed: it ended without a version.
            DeadlineExceeded: it has not ended in time; it goes on.
        """
        if self.job.state not in TERMINAL_STATES:
            async with aclosing(self.watch(timeout_s=timeout_s)) as events:
                async for _ in events:
                    pass
        return outcome(self.job)

    async def metrics(self, max_points: int | None = None) -> list[MetricPoint]:
        """The figures of its epochs; see AsyncJobs.metrics."""
        return await self._jobs.metrics(self.id, max_points)

    async def cancel(self) -> pb.TrainingJob:
        """Asks for its cancellation; idempotent."""
        self.job = await self._jobs.cancel(self.id)
        return self.job

    async def retry(self) -> "AsyncJobHandle":
        """A new job from the spec of this one, which must have ended."""
        return self._jobs.handle(await self._jobs.retry(self.id))


class AsyncJobs:
    """TrainingService."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def handle(self, job: pb.TrainingJob) -> AsyncJobHandle:
        """A handle of a job that was read."""
        return AsyncJobHandle(self, job)

    async def create(
        self, spec: Spec, options: CreateOptions | None = None, timeout_s: float | None = None
    ) -> pb.TrainingJob:
        """Submits a job; an answer means that it is durable.

        It carries a request_id, made here unless `options` has one, so that a repeated create
        cannot train twice.
        """
        call = jobs.create(spec_of(spec), options or CreateOptions())
        return await self._transport.run(call, timeout_s)

    async def get(self, job: str, timeout_s: float | None = None) -> pb.TrainingJob:
        """Reads a job."""
        return await self._transport.run(jobs.get(job), timeout_s)

    async def list(
        self,
        wanted: JobFilter | None = None,
        limit: int | None = None,
        timeout_s: float | None = None,
    ) -> list[pb.TrainingJob]:
        """The newest jobs, at most `limit` (None: all); `timeout_s` holds for each page."""
        only = wanted or JobFilter()
        return await collect(
            lambda size, token: self._transport.run(jobs.list_page(only, size, token), timeout_s),
            limit,
        )

    def watch(
        self, job: str, *, cursor: str = "", timeout_s: float | None = None
    ) -> AsyncGenerator[JobEvent]:
        """A job's events after `cursor` until it has ended; None waits as long as it takes.

        A broken stream is resumed where it broke; no event is lost or comes twice.

        Raises:
            DeadlineExceeded: the job has not ended in time.
            Unavailable: the trainer has been out of reach for a minute.
        """
        return self._transport.follow(job, cursor, timeout_s)

    async def metrics(
        self, job: str, max_points: int | None = None, timeout_s: float | None = None
    ) -> builtins.list[MetricPoint]:
        """The figures of a job's epochs; `timeout_s` holds for each page.

        Each epoch once, by epoch, also while it trains. `max_points` (2 to 10,000) keeps the first,
        the last and the peaks of both losses; None: all that are kept, every epoch up to 10,000
        and further apart beyond.
        """
        return await collect(
            lambda size, token: self._transport.run(
                jobs.metrics_page(job, max_points, size, token), timeout_s
            ),
            None,
        )

    async def cancel(self, job: str, timeout_s: float | None = None) -> pb.TrainingJob:
        """Asks for cancellation; idempotent. A job that has ended stays what it is."""
        return await self._transport.run(jobs.cancel(job), timeout_s)

    async def retry(
        self, job: str, request_id: str | None = None, timeout_s: float | None = None
    ) -> pb.TrainingJob:
        """Makes a new job from the spec of one that has ended; see `create` for `request_id`."""
        call = jobs.retry(job, request_id or jobs.new_request_id())
        return await self._transport.run(call, timeout_s)

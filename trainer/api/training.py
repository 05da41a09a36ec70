"""TrainingService: jobs are validated whole, created durably, listed, watched and cancelled."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Generator
from contextlib import ExitStack, aclosing, contextmanager

from google.protobuf import timestamp_pb2

from trainer.api import metrics, paging
from trainer.api.desk import Desk
from trainer.api.graphs import GraphDesk, MeasureGraph
from trainer.api.models import pinned
from trainer.api.streams import StreamSlots, until
from trainer.datasets import datasets_of, need_dataset, need_rows
from twofold import formats, names, series_files
from twofold.errors import InvalidField
from twofold.internal.v1 import record_pb2
from twofold.principal import Principal
from twofold.spec import Bounds, complete, dataset_of, truth_table
from twofold.v1 import spec_pb2, training_pb2

_MAX_CURSOR = 64
_MAX_DELAY_MS = 365 * 86_400_000
_MAX_SECONDS = 253_402_300_799  # the end of year 9999, where Timestamp ends


class TrainingApi:
    """Handlers of TrainingService; see protos/twofold/v1/training.proto."""

    def __init__(
        self, desk: Desk, bounds: Bounds, max_watch_streams: int, measure_graph: MeasureGraph
    ) -> None:
        self._desk = desk
        self._bounds = bounds
        self._graphs = GraphDesk(measure_graph, bounds.max_parameters)
        self._streams = StreamSlots(
            max_watch_streams, "max_watch_streams", "close one or read the job now and then"
        )

    async def CreateTrainingJob(
        self, request: training_pb2.CreateTrainingJobRequest, principal: Principal
    ) -> training_pb2.CreateTrainingJobResponse:
        """Validates everything before anything is stored."""
        record = self._record(request, principal)
        dataset = dataset_of(request.spec)
        with self._using(principal, request.spec):
            record.spec.CopyFrom(await self._completed(request.spec, principal, dataset))
            if request.validate_only:
                job = training_pb2.TrainingJob(
                    spec=record.spec, state=training_pb2.JOB_STATE_PENDING
                )
            else:
                job = await self._desk.ledger.create(principal, record)
        return training_pb2.CreateTrainingJobResponse(job=job)

    def _record(
        self, request: training_pb2.CreateTrainingJobRequest, principal: Principal
    ) -> record_pb2.JobRecord:
        now_ms = self._desk.clock.time_ms()
        record = record_pb2.JobRecord(
            format_version=formats.JOB,
            principal=principal.name,
            request_id=_request_id(request.request_id),
            request_sha256=request_sha256(request),
        )
        record.create_time.FromMilliseconds(now_ms)
        if request.HasField("not_before_time"):
            _check_time(request.not_before_time, now_ms)
            record.not_before_time.CopyFrom(request.not_before_time)
        return record

    async def _completed(
        self, spec: spec_pb2.TrainingSpec, principal: Principal, dataset: str
    ) -> spec_pb2.TrainingSpec:
        store, tenant = self._desk.store, principal.tenant
        if dataset in names.TRUTH_TABLES:
            table = truth_table(dataset)
            columns, row_count = list(table.columns), table.row_count
        else:
            found = await asyncio.to_thread(need_rows, store, tenant, dataset)
            columns, row_count = list(found.columns), found.row_count
        asked = spec_pb2.TrainingSpec()
        asked.CopyFrom(spec)
        if name := spec.network.warm_start:
            asked.network.warm_start = await asyncio.to_thread(pinned, store, tenant, name)
        row_elements = await self._graphs.measured(spec, store, tenant)
        return complete(asked, columns, row_count, self._bounds, row_elements)

    @contextmanager
    def _using(self, principal: Principal, spec: spec_pb2.TrainingSpec) -> Generator[None]:
        """Keeps what the job reads from being deleted meanwhile."""
        with ExitStack() as held:
            for sha256 in datasets_of(spec):
                held.enter_context(self._desk.usage.creating(principal.tenant, sha256))
            yield

    async def GetTrainingJob(
        self, request: training_pb2.GetTrainingJobRequest, principal: Principal
    ) -> training_pb2.GetTrainingJobResponse:
        """Reads one job."""
        job = await self._desk.ledger.get(principal, _job_id(request.name))
        return training_pb2.GetTrainingJobResponse(job=job)

    async def ListTrainingJobs(
        self, request: training_pb2.ListTrainingJobsRequest, principal: Principal
    ) -> training_pb2.ListTrainingJobsResponse:
        """A page, newest first."""
        size = paging.page_size(request.page_size)
        if request.model:
            names.check_name("model", request.model)
        for state in request.states:
            if not state or state not in training_pb2.JobState.values():
                allowed = ", ".join(training_pb2.JobState.keys()[1:])
                raise InvalidField.of("states", state, allowed)
        jobs, token = await self._desk.ledger.list(
            principal, size, request.page_token, list(request.states), request.model
        )
        return training_pb2.ListTrainingJobsResponse(
            jobs=[_without_graph(job) for job in jobs], next_page_token=token
        )

    async def WatchTrainingJob(
        self, request: training_pb2.WatchTrainingJobRequest, principal: Principal
    ) -> AsyncIterator[training_pb2.WatchTrainingJobResponse]:
        """The job's events after the cursor, until it has ended or the server drains."""
        job_id = _job_id(request.name)
        if len(request.cursor) > _MAX_CURSOR:
            raise InvalidField.of("cursor", request.cursor, "cursor of the last event seen")
        with self._streams.taken_by(principal):
            events = self._desk.ledger.watch(principal, job_id, request.cursor)
            async with aclosing(until(self._desk.draining, events)) as undrained:
                async for job, cursor, event_ms in undrained:
                    response = training_pb2.WatchTrainingJobResponse(
                        job=_without_graph(job), cursor=cursor
                    )
                    response.event_time.FromMilliseconds(event_ms)
                    yield response

    async def CancelTrainingJob(
        self, request: training_pb2.CancelTrainingJobRequest, principal: Principal
    ) -> training_pb2.CancelTrainingJobResponse:
        """Asks for cancellation; idempotent."""
        job = await self._desk.ledger.cancel(principal, _job_id(request.name))
        return training_pb2.CancelTrainingJobResponse(job=job)

    async def RetryTrainingJob(
        self, request: training_pb2.RetryTrainingJobRequest, principal: Principal
    ) -> training_pb2.RetryTrainingJobResponse:
        """Makes a new job of an ended one's spec, if its data set is still there."""
        job_id = _job_id(request.name)
        request_id = _request_id(request.request_id)
        spec = (await self._desk.ledger.get(principal, job_id)).spec
        with self._using(principal, spec):
            for sha256 in datasets_of(spec):
                await asyncio.to_thread(need_dataset, self._desk.store, principal.tenant, sha256)
            job = await self._desk.ledger.retry(principal, job_id, request_id)
        return training_pb2.RetryTrainingJobResponse(job=job)

    async def GetTrainingMetrics(
        self, request: training_pb2.GetTrainingMetricsRequest, principal: Principal
    ) -> training_pb2.GetTrainingMetricsResponse:
        """A page of the job's metric series, by epoch."""
        job_id = _job_id(request.name)
        asked = metrics.asked(request)
        await self._desk.ledger.get(principal, job_id)  # raises NotFound
        found = await asyncio.to_thread(
            series_files.read, self._desk.store, principal.tenant, job_id
        )
        return metrics.page(found, asked)


def _without_graph(job: training_pb2.TrainingJob) -> training_pb2.TrainingJob:
    """`job` as it is sent many times over: a graph may take a megabyte."""
    job.spec.network.ClearField("graph")
    job.spec.training.ClearField("loss_graph")
    return job


def request_sha256(request: training_pb2.CreateTrainingJobRequest) -> str:
    """Tells a repeat of a request from another request with the same request_id."""
    plain = training_pb2.CreateTrainingJobRequest()
    plain.CopyFrom(request)
    plain.ClearField("request_id")
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()


def _job_id(name: str) -> str:
    return names.check_ulid("name", names.resource_id("name", name, "jobs"))


def _request_id(value: str) -> str:
    return names.check_request_id("request_id", value) if value else ""


def _check_time(time: timestamp_pb2.Timestamp, now_ms: int) -> None:
    is_valid = 0 <= time.seconds <= _MAX_SECONDS and 0 <= time.nanos < 1_000_000_000  # noqa: PLR2004
    if not is_valid or time.seconds * 1000 > now_ms + _MAX_DELAY_MS:
        value = f"{time.seconds} s, {time.nanos} ns"
        raise InvalidField.of("not_before_time", value, "a time within the next 365 days")

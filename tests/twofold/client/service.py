"""A trainer in this process: the real services, scripted answers."""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc

from twofold import errors, names, rpc
from twofold.v1 import (
    dataset_pb2,
    dataset_pb2_grpc,
    training_pb2,
    training_pb2_grpc,
)

EVENT_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SEPARATE = 1_000_000


@dataclass
class Script:
    """What the servers do; shared by a test and the server's threads."""

    failures: dict[str, list[errors.TwofoldError]] = field(
        default_factory=lambda: defaultdict[str, list[errors.TwofoldError]](list)
    )
    """Errors that the next calls of an RPC meet, in order."""
    calls: list[str] = field(default_factory=list[str])
    """RPCs that were called."""
    deadlines_s: list[float] = field(default_factory=list[float])
    """Seconds that each call had left."""

    def enter(self, rpc_name: str, context: grpc.ServicerContext) -> None:
        """Counts a call and fails it if a failure is scripted."""
        self.calls.append(rpc_name)
        self.deadlines_s.append(context.time_remaining() or SEPARATE)
        if self.failures[rpc_name]:
            abort(context, self.failures[rpc_name].pop(0))

    def count(self, rpc_name: str) -> int:
        """How often an RPC was called."""
        return self.calls.count(rpc_name)


def abort(context: grpc.ServicerContext, error: errors.TwofoldError) -> None:
    """Ends a call as our servers do."""
    details = rpc.to_status(error).SerializeToString()
    context.set_trailing_metadata(((rpc.DETAILS_KEY, details),))
    context.abort(grpc.StatusCode[error.code], error.message)


def progress(epoch: int, epoch_count: int = 3) -> training_pb2.Progress:
    """Progress of one epoch."""
    made = training_pb2.Progress(
        epoch=epoch,
        epoch_count=epoch_count,
        loss=1 / epoch,
        metrics={"accuracy": epoch / epoch_count},
        rows_per_second=1234.5,
    )
    made.remaining_duration.seconds = epoch_count - epoch
    return made


class FakeTraining(training_pb2_grpc.TrainingServiceServicer):
    """Jobs that play `ending` as soon as they are watched."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.jobs: dict[str, training_pb2.TrainingJob] = {}
        self.requests: list[training_pb2.CreateTrainingJobRequest] = []
        self.ending = training_pb2.TrainingJob(
            state=training_pb2.JOB_STATE_SUCCEEDED, model_version="models/digits/versions/7"
        )
        # A watch stream breaks after so many events, with an error or (None) by ending early.
        self.breaks: list[tuple[int, errors.TwofoldError | None]] = []
        self.cursors: list[str] = []
        # Metric series by job, and how many points were asked for.
        self.points: dict[str, list[training_pb2.MetricPoint]] = {}
        self.max_points: list[int] = []
        self.on_event: Callable[[int], object] = lambda _: None

    def add(self) -> training_pb2.TrainingJob:
        """A job as if it had been created."""
        job = training_pb2.TrainingJob(
            name=f"jobs/{names.ulid()}", state=training_pb2.JOB_STATE_PENDING
        )
        job.create_time.FromDatetime(EVENT_TIME)
        self.jobs[job.name] = job
        return job

    def hold_after(self, count: int) -> threading.Event:
        """Sends no event after `count` until the returned event is set."""
        released = threading.Event()
        self.on_event = lambda number: number > count and released.wait(20)
        return released

    def _find(self, name: str, context: grpc.ServicerContext) -> training_pb2.TrainingJob:
        if name not in self.jobs:
            abort(context, errors.NotFound(f"{name} does not exist", resource=name))
        return self.jobs[name]

    def CreateTrainingJob(
        self, request: training_pb2.CreateTrainingJobRequest, context: grpc.ServicerContext
    ) -> training_pb2.CreateTrainingJobResponse:
        self.requests.append(request)
        known = [job for job in self.jobs.values() if job.request_id == request.request_id]
        job = known[0] if known else self.add()
        job.request_id = request.request_id
        job.spec.CopyFrom(request.spec)
        # After the job is stored: an answer may be lost on its way.
        self.script.enter("CreateTrainingJob", context)
        return training_pb2.CreateTrainingJobResponse(job=job)

    def GetTrainingJob(
        self, request: training_pb2.GetTrainingJobRequest, context: grpc.ServicerContext
    ) -> training_pb2.GetTrainingJobResponse:
        self.script.enter("GetTrainingJob", context)
        return training_pb2.GetTrainingJobResponse(job=self._find(request.name, context))

    def ListTrainingJobs(
        self, request: training_pb2.ListTrainingJobsRequest, context: grpc.ServicerContext
    ) -> training_pb2.ListTrainingJobsResponse:
        self.script.enter("ListTrainingJobs", context)
        wanted = [
            job
            for job in reversed(self.jobs.values())
            if (not request.states or job.state in request.states)
            and request.model in ("", job.spec.model)
        ]
        start = int(request.page_token or 0)
        # Pages of two at most, so that lists have several.
        end = start + min(request.page_size, 2)
        token = str(end) if end < len(wanted) else ""
        return training_pb2.ListTrainingJobsResponse(jobs=wanted[start:end], next_page_token=token)

    def _events(self, job: training_pb2.TrainingJob) -> list[training_pb2.TrainingJob]:
        events: list[training_pb2.TrainingJob] = []
        for epoch in range(1, 4):
            event = training_pb2.TrainingJob()
            event.CopyFrom(job)
            event.ClearField("model_version")
            event.ClearField("reason")
            event.state = training_pb2.JOB_STATE_RUNNING
            event.phase = training_pb2.JOB_PHASE_TRAINING
            event.progress.CopyFrom(progress(epoch))
            events.append(event)
        last = training_pb2.TrainingJob()
        last.CopyFrom(events[-1])
        last.ClearField("phase")
        last.MergeFrom(self.ending)
        return [*events, last]

    def WatchTrainingJob(
        self, request: training_pb2.WatchTrainingJobRequest, context: grpc.ServicerContext
    ) -> Iterator[training_pb2.WatchTrainingJobResponse]:
        self.script.enter("WatchTrainingJob", context)
        job = self._find(request.name, context)
        self.cursors.append(request.cursor)
        limit, error = self.breaks.pop(0) if self.breaks else (SEPARATE, None)
        start = int(request.cursor or 0)
        for number, event in enumerate(self._events(job)[start : start + limit], start + 1):
            self.on_event(number)
            response = training_pb2.WatchTrainingJobResponse(job=event, cursor=str(number))
            response.event_time.FromDatetime(EVENT_TIME)
            yield response
        if error is not None:
            abort(context, error)

    def CancelTrainingJob(
        self, request: training_pb2.CancelTrainingJobRequest, context: grpc.ServicerContext
    ) -> training_pb2.CancelTrainingJobResponse:
        self.script.enter("CancelTrainingJob", context)
        job = self._find(request.name, context)
        job.state = training_pb2.JOB_STATE_CANCELLED
        job.reason = training_pb2.JOB_REASON_USER
        return training_pb2.CancelTrainingJobResponse(job=job)

    def RetryTrainingJob(
        self, request: training_pb2.RetryTrainingJobRequest, context: grpc.ServicerContext
    ) -> training_pb2.RetryTrainingJobResponse:
        self.script.enter("RetryTrainingJob", context)
        old = self._find(request.name, context)
        job = self.add()
        job.retry_of, job.request_id = old.name, request.request_id
        return training_pb2.RetryTrainingJobResponse(job=job)

    def GetTrainingMetrics(
        self, request: training_pb2.GetTrainingMetricsRequest, context: grpc.ServicerContext
    ) -> training_pb2.GetTrainingMetricsResponse:
        self.script.enter("GetTrainingMetrics", context)
        self._find(request.name, context)
        self.max_points.append(request.max_points)
        found = self.points.get(request.name, [])
        start = int(request.page_token or 0)
        end = start + min(request.page_size, 2)
        token = str(end) if end < len(found) else ""
        return training_pb2.GetTrainingMetricsResponse(
            points=found[start:end], next_page_token=token, stride=1
        )


class FakeDatasets(dataset_pb2_grpc.DatasetServiceServicer):
    """Data sets in a dict; `contents` has the bytes."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.datasets: dict[str, dataset_pb2.Dataset] = {}
        self.contents: dict[str, bytes] = {}
        self.largest_chunk = 0
        #: What has come of files, by digest.
        self.parts: dict[str, bytes] = {}
        #: Each stream's offset; the next ones break after so many bytes.
        self.offsets: list[int] = []
        self.breaks: list[int] = []

    def GetUpload(
        self, request: dataset_pb2.GetUploadRequest, context: grpc.ServicerContext
    ) -> dataset_pb2.GetUploadResponse:
        self.script.enter("GetUpload", context)
        size = len(self.parts.get(request.sha256, b""))
        return dataset_pb2.GetUploadResponse(committed_size_bytes=size)

    def UploadDataset(
        self,
        request_iterator: Iterator[dataset_pb2.UploadDatasetRequest],
        context: grpc.ServicerContext,
    ) -> dataset_pb2.UploadDatasetResponse:
        self.script.enter("UploadDataset", context)
        header = next(request_iterator).header
        self.offsets.append(header.offset)
        chunks = [message.chunk for message in request_iterator]
        self.largest_chunk = max([self.largest_chunk, *map(len, chunks)])
        data = self.parts.pop(header.sha256, b"")[: header.offset] + b"".join(chunks)
        if self.breaks:
            self.parts[header.sha256] = data[: header.offset + self.breaks.pop(0)]
            abort(context, errors.Unavailable("broken"))
        digest = hashlib.sha256(data).hexdigest()
        if digest != header.sha256 or len(data) != header.size_bytes:
            abort(context, errors.InvalidData("the digest is another"))
        dataset = self.add(digest, header.display_name, len(data))
        dataset.format = header.format
        self.contents[digest] = data
        return dataset_pb2.UploadDatasetResponse(dataset=dataset)

    def add(self, digest: str, display_name: str, size_bytes: int) -> dataset_pb2.Dataset:
        """A data set as if it had been uploaded."""
        dataset = dataset_pb2.Dataset(
            name=f"datasets/{digest}",
            display_name=display_name,
            format=dataset_pb2.DATASET_FORMAT_CSV,
            size_bytes=size_bytes,
            row_count=3,
            columns=[
                dataset_pb2.Column(
                    name="a", kind=dataset_pb2.COLUMN_KIND_REAL, minimum=0.0, maximum=1.0
                ),
                dataset_pb2.Column(
                    name="label", kind=dataset_pb2.COLUMN_KIND_CATEGORY, distinct_count=2
                ),
            ],
        )
        dataset.create_time.FromDatetime(EVENT_TIME)
        self.datasets[dataset.name] = dataset
        return dataset

    def _find(self, name: str, context: grpc.ServicerContext) -> dataset_pb2.Dataset:
        if name not in self.datasets:
            abort(context, errors.NotFound(f"{name} does not exist", resource=name))
        return self.datasets[name]

    def GetDataset(
        self, request: dataset_pb2.GetDatasetRequest, context: grpc.ServicerContext
    ) -> dataset_pb2.GetDatasetResponse:
        self.script.enter("GetDataset", context)
        return dataset_pb2.GetDatasetResponse(dataset=self._find(request.name, context))

    def ListDatasets(
        self, request: dataset_pb2.ListDatasetsRequest, context: grpc.ServicerContext
    ) -> dataset_pb2.ListDatasetsResponse:
        self.script.enter("ListDatasets", context)
        start = int(request.page_token or 0)
        found = list(self.datasets.values())[start : start + min(request.page_size, 2)]
        end = start + len(found)
        token = str(end) if end < len(self.datasets) else ""
        return dataset_pb2.ListDatasetsResponse(datasets=found, next_page_token=token)

    def DeleteDataset(
        self, request: dataset_pb2.DeleteDatasetRequest, context: grpc.ServicerContext
    ) -> dataset_pb2.DeleteDatasetResponse:
        self.script.enter("DeleteDataset", context)
        del self.datasets[self._find(request.name, context).name]
        return dataset_pb2.DeleteDatasetResponse()

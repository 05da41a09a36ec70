"""The calls of TrainingService."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from twofold.client.calls.call import Call, Page, Serializable, named, to_trainer
from twofold.series import MetricPoint
from twofold.v1 import spec_pb2
from twofold.v1 import training_pb2 as pb

_SERVICE = "/twofold.v1.TrainingService/"
_Decode = Callable[[bytes], pb.TrainingJob]


def new_request_id() -> str:
    """A fresh idempotency key: a create repeated with it cannot train twice."""
    return str(uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What a create may say beside its spec."""

    request_id: str = field(default_factory=new_request_id)
    """A UUID; the same one always stands for the same job."""
    validate_only: bool = False
    """Answer with the completed spec, store nothing."""
    not_before: datetime | None = None
    """Start no sooner; without a time zone it is UTC."""


def create(spec: spec_pb2.TrainingSpec, options: CreateOptions) -> Call[pb.TrainingJob]:
    """Makes a job."""
    request = pb.CreateTrainingJobRequest(
        spec=spec, request_id=options.request_id, validate_only=options.validate_only
    )
    if options.not_before is not None:
        request.not_before_time.FromDatetime(options.not_before)
    return _call(
        "CreateTrainingJob", request, lambda data: pb.CreateTrainingJobResponse.FromString(data).job
    )


def get(job: str) -> Call[pb.TrainingJob]:
    """Reads a job."""
    request = pb.GetTrainingJobRequest(name=named("jobs", job))
    return _call(
        "GetTrainingJob", request, lambda data: pb.GetTrainingJobResponse.FromString(data).job
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list holds."""

    states: Sequence[pb.JobState] = ()
    """Any when empty."""
    model: str = ""
    """Any when empty."""


def list_page(wanted: JobFilter, size: int, token: str) -> Call[Page[pb.TrainingJob]]:
    """Reads part of the list of jobs, newest first."""
    request = pb.ListTrainingJobsRequest(
        page_size=size, page_token=token, states=wanted.states, model=wanted.model
    )
    return to_trainer(_SERVICE + "ListTrainingJobs", request, _page)


def _page(data: bytes) -> Page[pb.TrainingJob]:
    answer = pb.ListTrainingJobsResponse.FromString(data)
    return Page(list(answer.jobs), answer.next_page_token)


def watch(job: str, cursor: str) -> Call[pb.WatchTrainingJobResponse]:
    """Streams a job's events after `cursor`; each is read as T."""
    request = pb.WatchTrainingJobRequest(name=named("jobs", job), cursor=cursor)
    return to_trainer(
        _SERVICE + "WatchTrainingJob", request, pb.WatchTrainingJobResponse.FromString
    )


def cancel(job: str) -> Call[pb.TrainingJob]:
    """Asks for cancellation."""
    request = pb.CancelTrainingJobRequest(name=named("jobs", job))
    return _call(
        "CancelTrainingJob", request, lambda data: pb.CancelTrainingJobResponse.FromString(data).job
    )


def retry(job: str, request_id: str) -> Call[pb.TrainingJob]:
    """Makes a new job from a terminal one's spec."""
    request = pb.RetryTrainingJobRequest(name=named("jobs", job), request_id=request_id)
    return _call(
        "RetryTrainingJob", request, lambda data: pb.RetryTrainingJobResponse.FromString(data).job
    )


def metrics_page(
    job: str, max_points: int | None, size: int, token: str
) -> Call[Page[MetricPoint]]:
    """Reads part of a job's metric series, by epoch; None: all points that are kept."""
    request = pb.GetTrainingMetricsRequest(
        name=named("jobs", job), max_points=max_points or 0, page_size=size, page_token=token
    )
    return to_trainer(_SERVICE + "GetTrainingMetrics", request, _points)


def _points(data: bytes) -> Page[MetricPoint]:
    answer = pb.GetTrainingMetricsResponse.FromString(data)
    return Page(list(map(_point, answer.points)), answer.next_page_token)


def _point(message: pb.MetricPoint) -> MetricPoint:
    return MetricPoint(
        epoch=message.epoch,
        step=message.step,
        time_s=message.time.ToMilliseconds() / 1000,
        loss=message.loss,
        validation_loss=message.validation_loss if message.HasField("validation_loss") else None,
        metrics=dict(message.metrics),
        learning_rate=message.learning_rate if message.HasField("learning_rate") else None,
        rows_per_second=message.rows_per_second if message.HasField("rows_per_second") else None,
        attempt=message.attempt,
    )


def _call(rpc: str, request: Serializable, decode: _Decode) -> Call[pb.TrainingJob]:
    return to_trainer(_SERVICE + rpc, request, decode)

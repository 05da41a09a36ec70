"""The metric series over gRPC: page by page, and as few points as asked for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.trainer.api.serving import JOB, Served, error_of, serving
from trainer.api import paging
from twofold import errors, keys, series
from twofold.series import MetricPoint
from twofold.v1 import training_pb2, training_pb2_grpc

Get = training_pb2.GetTrainingMetricsRequest
NAME = f"jobs/{JOB}"
POINTS = [
    MetricPoint(
        epoch=epoch,
        step=epoch * 2,
        time_s=1_700_000_000.125 + epoch,
        loss=abs(epoch - 5) + 1,
        validation_loss=None if epoch == 1 else 0.5,
        metrics={"accuracy": 0.75} if epoch == 2 else {},
        learning_rate=0.1,
        rows_per_second=None if epoch == 1 else 100.0,
        attempt="A",
    )
    for epoch in range(1, 8)
]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        served.ledger.jobs[JOB] = training_pb2.TrainingJob(name=NAME)
        yield served


def write(api: Served) -> None:
    text = series.header(2) + b"".join(map(series.line, POINTS))
    api.store.create(keys.job_series("local", JOB), text)


def stub_of(api: Served) -> "training_pb2_grpc.TrainingServiceAsyncStub":
    return training_pb2_grpc.TrainingServiceStub(api.channel)


async def test_a_job_that_has_not_begun_has_no_points(api: Served) -> None:
    answer = await stub_of(api).GetTrainingMetrics(Get(name=NAME))

    assert (list(answer.points), answer.next_page_token, answer.stride) == ([], "", 1)


async def test_points_say_what_is_known_and_nothing_else(api: Served) -> None:
    write(api)
    answer = await stub_of(api).GetTrainingMetrics(Get(name=NAME))

    first, second = answer.points[:2]
    assert answer.stride == 2
    assert [point.epoch for point in answer.points] == list(range(1, 8))
    assert not first.HasField("validation_loss")
    assert not first.HasField("rows_per_second")
    assert first.time.ToMilliseconds() == 1_700_000_001_125
    assert (second.step, second.loss, second.validation_loss) == (4, 4.0, 0.5)
    assert (dict(second.metrics), second.learning_rate, second.attempt) == (
        {"accuracy": 0.75},
        0.1,
        "A",
    )


async def test_pages_have_each_epoch_once(api: Served) -> None:
    write(api)
    token, pages = "", list[list[int]]()
    while True:
        request = Get(name=NAME, page_size=3, page_token=token)
        answer = await stub_of(api).GetTrainingMetrics(request)
        pages.append([point.epoch for point in answer.points])
        token = answer.next_page_token
        if not token:
            break

    assert pages == [[1, 2, 3], [4, 5, 6], [7]]


async def test_few_points_have_the_ends_and_the_peaks(api: Served) -> None:
    write(api)
    answer = await stub_of(api).GetTrainingMetrics(Get(name=NAME, max_points=6))

    epochs = [point.epoch for point in answer.points]
    assert len(epochs) <= 6
    assert {1, 5, 7} <= set(epochs)  # epoch 5 has the least loss


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Get(name="jobs/x"), "name"),
        (Get(name=NAME, max_points=1), "max_points"),
        (Get(name=NAME, max_points=-1), "max_points"),
        (Get(name=NAME, max_points=10_001), "max_points"),
        (Get(name=NAME, page_size=-1), "page_size"),
        (Get(name=NAME, page_token="!"), "page_token"),  # noqa: S106 - no password
        (Get(name=NAME, page_token=paging.encode_token("x")), "page_token"),
        (Get(name=NAME, page_token=paging.encode_token("9" * 19)), "page_token"),
    ],
)
async def test_a_request_that_is_none_is_refused(api: Served, request_: Get, field: str) -> None:
    error = await error_of(stub_of(api).GetTrainingMetrics(request_))

    assert isinstance(error, errors.InvalidField)
    assert error.fields["field"] == field


async def test_an_unknown_job_is_not_found(api: Served) -> None:
    api.ledger.jobs.clear()
    write(api)

    error = await error_of(stub_of(api).GetTrainingMetrics(Get(name=NAME)))

    assert isinstance(error, errors.NotFound)

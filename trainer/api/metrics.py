"""Pages of a metric series. Pure."""

from dataclasses import dataclass

from trainer.api import paging
from twofold import series
from twofold.errors import InvalidField
from twofold.series import MetricPoint, Series
from twofold.v1 import training_pb2

#: Digits of an epoch in a token; a spec has at most 1,000,000 epochs.
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was checked."""

    #: None: all that are kept.
    max_points: int | None
    page_size: int
    #: The page begins after this epoch.
    after: int


def asked(request: training_pb2.GetTrainingMetricsRequest) -> Asked:
    """What a request asks for; raises InvalidField."""
    points = request.max_points
    if points and not series.LEAST_POINTS <= points <= series.LIMIT:
        allowed = f"{series.LEAST_POINTS} to {series.LIMIT}, or 0 for all that are kept"
        raise InvalidField.of("max_points", points, allowed)
    position = paging.decode_token(request.page_token)
    is_epoch = position.isascii() and position.isdigit() and len(position) <= _MAX_DIGITS
    if position and not is_epoch:
        allowed = "next_page_token of the page before"
        raise InvalidField.of("page_token", request.page_token, allowed)
    return Asked(points or None, paging.page_size(request.page_size), int(position or 0))


def page(found: Series, wanted: Asked) -> training_pb2.GetTrainingMetricsResponse:
    """The page of a series. Epochs that end between two pages change none that was sent."""
    limit = wanted.max_points
    points = found.points if limit is None else series.downsample(found.points, limit)
    following = [point for point in points if point.epoch > wanted.after]
    sent, has_more = paging.cut(following, wanted.page_size, message)
    token = paging.encode_token(str(sent[-1].epoch)) if has_more else ""
    return training_pb2.GetTrainingMetricsResponse(
        points=sent, next_page_token=token, stride=found.stride
    )


def message(point: MetricPoint) -> training_pb2.MetricPoint:
    """A point as users see it."""
    made = training_pb2.MetricPoint(
        epoch=point.epoch,
        step=point.step,
        loss=point.loss,
        validation_loss=point.validation_loss,
        metrics=point.metrics,
        learning_rate=point.learning_rate,
        rows_per_second=point.rows_per_second,
        attempt=point.attempt,
    )
    made.time.FromMilliseconds(round(point.time_s * 1000))
    return made

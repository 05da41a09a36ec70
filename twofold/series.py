"""A job's metric series: what every epoch came to, as JSON lines. Pure.

The first line is the header, `{"format_version": 1, "stride": 1}`; each further one is a point, by
rising epoch. A text is written from its beginning to its end, so that only its last line can be
torn, and that one is not read.

A series is bounded: it has the epochs 1, 1 + stride, 1 + 2 stride ..., and the stride doubles,
which leaves out every other point, whenever there would be more than LIMIT. The last epoch of an
attempt stands behind them whatever the stride.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from twofold import formats
from twofold.errors import Corrupt

_N = TypeVar("_N", int, float)

#: What the file is called, wherever it stands.
FILE_NAME = "metrics.jsonl"
#: Points of a series at most: some 2.5 MB, and more than any screen has columns.
LIMIT = 10_000
#: Least number of points that a downsampled series can have: the first and the last.
LEAST_POINTS = 2
#: Bytes of a stored series that are read at most; LIMIT lines have about 4 MB.
LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One epoch. All figures are finite."""

    epoch: int
    """From 1, counted over all attempts."""
    step: int
    """Optimizer steps done at its end, counted over all attempts."""
    time_s: float
    """When it ended: seconds since 1970, by the worker's clock."""
    loss: float
    """Training loss, mean over rows."""
    validation_loss: float | None = None
    """None where no rows are held out."""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """On the held-out rows (else the training rows); empty where they were not computed."""
    learning_rate: float | None = None
    rows_per_second: float | None = None
    attempt: str = ""
    """The attempt that trained it, a ULID."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series as it was read."""

    points: list[MetricPoint] = field(default_factory=list[MetricPoint])
    #: Every how many epochs there is a point.
    stride: int = 1


def is_kept(epoch: int, stride: int) -> bool:
    """Whether an epoch stands in a series of this stride."""
    return (epoch - 1) % stride == 0


def header(stride: int) -> bytes:
    """The first line."""
    return _line({"format_version": formats.SERIES, "stride": stride})


def line(point: MetricPoint) -> bytes:
    """A point's line; figures that are not finite are left out."""
    entries: dict[str, object] = {
        "epoch": point.epoch,
        "step": point.step,
        "time": point.time_s,
        "loss": point.loss,
        "validation_loss": _finite(point.validation_loss),
        "metrics": {name: value for name, value in point.metrics.items() if math.isfinite(value)},
        "learning_rate": _finite(point.learning_rate),
        "rows_per_second": _finite(point.rows_per_second),
        "attempt": point.attempt,
    }
    return _line({name: value for name, value in entries.items() if value not in (None, {}, "")})


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _line(entries: Mapping[str, object]) -> bytes:
    return json.dumps(entries, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def parse(data: bytes) -> Series:
    """The series of a text, up to the first line that is not whole.

    Raises:
        Corrupt: it has no header, or one of a newer format.
    """
    # What follows the last line break was being written, or was cut off.
    lines = data.split(b"\n")[:-1]
    stride = _stride(lines[0] if lines else b"")
    points: list[MetricPoint] = []
    for text in lines[1:]:
        try:
            found = _point(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            break
        if points and found.epoch <= points[-1].epoch:
            break
        points.append(found)
    return Series(points, stride)


def _stride(text: bytes) -> int:
    try:
        found = json.loads(text)
        version, stride = int(found["format_version"]), int(found["stride"])
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt("the metric series cannot be read: it has no header") from error
    if version != formats.SERIES:
        raise Corrupt(
            f"the metric series is of format {version}; this release reads {formats.SERIES}"
        )
    return max(1, stride)


def _point(entries: Mapping[str, object]) -> MetricPoint:
    """Raises ValueError, TypeError, KeyError or AttributeError for what is none."""
    metrics = cast("Mapping[str, object]", entries.get("metrics", {}))
    return MetricPoint(
        epoch=_number(entries["epoch"], int),
        step=_number(entries["step"], int),
        time_s=_number(entries["time"], float),
        loss=_number(entries["loss"], float),
        validation_loss=_optional(entries.get("validation_loss")),
        metrics={name: _number(value, float) for name, value in metrics.items()},
        learning_rate=_optional(entries.get("learning_rate")),
        rows_per_second=_optional(entries.get("rows_per_second")),
        attempt=str(entries.get("attempt", "")),
    )


def _optional(value: object) -> float | None:
    return None if value is None else _number(value, float)


def _number(value: object, kind: Callable[[float], _N]) -> _N:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"not a number: {value!r}")
    return kind(value)


def until(found: Series, epoch: int) -> Series:
    """What an attempt that resumes after `epoch` takes over: later epochs are trained again."""
    kept = [one for one in found.points if one.epoch <= epoch and is_kept(one.epoch, found.stride)]
    return Series(kept, found.stride)


def downsample(points: Sequence[MetricPoint], limit: int) -> list[MetricPoint]:
    """At most `limit` (from LEAST_POINTS) of the points, by rising epoch.

    The first, the last, and of each of equal stretches between them those of the least and the
    greatest loss and validation loss, so that no peak of either is lost.
    """
    if len(points) <= limit:
        return list(points)
    figures = [_loss]
    if any(one.validation_loss is not None for one in points):
        figures.append(_validation_loss)
    stretches = (limit - LEAST_POINTS) // (2 * len(figures))
    kept = {0, len(points) - 1}
    inner = range(1, len(points) - 1)
    for number in range(stretches):
        begin, end = (len(inner) * edge // stretches for edge in (number, number + 1))
        for figure in figures:
            kept |= _extremes(points, inner[begin:end], figure)
    return [points[index] for index in sorted(kept)]


def _extremes(
    points: Sequence[MetricPoint], indices: range, figure: Callable[[MetricPoint], float | None]
) -> set[int]:
    known = [(value, index) for index in indices if (value := figure(points[index])) is not None]
    return {min(known)[1], max(known)[1]} if known else set()


def _loss(point: MetricPoint) -> float | None:
    return point.loss


def _validation_loss(point: MetricPoint) -> float | None:
    return point.validation_loss

"""Metric series: what is written is read, what is torn is not, and no peak is lost."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import series
from twofold.errors import Corrupt
from twofold.series import MetricPoint, Series


def point(epoch: int, loss: float = 0.5, validation_loss: float | None = None) -> MetricPoint:
    return MetricPoint(
        epoch=epoch, step=epoch * 3, time_s=1.5, loss=loss, validation_loss=validation_loss
    )


def text(*points: MetricPoint, stride: int = 1) -> bytes:
    return series.header(stride) + b"".join(map(series.line, points))


FULL = MetricPoint(
    epoch=7,
    step=70,
    time_s=1_700_000_000.123,
    loss=0.1 + 0.2,
    validation_loss=1e-300,
    metrics={"accuracy": 1.0, "macro_f1": 0.25},
    learning_rate=0.001,
    rows_per_second=12345.6,
    attempt="01J00000000000000000000001",
)


def test_what_is_written_is_read() -> None:
    found = series.parse(text(point(1), FULL, stride=2))

    assert found == Series([point(1), FULL], 2)


def test_every_line_is_json_with_the_version_first() -> None:
    lines = text(FULL).decode().splitlines()

    assert lines[0] == '{"format_version":1,"stride":1}'
    assert lines[1].startswith(
        '{"epoch":7,"step":70,"time":1700000000.123,"loss":0.30000000000000004'
    )


def test_figures_that_are_not_finite_are_left_out() -> None:
    odd = MetricPoint(
        epoch=1,
        step=1,
        time_s=0,
        loss=1,
        metrics={"r2": math.nan, "mae": 2},
        learning_rate=math.inf,
    )

    assert series.parse(text(odd)).points == [
        MetricPoint(epoch=1, step=1, time_s=0, loss=1, metrics={"mae": 2})
    ]


@given(st.data())
def test_a_text_that_is_cut_anywhere_has_its_whole_lines(data: st.DataObject) -> None:
    whole = text(*(point(epoch) for epoch in range(1, 6)))
    first = len(series.header(1))
    cut = data.draw(st.integers(first, len(whole)))

    found = series.parse(whole[:cut])

    assert [one.epoch for one in found.points] == list(range(1, whole[:cut].count(b"\n")))


@pytest.mark.parametrize(
    "junk",
    [
        b"\0\0\0\n",
        b"[]\n",
        b'{"epoch":3}\n',
        b'{"epoch":3,"step":1,"time":1,"loss":NaN}\n',
        b'{"epoch":3,"step":1,"time":1,"loss":"1"}\n',
        b'{"epoch":3,"step":1,"time":1,"loss":1,"metrics":[1]}\n',
        b'{"epoch":2,"step":1,"time":1,"loss":1}\n',
    ],
)
def test_reading_ends_before_the_first_line_that_is_none(junk: bytes) -> None:
    found = series.parse(text(point(1), point(2)) + junk + series.line(point(4)))

    assert [one.epoch for one in found.points] == [1, 2]


@pytest.mark.parametrize(
    "head", [b"", b"\n", b"{}\n", b"1\n", b'{"format_version":1}\n', b"\xff\n"]
)
def test_a_text_without_a_header_is_refused(head: bytes) -> None:
    with pytest.raises(Corrupt, match="no header"):
        series.parse(head)


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(Corrupt, match="of format 2; this release reads 1"):
        series.parse(b'{"format_version":2,"stride":1}\n')


def test_an_attempt_takes_over_what_is_kept_up_to_its_epoch() -> None:
    found = Series([point(epoch) for epoch in (1, 4, 6, 7, 10)], stride=3)

    assert [one.epoch for one in series.until(found, 9).points] == [1, 4, 7]
    assert series.until(found, 9).stride == 3


def test_a_short_series_stays_whole() -> None:
    points = [point(epoch) for epoch in range(1, 11)]

    assert series.downsample(points, 10) == points


losses = st.floats(0, 100)


@given(st.lists(st.tuples(losses, st.none() | losses), max_size=200), st.integers(2, 60))
def test_downsampling_keeps_the_ends_the_peaks_and_the_limit(
    figures: list[tuple[float, float | None]], limit: int
) -> None:
    points = [point(epoch, *pair) for epoch, pair in enumerate(figures, 1)]

    found = series.downsample(points, limit)

    assert len(found) <= limit
    assert found[:1] == points[:1]
    assert found[-1:] == points[-1:]
    assert [one.epoch for one in found] == sorted({one.epoch for one in found})
    if limit >= 6:
        for peak in (min, max):
            assert peak((one.loss for one in found), default=0) == peak(
                (one.loss for one in points), default=0
            )
            known = [one.validation_loss for one in points if one.validation_loss is not None]
            kept = [one.validation_loss for one in found if one.validation_loss is not None]
            assert peak(kept, default=0) == peak(known, default=0)


def test_downsampling_spreads_what_it_keeps() -> None:
    points = [point(epoch, math.sin(epoch)) for epoch in range(1, 10_001)]

    found = series.downsample(points, 100)

    gaps = [after.epoch - before.epoch for before, after in itertools.pairwise(found)]
    assert len(found) > 90
    assert max(gaps) < 500

"""Charts as text: braille dots in colours on a terminal, else letters in plain ASCII."""

import string
from collections.abc import Callable, Sequence

import numpy as np
import plotille

from twofold.cli.curves import Chart, Curve, logarithmic

#: Rows of a chart, without its axis.
_HEIGHT = 15
#: Columns beside a chart: 13 for its axis on the left, 11 for what that says on the right.
_MARGIN = 24
_LEAST_WIDTH = 20
#: Characters of the value axis' name.
_NAME_WIDTH = 8
#: Part of the values' range that is left free above and below.
_PAD = 0.03
#: Of the 256 colours, such that are seen on light and on dark.
_COLOURS = (33, 208, 34, 160, 135, 37, 178, 244)
_MODE = "byte"
#: What plotille fills empty places with.
_NO_DOTS = "\u2800"


def draw(chart: Chart, width: int, *, is_log: bool, is_plain: bool) -> str:
    """The chart, its axes and a line per curve, at most `width` columns wide where that is 44.

    Args:
        chart: what to draw.
        width: of the terminal.
        is_log: draws logarithms, and labels them by the values themselves.
        is_plain: no colours, ASCII only; curves are told apart by letters.

    Raises:
        InvalidField: see curves.logarithmic.
    """
    shown = logarithmic(chart) if is_log else chart
    figure = _figure(shown, max(_LEAST_WIDTH, width - _MARGIN), is_log=is_log)
    figure.with_colors = not is_plain
    for place, curve in enumerate(shown.curves):
        colour = _COLOURS[place % len(_COLOURS)]
        if is_plain:
            epochs, values = _by_column(curve, figure.x_limits(), figure.width)
            figure.plot(epochs, values, lc=colour, interp=None, marker=_letter(place))
        else:
            figure.plot(curve.epochs, curve.values, lc=colour)
    drawn = figure.show().replace(_NO_DOTS, " ").splitlines()
    legend = [
        f"  {_mark(place, is_plain=is_plain)}  {curve.label}"
        for place, curve in enumerate(shown.curves)
    ]
    return "\n".join([chart.metric, *(line.rstrip() for line in drawn), "", *legend])


def _figure(chart: Chart, width: int, *, is_log: bool) -> plotille.Figure:
    figure = plotille.Figure()
    figure.width, figure.height = width, _HEIGHT
    figure.color_mode, figure.origin = _MODE, False
    epochs = [epoch for curve in chart.curves for epoch in curve.epochs]
    first, last = min(epochs), max(epochs)
    # Of one epoch alone, its neighbours make the axis.
    is_single = first == last
    figure.set_x_limits(first - 1 if is_single else first, last + 1 if is_single else last)
    figure.set_y_limits(*_limits([value for curve in chart.curves for value in curve.values]))
    figure.x_label = "epoch"
    figure.y_label = chart.metric if len(chart.metric) <= _NAME_WIDTH else "value"
    figure.x_ticks_fkt = _epoch_label(is_dense=last - first >= width // 10)
    figure.y_ticks_fkt = _value_label(is_log=is_log)  # pyright: ignore[reportAttributeAccessIssue] - numbers alone are drawn
    return figure


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """A little more than the values' range; nothing below 0 where no value is."""
    low, high = min(values), max(values)
    pad = _PAD * (high - low) or max(abs(high) * _PAD, _PAD)
    return (0.0 if 0 <= low < pad else low - pad), high + pad


def _by_column(
    curve: Curve, limits: tuple[float, float], width: int
) -> tuple[list[float], list[float]]:
    """The curve's points, and between them, linear, the middle of every column that it crosses."""
    edges = np.linspace(*limits, width + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    crossed = middles[(middles > curve.epochs[0]) & (middles < curve.epochs[-1])]
    between = np.interp(crossed, curve.epochs, curve.values)
    return [*curve.epochs, *crossed.tolist()], [*curve.values, *between.tolist()]


def _epoch_label(*, is_dense: bool) -> Callable[[object, object], str]:
    """What stands below the axis: whole epochs, unless there are fewer than labels."""
    return lambda epoch, _: f"{epoch:.0f}" if is_dense else f"{epoch:.3g}"


def _value_label(*, is_log: bool) -> Callable[[float, object], str]:
    return lambda value, _: f"{10**value if is_log else value:.4g}"


def _letter(place: int) -> str:
    return string.ascii_lowercase[place % len(string.ascii_lowercase)]


def _mark(place: int, *, is_plain: bool) -> str:
    if is_plain:
        return _letter(place)
    return plotille.color("⠤⠤", fg=_COLOURS[place % len(_COLOURS)], mode=_MODE)

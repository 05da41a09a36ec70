"""Charts as PNG or SVG, by matplotlib."""
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from twofold.cli.curves import Chart
from twofold.errors import InvalidField

#: Inches, of one chart.
_WIDTH, _HEIGHT = 8.0, 4.0
_DOTS_PER_INCH = 150
#: Of fewer points each is shown: a line between two of them was not measured.
_MARKED = 50


def write(charts: Sequence[Chart], out: Path, *, is_log: bool) -> None:
    """Writes the charts, one below the other, to a .png or .svg file; replaces what is there.

    Raises:
        InvalidField: the file cannot be written.
    """
    # Not through pyplot, which looks for a display and keeps figures.
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(charts)), layout="constrained")
    for axes, chart in zip(figure.subplots(len(charts), squeeze=False)[:, 0], charts, strict=True):
        for curve in chart.curves:
            marker = "." if len(curve.epochs) < _MARKED else ""
            axes.plot(curve.epochs, curve.values, label=curve.label, marker=marker)
        axes.set(xlabel="epoch", ylabel=chart.metric.replace("_", " "))
        axes.set_yscale("log" if is_log else "linear")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    try:
        # Text stays text, so that it can be searched and edited; no date: equal charts are equal.
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "twofold"}):
            metadata = {"Date": None} if out.suffix.lower() == ".svg" else None
            figure.savefig(out, dpi=_DOTS_PER_INCH, metadata=metadata)
    except OSError as error:
        text = f"{out} cannot be written: {error.strerror}"
        raise InvalidField(text, field="out", value=out) from error

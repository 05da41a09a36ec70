"""`twofold jobs plot`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from twofold.cli import compare, curves, reference
from twofold.cli.curves import Chart
from twofold.cli.group import client_of, require_plots
from twofold.client import Client
from twofold.errors import InvalidField
from twofold.series import MetricPoint

#: Points of a curve in a terminal: some per column of the widest.
_POINTS = 1_000
#: Columns where there is no terminal.
_WIDTH = 80
_SUFFIXES = (".png", ".svg")


_Jobs = Annotated[
    list[str],
    typer.Argument(metavar="JOB|MODEL@VERSION...", help="A version stands for its job."),
]
_Metric = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="What to draw, a chart each: loss (training and validation), accuracy and other "
        "metrics, learning_rate, rows_per_second.",
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        help="Draw to a .png or .svg file instead, all points. Needs twofold[plot].",
    ),
]


def plot(
    context: typer.Context,
    jobs: _Jobs,
    metric: _Metric = curves.LOSS,
    out: _Out = None,
    *,
    is_log: Annotated[bool, typer.Option("--log", help="Logarithmic values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The curves as JSON instead.")] = False,
) -> None:
    """Draw the curves of jobs over their epochs, several jobs into one chart.

    In a terminal in colours and as wide as it is; elsewhere 80 columns of plain ASCII.

    Example: twofold jobs plot digits@1

    Example: twofold jobs plot 01K5V7Q2J8M4T6Z0X9C3B1N5RW digits@2 --metric loss,accuracy --log

    Example: twofold jobs plot digits@1 digits@2 --out curves.png
    """
    if out is not None:
        require_plots()
        if out.suffix.lower() not in _SUFFIXES:
            raise InvalidField.of("out", out.name, "a file named " + " or ".join(_SUFFIXES))
    names = _names(metric)
    most = _POINTS if out is None and not as_json else None
    with client_of(context) as client:
        series = {asked: _points(client, asked, most) for asked in jobs}
    found = curves.charts(series, names)
    if as_json:
        typer.echo(json.dumps([asdict(chart) for chart in found], indent=2))
    elif out is not None:
        from twofold.cli import plot_file  # noqa: PLC0415 - it takes half a second to import

        plot_file.write(found, out, is_log=is_log)
        typer.echo(str(out))
    else:
        typer.echo(_text(found, is_log=is_log))


def _names(metric: str) -> list[str]:
    names = [name for part in metric.split(",") if (name := part.strip())]
    if not names:
        raise InvalidField.of("--metric", repr(metric), "names such as loss,accuracy")
    return names


def _points(client: Client, asked: str, most: int | None) -> Sequence[MetricPoint]:
    if compare.is_job(asked):
        return client.jobs.metrics(asked, most)
    wanted = reference.parse(asked)
    version = client.models.version(wanted.model, wanted.selector)
    return client.jobs.metrics(version.manifest.lineage.job, most)


def _text(charts: Sequence[Chart], *, is_log: bool) -> str:
    from twofold.cli import plot_text  # noqa: PLC0415 - other commands need not wait for it

    console = Console()
    has_colours = console.is_terminal and console.color_system is not None and not console.no_color
    is_plain = not (has_colours and console.encoding.startswith("utf"))
    width = console.width if console.is_terminal else _WIDTH
    return "\n\n".join(
        plot_text.draw(chart, width, is_log=is_log, is_plain=is_plain) for chart in charts
    )

"""`twofold bench`."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from twofold.cli import bench_options, bench_report
from twofold.cli.group import FAILURE, connection_of, require_bench
from twofold.loadgen.points import Point
from twofold.loadgen.requests import Asked
from twofold.loadgen.schedule import Arrivals

if TYPE_CHECKING:
    from twofold.cli.bench_run import Options

_Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model, as its server names it.")]
_Infer = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|unix:PATH",
        help="Any server of the Open Inference Protocol over gRPC; default: the inferer.",
    ),
]
_Version = Annotated[
    str, typer.Option(metavar="VERSION|:ALIAS", help="Default: the one served then.")
]
_Concurrency = Annotated[
    str | None,
    typer.Option(
        metavar="N,...",
        help="Closed loop: requests under way, one point after the other. "
        f"[default: {bench_options.CONCURRENCY}]",
    ),
]
_Rate = Annotated[
    str | None,
    typer.Option(
        metavar="R,...",
        help="Open loop instead: requests a second, sent when they are due whatever is answered; "
        "latencies count from then.",
    ),
]
_Connections = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=bench_options.MOST_UNDER_WAY,
        help="Connections; default: one for 6 requests under way, 8 in an open loop.",
    ),
]
_Rows = Annotated[int, typer.Option(min=1, help="Rows of a request.")]
_Shape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME:N,N,...",
        help="Sizes of an input's open dimensions: its shape without the rows, or all of it; "
        "repeatable.",
    ),
]
_Data = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Rows to send: .csv, .parquet, .npy, .npz. Default: random ones."
    ),
]
_Duration = Annotated[float, typer.Option(min=0.1, help="Seconds measured of each point.")]
_Warmup = Annotated[float, typer.Option(min=0, help="Seconds before them that do not count.")]
_Timeout = Annotated[
    float, typer.Option(min=0.001, max=3600, help="Seconds until a request has failed.")
]
_Arrivals = Annotated[
    Arrivals, typer.Option(help="Open loop: as many users' requests come, or in equal steps.")
]
_Seed = Annotated[int, typer.Option(min=0, help="Of random rows and arrivals.")]
_ServerPid = Annotated[
    int | None,
    typer.Option(
        "--server-pid",
        metavar="PID",
        min=1,
        help="The server's process on this machine, to show its CPU time per request.",
    ),
]
_AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def bench(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    model: _Model,
    infer: _Infer = None,
    version: _Version = "",
    concurrency: _Concurrency = None,
    rate: _Rate = None,
    connections: _Connections = None,
    rows: _Rows = 1,
    shape: _Shape = None,
    data: _Data = None,
    duration: _Duration = 5.0,
    warmup: _Warmup = 1.0,
    timeout: _Timeout = 10.0,
    arrivals: _Arrivals = Arrivals.POISSON,
    seed: _Seed = 0,
    server_pid: _ServerPid = None,
    *,
    as_json: _AsJson = False,
) -> None:
    """Measure how fast a server answers: rate, latencies, errors, CPU time per request.

    Every answer is checked. Exits with 0 only if no request failed. Needs twofold[bench].

    Example: twofold bench digits --concurrency 16 --connections 16 --rows 8

    Example: twofold bench digits --rate 1000,2000 --data examples/data/digits_test.parquet

    Example: twofold bench resnet --infer triton:8001 --version 1 --shape image:3,224,224
    """
    require_bench()
    from twofold.cli import bench_run  # noqa: PLC0415 - needs ngh2, which may be missing

    options = bench_run.Options(
        address=infer or connection_of(context).infer,
        asked=Asked(model, version, rows),
        duration_s=duration,
        warmup_s=warmup,
        timeout_s=timeout,
        arrivals=arrivals,
        seed=seed,
        shapes=bench_options.shapes(shape or []),
        data=data,
        server_pid=server_pid,
    )
    loads = bench_options.loads(concurrency, rate, connections)
    show = _as_json if as_json else _as_text
    with bench_run.prepared(options) as measure:
        found = show(options, map(measure, loads))
    raise typer.Exit(FAILURE if any(point.is_failed for point in found) else 0)


def _as_text(options: "Options", measured: Iterable[Point]) -> list[Point]:
    """Shows each point as soon as it is measured."""
    typer.echo(bench_report.title(options.address, options.asked, options.duration_s))
    typer.echo(bench_report.header())
    found: list[Point] = []
    for point in measured:
        typer.echo(bench_report.line(point))
        found.append(point)
    for note in bench_report.notes(found):
        typer.echo(note)
    return found


def _as_json(options: "Options", measured: Iterable[Point]) -> list[Point]:
    found = list(measured)
    asked = options.asked
    tree = {
        "address": options.address,
        "model": asked.model,
        "version": asked.version,
        "rows": asked.rows,
        "data": options.data,
        "warmup_s": options.warmup_s,
        "timeout_s": options.timeout_s,
        "points": [bench_report.plain(point) for point in found],
    }
    typer.echo(json.dumps(tree, indent=2))
    return found

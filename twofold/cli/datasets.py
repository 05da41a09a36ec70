"""`twofold datasets`."""

from pathlib import Path
from typing import Annotated

import typer

from twofold.cli import render
from twofold.cli.group import client_of
from twofold.v1 import dataset_pb2

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Uploaded tables.\n\nExample: twofold datasets list",
)

DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="The data set's identifier.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


@app.command("put")
def put_dataset(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, help="CSV, Parquet, NPZ or NPY."
        ),
    ],
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The identifier alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a table; prints its identifier and the columns as they were understood.

    Example: twofold datasets put examples/data/digits.parquet
    """
    with client_of(context) as client:
        dataset = client.datasets.put(file)
    if quiet and not as_json:
        typer.echo(dataset.name.removeprefix("datasets/"))
        return
    typer.echo(render.to_json(dataset) if as_json else _described(dataset))


@app.command("list")
def list_datasets(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List data sets, newest first.

    Example: twofold datasets list --json
    """
    with client_of(context) as client:
        found = client.datasets.list(limit=limit)
    if as_json:
        typer.echo(render.to_json(found))
        return
    rows = (
        (
            dataset.name.removeprefix("datasets/"),
            dataset.display_name,
            render.dataset_format(dataset),
            dataset.row_count,
            len(dataset.columns),
            render.size(dataset.size_bytes),
            render.time(dataset.create_time),
        )
        for dataset in found
    )
    header = ("dataset", "name", "format", "rows", "columns", "size", "created")
    typer.echo(render.table(header, rows))


@app.command("get")
def get_dataset(context: typer.Context, dataset: DatasetId, *, as_json: AsJson = False) -> None:
    """Show a data set and its columns.

    Example: twofold datasets get $(twofold datasets put -q rows.csv)
    """
    with client_of(context) as client:
        found = client.datasets.get(dataset)
    typer.echo(render.to_json(found) if as_json else _described(found))


@app.command("rm")
def remove_dataset(context: typer.Context, dataset: DatasetId) -> None:
    """Delete a data set that no live job needs.

    Example: twofold datasets rm $(twofold datasets put -q rows.csv)
    """
    with client_of(context) as client:
        client.datasets.delete(dataset)


def _described(dataset: dataset_pb2.Dataset) -> str:
    facts = {
        "name": dataset.display_name,
        "format": render.dataset_format(dataset),
        "size": render.size(dataset.size_bytes),
        "rows": dataset.row_count,
        "created": render.time(dataset.create_time),
    }
    columns = render.table(
        ("column", "kind", "distinct", "minimum", "maximum"), map(_column, dataset.columns)
    )
    identifier = dataset.name.removeprefix("datasets/")
    return f"{identifier}\n{render.pairs(facts)}\n\n{columns}"


def _column(column: dataset_pb2.Column) -> tuple[str, ...]:
    return (
        column.name,
        render.column_kind(column),
        str(column.distinct_count or ""),
        render.figure(column.minimum) if column.HasField("minimum") else "",
        render.figure(column.maximum) if column.HasField("maximum") else "",
    )

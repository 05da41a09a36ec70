"""`twofold predict`."""

from pathlib import Path
from typing import Annotated

import typer

from twofold.cli import bulk, counting, outputs, reference, rows
from twofold.cli.answers import Format
from twofold.cli.group import client_of
from twofold.client.predictions import Signature

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL[@VERSION|:ALIAS]", help="Default: the version served then."),
]
Source = Annotated[
    str,
    typer.Option(
        "--rows",
        metavar="FILE|-",
        help="A .csv, .parquet, .npy or .npz file; - reads CSV from stdin.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", dir_okay=False, help="A .parquet, .csv or .jsonl file; default: stdout."
    ),
]
Form = Annotated[Format, typer.Option("--format", help="How answers are written to stdout.")]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, max=1_000_000, help="Rows of one request; default: as many as the model takes."
    ),
]


def predict(
    context: typer.Context,
    model: Model,
    source: Source,
    out: Out = None,
    form: Form = Format.JSONL,
    batch_size: BatchSize = None,
) -> None:
    """Predict the rows of a file: one JSON object, or one line of a table, a row.

    Columns are found by name, in any order; the target and other columns are ignored. Each answer
    names the version that gave it. Rows stream: of a file of any size a few batches are in memory,
    some of them at the inferer. A file is written whole or not at all, and all of it is answered by
    the version that was served when the command began. Rows with arrays, such as images, are the
    members of a .npz file, which is read whole.

    Example: twofold predict digits --rows examples/data/digits_test.parquet

    Example: twofold predict digits --rows examples/data/digits_test.parquet --out answers.parquet

    Example: head -3 rows.csv | twofold predict digits@1 --rows - --format csv
    """
    with client_of(context) as client, outputs.opened(out, form) as writer:
        # A file has one version's answers. A stream follows what is served, row after row, so that
        # versions never go back in it: that takes one request after another.
        asking = bulk.Asking(client, reference.parse(model), is_pinned=out is not None)
        limit = 1 if out is None else bulk.IN_FLIGHT
        described = rows.describe(source)
        if out is not None:
            _tell_ignored(described.columns, asking.signature)
        wanted = wanted_of(asking.signature)
        batches = rows.batches(source, wanted, batch_size or asking.batch_rows())
        with counting.counted(described.row_count, is_silent=out is None) as count:
            for batch, answer in bulk.in_order(asking, batches, limit):
                writer.write(answer.prediction, answer.signature)
                count(bulk.row_count(batch), answer.prediction.version)


def wanted_of(signature: Signature, other: tuple[str, ...] = ()) -> rows.Wanted:
    """The columns that a model asks for, and others."""
    arrays = tuple(name for name, _ in signature.arrays)
    return rows.Wanted(signature.numeric_columns, signature.category_columns, other, arrays)


def _tell_ignored(columns: tuple[str, ...], signature: Signature) -> None:
    ignored = [name for name in columns if name not in signature.columns]
    if ignored:
        shown = ", ".join(ignored[:10]) + (", ..." if len(ignored) > 10 else "")  # noqa: PLR2004 - a line's worth
        typer.echo(f"ignored, as the model does not ask for them: {shown}", err=True)

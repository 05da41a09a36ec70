"""`twofold predict`."""

from typing import Annotated

import typer

from twofold.cli import answers, reference, rows
from twofold.cli.answers import Format
from twofold.cli.group import client_of
from twofold.client.predictions import version_text


def predict(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[@VERSION|:ALIAS]", help="Default: the version served at the time."
        ),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--rows",
            metavar="FILE|-",
            help="A .csv, .parquet or .npy file; - reads CSV from stdin.",
        ),
    ],
    form: Annotated[
        Format, typer.Option("--format", help="How answers are written.")
    ] = Format.JSONL,
    batch_size: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Rows of one request.")
    ] = 256,
) -> None:
    """Predict the rows of a file: one JSON object, or one CSV line, a row.

    Columns are found by name, in any order; the target and other columns are ignored. Each answer
    names the version that gave it.

    Example: twofold predict digits --rows examples/data/digits_test.parquet

    Example: head -3 rows.csv | twofold predict digits@1 --rows - --format csv
    """
    asked = reference.parse(model)
    writer = answers.writer(form, typer.echo)
    with client_of(context) as client:
        version = version_text(asked.version, asked.alias)
        signature = client.inference.signature(asked.model, version)
        for batch in rows.batches(source, signature, batch_size):
            prediction = client.predict(
                asked.model, batch, version=asked.version, alias=asked.alias
            )
            if not signature.describes(prediction):
                current = str(prediction.version)
                signature = client.inference.signature(asked.model, current)
            writer.write(prediction, signature)

"""The root command: where the servers are, and how errors are told."""

from typing import Annotated

import typer

from twofold import __version__
from twofold.cli import (
    bench,
    catalogue,
    datasets,
    evaluate,
    jobs,
    models,
    operator,
    predict,
    train,
    up_demo,
)
from twofold.cli.group import Group
from twofold.client import Connection
from twofold.client.channels import INFER_ADDRESS, TRAIN_ADDRESS

app = typer.Typer(
    name="twofold",
    cls=Group,
    # Plain help: rich's boxes wrap the examples, and look bad in a pipe.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)


def _show_version(is_asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    train_address: Annotated[
        str,
        typer.Option("--train", envvar="TWOFOLD_TRAIN", metavar="HOST:PORT", help="The trainer."),
    ] = TRAIN_ADDRESS,
    infer_address: Annotated[
        str,
        typer.Option("--infer", envvar="TWOFOLD_INFER", metavar="HOST:PORT", help="The inferer."),
    ] = INFER_ADDRESS,
    *,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the release and exit."
        ),
    ] = False,
) -> None:
    """Train PyTorch models from a queue, serve them over gRPC.

    Example: twofold train examples/xor.toml

    Example: twofold --train gpu1:50051 --infer gpu2:8001 models list
    """
    context.obj = Connection(train=train_address, infer=infer_address)


app.command("train")(train.train)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(jobs.app, name="jobs")
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.command("bench")(bench.bench)
app.command("catalogue")(catalogue.catalogue)
app.command("up")(up_demo.up)
app.command("demo")(up_demo.demo)
app.command("reconcile")(operator.reconcile)
app.command("collect")(operator.collect)

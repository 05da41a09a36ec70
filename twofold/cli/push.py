"""`twofold models push`."""

from pathlib import Path
from typing import Annotated

import typer

from twofold import toml_spec
from twofold.cli import progress, user_module
from twofold.cli.group import client_of

_Module = Annotated[
    str,
    typer.Option(
        metavar="FILE.py:NAME",
        help="The torch module: a class, a function that returns one, or a module. Imported here "
        "alone; it is sent as a graph and weights. Needs twofold[torch].",
    ),
]
_Data = Annotated[
    str,
    typer.Option(
        metavar="FILE|DATASET",
        help="Labelled rows to measure it on: a CSV, Parquet, NPZ or NPY file, a data set's "
        "identifier, and, or, xor. A few do, but every label has to be among them.",
    ),
]


def push(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The name to publish under.")],
    module: _Module,
    data: _Data,
    module_args: Annotated[
        list[str] | None,
        typer.Option("--module-arg", metavar="NAME=VALUE", help="An argument of it; repeatable."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="A safetensors file with every key of its state_dict(); default: its own.",
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A key of the spec, such as a gate; repeatable."
        ),
    ] = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Show progress until the job has ended.")
    ] = True,
) -> None:
    """Publish a torch module of yours with its weights, without training.

    It is a training job of 0 epochs: the module is measured on all rows, must pass the gates that
    --set gives and the replay of golden rows, and becomes the model's next version. The rows say
    what it takes and which labels its answers have, so they need their target.

    Prints the job's identifier first and MODEL@VERSION last; progress goes to standard error. Exits
    with 0 only if a version was published (with --no-watch: if the job was accepted).

    Example: twofold models push digits --module examples/modules/digits_cnn.py:DigitsCnn
    --weights digits.safetensors --data examples/data/digits_test.parquet

    Example: twofold models push digits --module examples/modules/digits_cnn.py:DigitsCnn
    --data examples/data/digits_test.parquet --set gates.not_worse_than=stable
    """
    tree = toml_spec.apply_sets({}, sets or [])
    made = user_module.load(module, module_args or [])
    with client_of(context) as client:
        handle = client.models.push(model, made, data=data, weights=weights, spec=tree)
        typer.echo(handle.id)
        if watch:
            progress.follow(handle)

"""`twofold train`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from twofold import toml_spec
from twofold.cli import progress, user_module
from twofold.cli.group import client_of
from twofold.client.submission import is_dataset
from twofold.errors import InvalidField

_Spec = Annotated[
    Path, typer.Argument(metavar="SPEC.toml", exists=True, dir_okay=False, help="What to train.")
]
_Data = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|DATASET",
        help="Rows: a CSV, Parquet, NPZ or NPY file (uploaded unless the server has it), a "
        "data set's identifier, and, or, xor. Default: what the spec names, which may be a "
        "file, relative to it.",
    ),
]
_Module = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:NAME|plugin:NAME",
        help="Train a torch module of yours: a class, a function that returns one, or a "
        "module; or one that an installed package offers. Imported here alone; it is sent as a "
        "graph and weights. Needs twofold[torch].",
    ),
]
_ModuleArgs = Annotated[
    list[str] | None,
    typer.Option("--module-arg", metavar="NAME=VALUE", help="An argument of it; repeatable."),
]
_Loss = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:NAME",
        help="Train by a loss of yours: a function of the network's output and the target, or a "
        "module without parameters. Imported here alone; it is sent as a graph.",
    ),
]


def train(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    spec: _Spec,
    data: _Data = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Publish under this name.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the spec; repeatable."),
    ] = None,
    module: _Module = None,
    module_args: _ModuleArgs = None,
    loss: _Loss = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Show progress until the job has ended.")
    ] = True,
) -> None:
    """Submit a training job and follow it to its version.

    Prints the job's identifier first and MODEL@VERSION last; progress goes to standard error. Exits
    with 0 only if a version was published (with --no-watch: if the job was accepted).

    Example: twofold train examples/xor.toml

    Example: twofold train examples/linear.toml --data examples/data/plane.csv

    Example: twofold train examples/mlp.toml --model deep --set network.hidden=[8,8]

    Example: twofold train examples/modules/digits_cnn.toml --module
    examples/modules/digits_cnn.py:DigitsCnn
    """
    tree = toml_spec.apply_sets(toml_spec.read(spec), sets or [])
    if model is not None:
        tree["model"] = model
    made = _made(module, module_args or [])
    own_loss = None if loss is None else user_module.load_loss(loss)
    rows = data or _data_beside(spec, tree)
    with client_of(context) as client:
        handle = client.train(tree, data=rows, module=made, loss=own_loss)
        typer.echo(handle.id)
        if watch:
            progress.follow(handle)


def _made(module: str | None, arguments: Sequence[str]) -> object:
    """The user's module, if one is asked for."""
    if module is None:
        if arguments:
            raise InvalidField.of("--module-arg", arguments[0], "nothing without --module")
        return None
    return user_module.load(module, arguments)


def _data_beside(spec: Path, tree: toml_spec.Tree) -> Path | None:
    """The file that a spec names as its data set, relative to the spec itself, if it is one."""
    table = tree.get("data")
    name = cast("dict[str, object]", table).get("dataset") if isinstance(table, dict) else None
    if not isinstance(name, str) or is_dataset(name):
        return None
    file = spec.parent / name
    if not file.is_file() and "." in name:
        allowed = "a file beside the spec, a data set's identifier, or and, or, xor"
        raise InvalidField.of("data.dataset", name, allowed)
    return file if file.is_file() else None

"""`twofold models`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from twofold.cli import push, reference, render
from twofold.cli.group import client_of, connection_of, require_onnx
from twofold.client import Pulled
from twofold.v1 import model_pb2

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Models and their versions.\n\nExample: twofold models list",
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Version = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="A version by number.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


@app.command("list")
def list_models(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List models by name.

    Example: twofold models list
    """
    with client_of(context) as client:
        models = client.models.list(limit=limit)
    if as_json:
        typer.echo(render.to_json(models))
        return
    rows = (_details(model).values() for model in models)
    header = ("model", "current", "versions", "aliases")
    typer.echo(render.table(header, map(tuple, rows)))


def _details(model: model_pb2.Model) -> dict[str, object]:
    aliases = (f"{alias}={number}" for alias, number in sorted(model.aliases.items()))
    return {
        "model": model.name.removeprefix("models/"),
        "current": model.current_version or "none",
        "versions": model.version_count,
        "aliases": " ".join(aliases),
    }


@app.command("get")
def get_model(context: typer.Context, model: Model, *, as_json: AsJson = False) -> None:
    """Show a model: what is served by default, and its aliases.

    Example: twofold models get digits
    """
    with client_of(context) as client:
        found = client.models.get(model)
    typer.echo(render.to_json(found) if as_json else render.pairs(_details(found)))


@app.command("versions")
def list_versions(
    context: typer.Context,
    model: Model,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List a model's versions, newest first.

    Example: twofold models versions digits
    """
    with client_of(context) as client:
        versions = client.models.versions(model, limit=limit)
    if as_json:
        typer.echo(render.to_json(versions))
        return
    rows = (
        (
            render.version_of(version.name),
            "withdrawn" if version.withdrawn else "",
            " ".join(version.aliases),
            render.metrics(version.manifest.metrics),
            version.manifest.lineage.job.removeprefix("jobs/"),
            render.time(version.manifest.create_time),
        )
        for version in versions
    )
    header = ("version", "state", "aliases", "metrics", "job", "created")
    typer.echo(render.table(header, rows))


@app.command("alias")
def set_alias(
    context: typer.Context,
    version: Version,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias to move.")],
) -> None:
    """Make an alias stand for a version; `predict MODEL:ALIAS` then uses it.

    Example: twofold models alias digits@3 stable
    """
    model, number = reference.parse_version(version)
    with client_of(context) as client:
        found = client.models.set_alias(model, alias, number)
    typer.echo(render.pairs(_details(found)))


@app.command("lineage")
def show_lineage(
    context: typer.Context,
    version: Annotated[
        str, typer.Argument(metavar="MODEL[@VERSION|:ALIAS]", help="Default: the current version.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show where a version came from: job, data, spec, code, metrics.

    Example: twofold models lineage digits@3
    """
    asked = reference.parse(version)
    with client_of(context) as client:
        found = client.models.version(asked.model, asked.selector)
    typer.echo(render.to_json(found) if as_json else render.pairs(lineage_of(found)))


app.command("push")(push.push)


@app.command("pull")
def pull_version(
    context: typer.Context,
    version: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[@VERSION|@ALIAS]", help="Default: the version served at the time."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Where to; default: MODEL@VERSION here."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Write a version's files to a folder: verified, all of them or none.

    They are manifest.json, graph.pb, weights.safetensors and golden.safetensors as published, and
    state_dict.safetensors: the weights by the keys of the network's state_dict(). A folder that
    holds this version already is left as it is; anything else there is never overwritten.

    Example: twofold models pull digits@3

    Example: twofold models pull digits@stable --out nets/digits
    """
    asked = reference.parse(version)
    with client_of(context) as client:
        pulled = client.models.pull(asked.model, asked.selector, out)
    if as_json:
        typer.echo(json.dumps(_pulled(pulled), indent=2))
        return
    note = "" if pulled.is_new else " (there already, verified; nothing written)"
    typer.echo(f"{render.version_of(pulled.version)} in {pulled.folder}{note}")
    rows = ((file.name, render.size(file.size_bytes), file.sha256) for file in pulled.files)
    typer.echo(render.table(("file", "size", "sha-256"), rows))


class ExportFormat(StrEnum):
    """What a version can be exported to."""

    ONNX = "onnx"


@app.command("export")
def export_version(
    context: typer.Context,
    version: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[@VERSION|@ALIAS]|DIR",
            help="A version, or a folder that `models pull` wrote, with a / in it.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", dir_okay=False, help="Where to; must not be there yet.")
    ],
    form: Annotated[  # noqa: ARG001 - there is one, and it has to be possible to name it
        ExportFormat, typer.Option("--format", help="The file's format.")
    ] = ExportFormat.ONNX,
) -> None:
    """Export a version to ONNX: raw rows in, probabilities and labels (or values) out, any batch.

    Inputs and outputs have the names and types that the inferer has; preprocessing and labels are
    inside. The file is run by onnxruntime on the version's golden rows before it is written. What
    torch cannot export is refused with its reason.

    Example: twofold models export digits@3 --out digits.onnx
    """
    require_onnx()
    from twofold.nets import onnx_export, registry  # noqa: PLC0415 - they import torch

    server = connection_of(context).train
    exported = onnx_export.export(*registry.fetch(version, server=server), out)
    size = render.size(exported.size_bytes)
    typer.echo(f"{exported.path}  {size}, opset {exported.opset}")
    typer.echo(f"{', '.join(exported.inputs)} -> {', '.join(exported.outputs)}")
    typer.echo(f"onnxruntime gives the answers of all {exported.golden_rows} golden rows")


def _pulled(pulled: Pulled) -> dict[str, object]:
    files = [
        {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
        for file in pulled.files
    ]
    return {
        "version": pulled.version,
        "folder": str(pulled.folder),
        "manifest_sha256": pulled.manifest_sha256,
        "written": pulled.is_new,
        "files": files,
    }


def lineage_of(version: model_pb2.ModelVersion) -> dict[str, object]:
    """Where a version came from, by what a line of it is called."""
    manifest, lineage = version.manifest, version.manifest.lineage
    return {
        "version": render.version_of(version.name),
        "state": "withdrawn" if version.withdrawn else "",
        "aliases": " ".join(version.aliases),
        "job": lineage.job.removeprefix("jobs/"),
        "attempt": lineage.attempt,
        "parent": render.version_of(lineage.parent),
        "dataset": lineage.dataset.removeprefix("datasets/"),
        "rows": _rows(lineage),
        "spec": lineage.spec_sha256,
        "epoch": lineage.epoch,
        "metrics": render.metrics(manifest.metrics),
        "code": lineage.code_version,
        "torch": lineage.torch_version,
        "device": lineage.device,
        "manifest": version.manifest_sha256,
        "created": render.time(manifest.create_time),
    }


def _rows(lineage: model_pb2.Lineage) -> str:
    training, held_out = lineage.training_row_count, lineage.validation_row_count
    if not lineage.epoch:
        return f"{held_out or training} measured, none trained on"
    return f"{training} training, {held_out} held out"


@app.command("rollback")
def rollback_model(
    context: typer.Context,
    version: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[@VERSION]", help="The version to withdraw; default: the current one."
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Withdraw the version that is served by default: the one before it is served instead.

    Whoever runs this at the same time, or once more within a minute, changes nothing more. To be
    sure of which version goes, name it. It stays in the store, and answers who asks for it by
    number. Refused where no version is left to serve.

    Example: twofold models rollback digits

    Example: twofold models rollback digits@7
    """
    model, number = reference.parse_current(version)
    with client_of(context) as client:
        done = client.models.rollback(model, number)
    typer.echo(render.to_json(done) if as_json else _rolled_back(done, number))


def _rolled_back(done: model_pb2.RollbackModelResponse, asked: int | None) -> str:
    model, current = done.model.name.removeprefix("models/"), done.model.current_version
    withdrawn = render.version_of(done.withdrawn)
    served = f"{model}@{current} is served by default" if current else "none is served by default"
    if done.changed:
        return f"{withdrawn} is withdrawn; {served}"
    when = render.time(done.withdraw_time)
    told = f"{withdrawn} was withdrawn before, {when} by {done.principal}; {served}"
    if asked is None and current:
        told += f"\nto withdraw that too: twofold models rollback {model}@{current}"
    return told


@app.command("rm")
def withdraw_version(context: typer.Context, version: Version) -> None:
    """Withdraw a version: the next lower one is served by default. It stays in the store.

    Example: twofold models rm digits@3
    """
    model, number = reference.parse_version(version)
    with client_of(context) as client:
        client.models.withdraw(model, number)
        served = client.models.get(model).current_version
    typer.echo(f"withdrawn; served by default: {served or 'none'}")

"""`twofold catalogue`: the families of networks and their options, from the tables themselves."""

import json
from typing import Annotated, cast

import typer

from twofold.cli import render
from twofold.nets import catalogue as families
from twofold.nets import catalogue_options as options
from twofold.v1 import spec_pb2

_TASKS = (spec_pb2.TASK_CLASSIFICATION, spec_pb2.TASK_REGRESSION, spec_pb2.TASK_MULTILABEL)


def catalogue(
    family: Annotated[
        str, typer.Argument(metavar="FAMILY", help="A family, to see its losses and options.")
    ] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Show the families of networks that a spec may name, or one of them with all its options.

    Needs no server. A family's options go under [network] of a spec.

    Example: twofold catalogue

    Example: twofold catalogue resnet --json
    """
    found = [_told(number) for number in options.FAMILIES]
    if family:
        found = [one for one in found if one["family"] == family]
        if not found:
            known = ", ".join(map(options.family_word, options.FAMILIES))
            raise typer.BadParameter(f"{family!r} is none of {known}", param_hint="FAMILY")
    if as_json:
        typer.echo(json.dumps(found[0] if family else found, indent=2))
    else:
        typer.echo(_one(found[0]) if family else _all(found))


def _told(family: spec_pb2.Family) -> dict[str, object]:
    """All that the tables know of a family."""
    about = options.FAMILIES[family]
    network = spec_pb2.NetworkSpec(family=family)
    tasks = {
        _word(spec_pb2.Task.Name(task), "TASK_"): [
            _word(spec_pb2.Loss.Name(loss), "LOSS_") for loss in families.losses(network, task)
        ]
        for task in _TASKS
    }
    return {
        "family": options.family_word(family),
        "description": about.doc,
        "data": about.takes,
        "tasks": {task: losses for task, losses in tasks.items() if losses},
        "options": [
            {
                "name": f"network.{name}",
                "allowed": options.allowed_words(name, family),
                "default": options.default_words(name, family),
                "description": options.meaning_words(name, family),
            }
            for name in options.options_of(family)
        ],
    }


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _all(found: list[dict[str, object]]) -> str:
    header = ("family", "tasks", "data", "what")
    rows = (
        (
            one["family"],
            ", ".join(cast("dict[str, object]", one["tasks"])),
            one["data"],
            one["description"],
        )
        for one in found
    )
    return render.table(header, rows)


def _one(told: dict[str, object]) -> str:
    tasks = cast("dict[str, list[str]]", told["tasks"])
    entries = {
        "family": told["family"],
        "what": told["description"],
        "data": told["data"],
        **{task: f"{', '.join(losses)} (the first by default)" for task, losses in tasks.items()},
    }
    found = cast("list[dict[str, str]]", told["options"])
    if not found:
        return render.pairs({**entries, "options": "none"})
    return "\n\n".join([render.pairs(entries), *map(_option, found)])


def _option(told: dict[str, str]) -> str:
    """A block of lines: a table's cells would be too long, of an activation's choices for one."""
    return (
        f"{told['name']}, by default {told['default']}\n"
        f"  {told['description']}\n"
        f"  {told['allowed']}"
    )

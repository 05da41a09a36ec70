"""References to versions, as arguments of commands: wrong ones are usage errors."""

import typer

from twofold import reference
from twofold.errors import InvalidField
from twofold.reference import Reference

__all__ = ["Reference", "parse", "parse_current", "parse_version"]


def parse(text: str) -> Reference:
    """The parts of a reference; a usage error where it is none."""
    try:
        return reference.parse("reference", text)
    except InvalidField as error:
        raise typer.BadParameter(f"{text!r} is not {reference.FORMS}") from error


def parse_current(text: str) -> tuple[str, int | None]:
    """Model and number of MODEL[@VERSION]; a usage error where it is anything else."""
    found = parse(text)
    if found.alias is not None or found.version == 0:
        raise typer.BadParameter(f"{text!r} is not MODEL or MODEL@VERSION")
    return found.model, found.version


def parse_version(text: str) -> tuple[str, int]:
    """Model and number of MODEL@VERSION; a usage error where it is anything else."""
    found = parse(text)
    if found.version is None:
        raise typer.BadParameter(f"{text!r} is not MODEL@VERSION")
    return found.model, found.version

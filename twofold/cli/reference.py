"""MODEL, MODEL@VERSION and MODEL:ALIAS."""

import re
from dataclasses import dataclass

import typer

_REFERENCE = re.compile(r"([^@:]+)(?:@([0-9]+)|:([^@:]+))?")
#: Digits of the largest version, 2^63-1.
_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Reference:
    """A model and, at most, one of version and alias."""

    model: str
    version: int | None
    alias: str | None

    @property
    def selector(self) -> int | str:
        """The version as ModelService names it."""
        return self.version or self.alias or "latest"


def parse(text: str) -> Reference:
    """The parts of a reference; a usage error where it is none."""
    match = _REFERENCE.fullmatch(text)
    if match is None or len(match[2] or "") > _DIGITS:
        raise typer.BadParameter(f"{text!r} is not MODEL, MODEL@VERSION or MODEL:ALIAS")
    model, version, alias = match.groups()
    return Reference(model, int(version) if version else None, alias)


def parse_version(text: str) -> tuple[str, int]:
    """Model and number of MODEL@VERSION; a usage error where it is anything else."""
    found = parse(text)
    if found.version is None:
        raise typer.BadParameter(f"{text!r} is not MODEL@VERSION")
    return found.model, found.version

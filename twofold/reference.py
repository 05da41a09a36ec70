"""How people name a version: MODEL, MODEL@VERSION, MODEL@ALIAS or MODEL:ALIAS."""

import re
from dataclasses import dataclass

from twofold import names
from twofold.errors import InvalidField

FORMS = "MODEL, MODEL@VERSION, MODEL@ALIAS or MODEL:ALIAS"
_REFERENCE = re.compile(r"([^@:]+)(?:@([0-9]+)|[@:]([^@:]+))?")
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


def parse(field: str, text: str) -> Reference:
    """The parts of a reference; raises InvalidField, naming `field`, where it is none."""
    match = _REFERENCE.fullmatch(text)
    if match is None or len(match[2] or "") > _DIGITS:
        raise InvalidField.of(field, text, FORMS)
    model, version, alias = match.groups()
    return Reference(model, int(version) if version else None, alias)


def checked(field: str, text: str) -> Reference:
    """Like `parse`, and the parts are names: for whoever makes paths of them."""
    found = parse(field, text)
    names.check_name(field, found.model)
    if found.alias is not None and found.alias != "latest":
        names.check_alias(field, found.alias)
    return found

"""Prints the settings of both services as a Markdown table; README.md holds its output.

`python -m tools.config_table --check` fails where README.md holds another one.
"""

import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from twofold.config import CommonSettings, InfererSettings, TrainerSettings

README = Path(__file__).parents[1] / "README.md"
HEAD = "| Variable | Of | Default | Allowed | Meaning |\n| --- | --- | --- | --- | --- |\n"


def allowed(field: FieldInfo) -> str:
    """The range or the choices of a setting, as text."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    low = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    high = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    return f"{low} to {high}" if low is not None else "text"


def variable(name: str, field: FieldInfo) -> str:
    """The environment variable of a setting."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"TWOFOLD_{name.upper()}"


def rows(owner: str, kind: type[CommonSettings], *, inherited: bool) -> list[str]:
    """A line per setting of `kind`; the inherited ones or its own."""
    own = {
        name: field
        for name, field in kind.model_fields.items()
        if (name in CommonSettings.model_fields) == inherited
    }
    return [
        f"| `{variable(name, field)}` | {owner} | `{field.default}` | {allowed(field)} "
        f"| {field.description} |"
        for name, field in own.items()
    ]


def table() -> str:
    """The whole table."""
    lines = [
        *rows("both", CommonSettings, inherited=True),
        *rows("trainer", TrainerSettings, inherited=False),
        *rows("inferer", InfererSettings, inherited=False),
    ]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(None if table() in README.read_text() else "README.md: run tools.config_table")
    print(table(), end="")

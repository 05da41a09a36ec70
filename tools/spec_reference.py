"""Prints every key of a training spec as Markdown tables; docs/training.md holds its output.

`python -m tools.spec_reference --check` fails where docs/training.md holds another one, and
`--write` puts it there, between two comments.
"""

import itertools
import sys
from pathlib import Path

from twofold import spec_fields, toml_spec
from twofold.field import Field

PAGE = Path(__file__).parents[1] / "docs" / "training.md"
BEGIN, END = "<!-- begin of tools.spec_reference -->\n", "<!-- end of tools.spec_reference -->\n"
HEAD = "| Key | Type and range | Default | Meaning |\n| --- | --- | --- | --- |\n"


def allowed(path: str, field: Field) -> str:
    """Type and range of a key; the choices of one that has some."""
    text = field.allowed() or field.kind
    if field.kind == "choice":
        text = ", ".join(f"`{word}`" for word in toml_spec.choices_of(path))
    return f"list of {text}, at most {field.entries:,}" if field.entries else text


def table(group: str, paths: list[str]) -> str:
    """The keys of one TOML table."""
    title = f"### `[{group}]`\n\n" if group else "### Top level\n\n"
    lines = [
        f"| `{path.rpartition('.')[2]}` | {allowed(path, field)} | {field.default_text()} "
        f"| {field.doc.replace('|', chr(92) + '|')} |\n"
        for path, field in ((path, spec_fields.FIELDS[path]) for path in paths)
    ]
    return title + HEAD + "".join(lines)


def reference() -> str:
    """All tables, in the order of the schema."""
    groups = itertools.groupby(spec_fields.FIELDS, key=lambda path: path.rpartition(".")[0])
    return "\n".join(table(group, list(paths)) for group, paths in groups)


def written(page: str) -> str:
    """A page with today's tables between the comments."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(
            None if written(text) == text else "docs/training.md: run tools.spec_reference --write"
        )
    if "--write" in sys.argv:
        PAGE.write_text(written(text), encoding="utf-8")
    else:
        print(reference(), end="")

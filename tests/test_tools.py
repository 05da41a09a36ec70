"""What is made of the schema is complete."""

from tools import spec_reference
from twofold import spec_fields


def test_every_key_of_a_spec_stands_in_the_reference_once() -> None:
    text = spec_reference.reference()

    for path in spec_fields.FIELDS:
        name = path.rpartition(".")[2]
        assert f"| `{name}` |" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(spec_fields.FIELDS)


def test_a_page_keeps_what_stands_around_the_tables() -> None:
    page = f"before\n{spec_reference.BEGIN}STALE{spec_reference.END}after\n"

    made = spec_reference.written(page)

    assert made.startswith("before\n")
    assert made.endswith("after\n")
    assert "STALE" not in made
    assert spec_reference.written(made) == made

"""How people name versions."""

import pytest

from twofold import reference
from twofold.errors import InvalidField
from twofold.reference import Reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits", ("digits", None, None)),
        ("digits@3", ("digits", 3, None)),
        ("digits@stable", ("digits", None, "stable")),
        ("digits:stable", ("digits", None, "stable")),
        ("digits@3x", ("digits", None, "3x")),
    ],
)
def test_parts(text: str, expected: tuple[str, int | None, str | None]) -> None:
    assert reference.checked("what", text) == Reference(*expected)


@pytest.mark.parametrize(
    ("text", "selector"), [("m", "latest"), ("m@7", 7), ("m@latest", "latest"), ("m:a", "a")]
)
def test_selectors(text: str, selector: int | str) -> None:
    assert reference.checked("what", text).selector == selector


@pytest.mark.parametrize("text", ["", "@3", "m@", "m@1@2", "m:a:b", "m@" + "9" * 20, ":a"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidField, match="allowed: MODEL, MODEL@VERSION"):
        reference.parse("what", text)


@pytest.mark.parametrize("text", ["../x", "M", "m@A", "models", "m:..", "m/n@1"])
def test_parts_that_are_no_names(text: str) -> None:
    with pytest.raises(InvalidField):
        reference.checked("what", text)

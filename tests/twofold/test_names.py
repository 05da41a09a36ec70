from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import names
from twofold.errors import InvalidField

ATTACKS = [
    "",
    ".",
    "..",
    "a..b",
    "../../etc/passwd",
    "/abs",
    "a/b",
    "a\\b",
    "C:\\x",
    "%2e%2e",
    "~",
    "a\0",
    "a\n",
    "a\r\nb",
    "\x1b[31m",
    "\u202ea",
    "А",  # noqa: RUF001 - a Cyrillic look-alike is the point
    "．．",  # noqa: RUF001 - so are full-width dots
    "ﬁ",
    "Upper",
    "-a",
    "_a",
    "a" * 64,
    "a" * 1_000_000,
    "latest",
    "builtin",
]


@pytest.mark.parametrize("value", ATTACKS, ids=range(len(ATTACKS)))
def test_a_name_that_could_be_a_path_or_hide_is_refused(value: str) -> None:
    with pytest.raises(InvalidField) as caught:
        names.check_name("spec.model", value)

    assert caught.value.fields["field"] == "spec.model"
    assert len(caught.value.message) < 600
    assert caught.value.message.isascii()


@pytest.mark.parametrize("value", ["a", "digits", "a-b_c.d", "0", "a" * 63, "x.y"])
def test_an_identifier_is_accepted(value: str) -> None:
    assert names.check_name("model", value) == value


def test_an_alias_cannot_look_like_a_version() -> None:
    with pytest.raises(InvalidField, match="digits"):
        names.check_alias("alias", "12")

    assert names.check_alias("alias", "v12") == "v12"


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.check_ulid, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav"),
        (names.check_ulid, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        (names.check_sha256, "0" * 64, "0" * 63),
        (names.check_sha256, "ab" * 32, "AB" * 32),
        (names.check_request_id, "6fa459ea-ee8a-4ca4-894e-db77e160355e", "6fa459ea"),
    ],
)
def test_made_identifiers_have_one_form(
    check: Callable[[str, str], str], good: str, bad: str
) -> None:
    assert check("field", good) == good
    with pytest.raises(InvalidField):
        check("field", bad)
    with pytest.raises(InvalidField):
        check("field", good + "\n")


def test_a_resource_name_yields_its_identifier() -> None:
    assert names.resource_id("name", "jobs/X", "jobs") == "X"
    for wrong in ("X", "jobs/", "models/X", "jobs/X/Y"):
        with pytest.raises(InvalidField):
            names.resource_id("name", wrong, "jobs")


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ulids_have_the_form_and_sort_by_time(milliseconds: int, noise: bytes) -> None:
    first = names.ulid(lambda: milliseconds, lambda _: noise)
    later = names.ulid(lambda: min(milliseconds + 1, 2**48 - 1), lambda _: b"\xff" * 10)

    assert names.check_ulid("id", first) == first
    assert first <= later


def test_ulids_of_one_process_differ() -> None:
    assert len({names.ulid() for _ in range(1_000)}) == 1_000

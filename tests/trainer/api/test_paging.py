"""Pages: sizes, tokens, and a bound on their bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.api import paging
from twofold.errors import InvalidField
from twofold.v1 import model_pb2


@pytest.mark.parametrize(
    ("asked", "given_size"), [(0, 50), (1, 1), (1_000, 1_000), (2**31 - 1, 1_000)]
)
def test_sizes_are_defaulted_and_capped(asked: int, given_size: int) -> None:
    assert paging.page_size(asked) == given_size


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(InvalidField, match="page_size is -1"):
        paging.page_size(-1)


@given(st.text(max_size=40))
def test_a_token_comes_back(position: str) -> None:
    assert paging.decode_token(paging.encode_token(position)) == position


@pytest.mark.parametrize("token", ["*", "a", "A" * 300, "é", "/w==", "gA=="])
def test_a_token_that_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(InvalidField, match="page_token"):
        paging.decode_token(token)


def test_a_page_ends_before_it_is_too_large_but_never_empty() -> None:
    large = model_pb2.Model(name="x" * (paging.MAX_BYTES // 2))

    page, has_more = paging.cut([large] * 5, 5, lambda model: model)
    assert (len(page), has_more) == (1, True)

    huge = model_pb2.Model(name="x" * (paging.MAX_BYTES * 2))
    page, has_more = paging.cut([huge], 5, lambda model: model)
    assert (len(page), has_more) == (1, False)


@given(st.integers(0, 20), st.integers(1, 20))
def test_pages_hold_what_was_asked_for(count: int, size: int) -> None:
    items = [model_pb2.Model(name=str(number)) for number in range(count)]

    page, has_more = paging.cut(items, size, lambda model: model)

    assert page == items[:size]
    assert has_more == (count > size)

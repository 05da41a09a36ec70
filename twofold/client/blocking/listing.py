"""Whole lists from pages."""

from collections.abc import Callable
from typing import TypeVar

from twofold.client.calls.call import Page, page_size

T = TypeVar("T")


def collect(read: Callable[[int, str], Page[T]], limit: int | None) -> list[T]:
    """The first `limit` (None: all) items of the pages that `read(size, token)` gives."""
    items: list[T] = []
    token = ""
    while size := page_size(limit, len(items)):
        page = read(size, token)
        items += page.items
        token = page.next_token
        if not token:
            break
    return items[:limit]

"""Whole lists from pages."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twofold.client.calls.call import Page, page_size

T = TypeVar("T")


async def collect(read: Callable[[int, str], Awaitable[Page[T]]], limit: int | None) -> list[T]:
    """The first `limit` (None: all) items of the pages that `read(size, token)` gives."""
    items: list[T] = []
    token = ""
    while size := page_size(limit, len(items)):
        page = await read(size, token)
        items += page.items
        token = page.next_token
        if not token:
            break
    return items[:limit]

"""Streams that a server can bound and end."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import contextmanager
from typing import TypeVar

from trainer import tasks
from twofold.errors import LimitExceeded, Unavailable
from twofold.principal import Principal

Item = TypeVar("Item")


class StreamSlots:
    """Open streams per principal. Owned by the event loop's thread."""

    def __init__(self, limit: int, name: str, hint: str) -> None:
        """`name` is the limit's, `hint` what a caller can do, for the message."""
        self._limit = limit
        self._name = name
        self._hint = hint
        self._open: Counter[Principal] = Counter()

    @contextmanager
    def taken_by(self, principal: Principal) -> Generator[None]:
        """A slot while the block runs; raises LimitExceeded where none is free."""
        if self._open[principal] >= self._limit:
            raise LimitExceeded(
                f"{self._limit} streams are open; {self._hint}",
                limit=self._name,
                value=self._limit + 1,
                allowed=self._limit,
            )
        self._open[principal] += 1
        try:
            yield
        finally:
            self._open[principal] -= 1
            if not self._open[principal]:
                del self._open[principal]


async def until(stop: asyncio.Event, items: AsyncIterator[Item]) -> AsyncGenerator[Item]:
    """The items; raises Unavailable as soon as `stop` is set. Closes `items` in the end."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while True:
            upcoming = asyncio.ensure_future(_next(items))
            try:
                await asyncio.wait((stopping, upcoming), return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    raise Unavailable("the server ends; repeat the call with the last cursor")
                found = await upcoming
            finally:
                await tasks.end(upcoming)
            if found is None:
                return
            yield found[0]
    finally:
        await tasks.end(stopping)
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


async def _next(items: AsyncIterator[Item]) -> tuple[Item] | None:
    async for item in items:
        return (item,)
    return None

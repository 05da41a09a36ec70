"""Waiting for what another process does: a poll with a deadline, never a fixed sleep."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.proc import is_running

_INTERVAL_S = 0.01


async def until(is_so: Callable[[], Awaitable[bool]], timeout_s: float = 10) -> None:
    """Returns once `is_so()` is true; raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not await is_so():  # noqa: ASYNC110 - another process has no asyncio.Event
            await asyncio.sleep(_INTERVAL_S)


async def until_gone(pid: int, timeout_s: float = 10) -> None:
    """Returns once no process runs under `pid`; raises TimeoutError."""

    async def is_gone() -> bool:
        return not is_running(pid)

    await until(is_gone, timeout_s)

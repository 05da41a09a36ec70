"""A task is ended even if a library swallows its cancellation."""

import asyncio
import contextlib

import pytest

from trainer import tasks


async def test_a_task_that_swallows_its_cancellation_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_S", 0.01)
    begun = asyncio.Event()
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    async def quick() -> None:
        return

    task, other = asyncio.create_task(stubborn()), asyncio.create_task(quick())
    await begun.wait()
    await tasks.end(task, other)

    assert swallowed == 3
    assert task.cancelled()


async def test_ending_nothing_is_fine() -> None:
    await tasks.end()


async def test_a_caller_that_is_cancelled_leaves_no_task_behind() -> None:
    release = asyncio.Event()
    cancelled = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

    task = asyncio.create_task(slow_to_end())
    await asyncio.sleep(0)
    caller = asyncio.create_task(tasks.end(task))
    await cancelled.wait()
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert task.done()

"""A task is ended even if a library swallows its cancellation."""

import asyncio

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

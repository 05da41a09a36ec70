"""Ending asyncio tasks for certain."""

import asyncio

#: Seconds after which a task that has not ended is cancelled again.
_AGAIN_S = 1.0


async def end(*tasks: "asyncio.Task[object]") -> None:
    """Cancels tasks and returns once all have ended; their results and errors are left in them.

    Repeats the cancellation: asyncio.wait_for of Python 3.11, which libraries may call, forgets one
    that comes just as its own wait is over, and a loop around it would go on for ever.
    If the caller is cancelled meanwhile, it is so once the tasks have ended: none is left behind.
    """
    pending = {task for task in tasks if not task.done()}
    is_cancelled = False
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=_AGAIN_S)
        except asyncio.CancelledError:
            is_cancelled = True
        pending = {task for task in pending if not task.done()}
    if is_cancelled:
        raise asyncio.CancelledError

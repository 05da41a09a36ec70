"""Ending asyncio tasks for certain."""

import asyncio

#: Seconds after which a task that has not ended is cancelled again.
_AGAIN_S = 1.0


async def end(*tasks: "asyncio.Task[object]") -> None:
    """Cancels tasks and returns once all have ended; their results and errors are left in them.

    Repeats the cancellation: asyncio.wait_for of Python 3.11, which libraries call, forgets one
    that comes just as its own wait is over, and a loop around it would then go on for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)

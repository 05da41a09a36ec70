"""Calls that need a task of their own, for applications whose `begin` has no quicker way."""

import asyncio
from collections.abc import Callable, Coroutine

from inferer.transport import Reply


class Tasks:
    """Holds tasks until they are done: the event loop alone would let them go."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[None]]()

    def begin(
        self, serving: Coroutine[object, object, bytes], reply: Reply
    ) -> Callable[[], object]:
        """Runs a call to its reply; what to call where the caller leaves."""
        task = asyncio.get_running_loop().create_task(_finish(serving, reply))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            serving.close()  # where the caller left at once, it has not even begun

        task.add_done_callback(done)
        return task.cancel


async def _finish(serving: Coroutine[object, object, bytes], reply: Reply) -> None:
    try:
        answer = await serving
    except Exception as error:  # noqa: BLE001 - the top of a call
        reply.fail(error)
    else:
        reply.answer(answer)

"""Calls that have tasks: each is begun at most once, and none is left behind."""

import asyncio
import gc
import warnings

from inferer.transport.tasks import Tasks


class Replies:
    """A Reply that keeps what came."""

    def __init__(self) -> None:
        self.got: list[bytes | Exception] = []

    def answer(self, message: bytes) -> None:
        self.got.append(message)

    def fail(self, error: Exception) -> None:
        self.got.append(error)


async def serve(answer: bytes | Exception) -> bytes:
    await asyncio.sleep(0)
    if isinstance(answer, Exception):
        raise answer
    return answer


async def test_what_comes_out_is_the_reply() -> None:
    tasks, replies, error = Tasks(), Replies(), ValueError("no")
    tasks.begin(serve(b"yes"), replies)
    tasks.begin(serve(error), replies)
    await asyncio.wait({*tasks._tasks})

    assert replies.got == [b"yes", error]


async def test_who_leaves_at_once_leaves_nothing_behind() -> None:
    tasks, replies = Tasks(), Replies()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for turns in (0, 1):
            cancel = tasks.begin(serve(b"yes"), replies)
            for _ in range(turns):
                await asyncio.sleep(0)
            cancel()
            await asyncio.wait({*tasks._tasks})
        gc.collect()

    assert replies.got == []
    assert [str(one.message) for one in caught] == []

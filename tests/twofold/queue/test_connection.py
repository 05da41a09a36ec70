import asyncio
import random

import pytest

from tests.valkey import Valkey
from twofold.errors import Unavailable
from twofold.queue.connection import Connection


async def test_no_cancellation_is_lost_while_commands_are_under_way(valkey: Valkey) -> None:
    """A loop over the queue ends when it is told to, whatever it is just doing."""

    async def loop(connection: Connection) -> None:
        while True:
            await connection.call("PING")

    noise = random.Random(1)  # noqa: S311 - not a secret
    async with Connection(valkey.url) as connection:
        for _ in range(100):
            task = asyncio.create_task(loop(connection))
            await asyncio.sleep(noise.random() / 500)
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=2)
            assert done == {task}


async def test_a_server_that_stands_still_is_away_not_awaited_for_ever(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twofold.queue.connection.REPLY_TIMEOUT_S", 0.2)
    async with Connection(valkey.url, patience_s=0) as connection:
        await connection.call("PING")
        valkey.pause()
        try:
            with pytest.raises(Unavailable):
                await connection.call("PING")
        finally:
            valkey.resume()
        assert await connection.call("PING") == b"PONG"

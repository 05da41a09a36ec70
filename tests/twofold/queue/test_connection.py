"""The edge to redis-py: what a lost answer, a slow server and its refusals mean."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import cast

import pytest

from tests.valkey import Valkey
from tests.waiting import until
from twofold.errors import LimitExceeded, Unavailable
from twofold.queue.connection import Argument, Connection, NoGroup, Script


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


@pytest.fixture
async def replica(valkey: Valkey) -> AsyncIterator[Connection]:
    """A connection to a server that takes no writes, as a primary that was demoted."""
    async with Connection(valkey.url, patience_s=0) as connection:
        await connection.evaluate(WRITE, ["twofold:{x}:queue"], [])
        await connection.call("DEL", "twofold:{x}:queue")
        valkey.command("REPLICAOF", "127.0.0.1", 1)
        yield connection
        valkey.command("REPLICAOF", "NO", "ONE")


WRITE = Script("#!lua\nreturn redis.call('XADD', KEYS[1], '*', 'a', 'b')")
COMMAND: tuple[Argument, ...] = ("DEL", "twofold:{x}:queue")


async def test_a_server_that_takes_no_writes_now_is_unavailable(replica: Connection) -> None:
    with pytest.raises(Unavailable):
        await replica.call(*COMMAND)
    with pytest.raises(Unavailable):
        await replica.call_all([("PING",), COMMAND])
    with pytest.raises(Unavailable):
        await replica.evaluate(WRITE, ["twofold:{x}:queue"], [])
    with pytest.raises(Unavailable):
        await replica.evaluate_all(WRITE, [(["twofold:{x}:queue"], [])])


async def test_a_full_memory_is_a_limit_for_one_command_and_for_many(valkey: Valkey) -> None:
    async with Connection(valkey.url, patience_s=0) as connection:
        await connection.call("PING")
        valkey.command("CONFIG", "SET", "maxmemory", 1)
        add: tuple[Argument, ...] = ("XADD", "twofold:{x}:queue", "*", "a", "b")

        with pytest.raises(LimitExceeded):
            await connection.call(*add)
        with pytest.raises(LimitExceeded):
            await connection.call_all([("PING",), add])
        with pytest.raises(LimitExceeded):
            await connection.evaluate(WRITE, ["twofold:{x}:queue"], [])


async def test_a_read_that_waits_outlives_the_end_of_its_stream(valkey: Valkey) -> None:
    """The server says UNBLOCKED or NOGROUP, by its release; neither is a defect of ours."""
    async with Connection(valkey.url) as connection:
        key = "twofold:{x}:queue"
        await connection.call("XGROUP", "CREATE", key, "g", "0", "MKSTREAM")
        read = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 2_000, "STREAMS", key, ">")
        waiting = asyncio.create_task(connection.block(2, *read))

        async def is_blocked() -> bool:
            return b"blocked_clients:1" in cast("bytes", valkey.command("INFO", "clients"))

        await until(is_blocked)

        valkey.command("FLUSHALL")

        with pytest.raises(NoGroup):
            await waiting


async def test_scripts_that_the_server_lost_are_loaded_again_for_many_runs(valkey: Valkey) -> None:
    async with Connection(valkey.url) as connection:
        valkey.command("SCRIPT", "FLUSH")
        one = Script("#!lua flags=no-writes\nreturn ARGV[1]")

        found = await connection.evaluate_all(one, [([], ["a"]), ([], ["b"])])

    assert found == [b"a", b"b"]

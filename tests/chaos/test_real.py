"""Tier R itself: what its parts do, and that a handful of seeds keep every promise."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.real.nursery import Nursery
from tests.chaos.real.options import Options
from tests.chaos.real.plan import draw
from tests.chaos.real.proxy import Proxy
from tests.chaos.real.scenario import play
from tests.chaos.real.site import folder
from tests.proc import is_running
from tests.waiting import until_gone

SEEDS = range(6)


def test_a_seed_draws_one_plan() -> None:
    assert [draw(seed) for seed in range(50)] == [draw(seed) for seed in range(50)]
    assert len({str(draw(seed)) for seed in range(50)}) == 50


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_random_faults_break_no_promise(nursery: Nursery) -> None:
    results = await asyncio.gather(*[play(seed, nursery) for seed in SEEDS])

    assert [result.story for result in results if result.violations] == []
    assert sum(result.counts["jobs"] for result in results) > len(SEEDS)


@asynccontextmanager
async def proxied() -> AsyncGenerator[tuple[Proxy, Path]]:
    """A proxy before a server that answers every line with ten bytes more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(b"0123456789" + line)
        writer.close()

    with folder() as path:
        server = await asyncio.start_unix_server(serve, path / "server")
        async with server, Proxy(path / "proxy", path / "server") as proxy:
            yield proxy, path / "proxy"


async def ask(path: Path, line: bytes = b"a\n") -> bytes:
    """The answer to a line, as far as it came."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(line)
        return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_proxy_passes_everything_when_nothing_is_asked_of_it() -> None:
    async with proxied() as (_, path):
        assert await ask(path) == b"0123456789a\n"


async def test_proxy_flips_one_bit_of_the_answer_that_was_asked_for() -> None:
    async with proxied() as (proxy, path):
        proxy.flip_at = 13

        assert await ask(path) == b"0123456789a\n"
        assert await ask(path) == b"\xb0123456789a\n"
        assert await ask(path) == b"0123456789a\n"


async def test_proxy_cuts_after_the_bytes_that_were_asked_for() -> None:
    async with proxied() as (proxy, path):
        proxy.cut_after = 4

        assert (await ask(path)) in {b"0123", b""}
        assert await ask(path) == b"0123456789a\n"


async def test_proxy_swallows_all_while_black_and_breaks_old_connections_when_healed() -> None:
    async with proxied() as (proxy, path):
        proxy.is_black = True
        asked = asyncio.create_task(ask(path))
        done, _ = await asyncio.wait((asked,), timeout=0.2)
        proxy.heal()

        assert done == set()
        assert await asked == b""
        assert await ask(path) == b"0123456789a\n"


async def test_proxy_resets_what_is_open() -> None:
    async with proxied() as (proxy, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a\n")
        await reader.readline()
        proxy.reset()

        assert await reader.read() == b""
        writer.close()


async def test_processes_end_with_the_nursery(tmp_path: Path) -> None:
    with Nursery() as nursery:
        options = Options(
            role="worker",
            name="w",
            url=f"unix://{tmp_path}/nobody",
            store=str(tmp_path / "store"),
            history=str(tmp_path / "history"),
            log=str(tmp_path / "log"),
        )
        pid = nursery.fork(options)
        assert is_running(pid)

    await until_gone(pid)

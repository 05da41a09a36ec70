import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.waiting import until
from twofold.cluster import valkey
from twofold.config import UnusableSettings


@asynccontextmanager
async def running(data: Path, path: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    command = valkey.command(valkey.find_server_binary(), data, path)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: valkey.is_answering(path))
        yield process
    finally:
        process.terminate()
        await process.wait()


async def ask(path: Path, *words: str) -> str:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write((" ".join(words) + "\r\nECHO end\r\n").encode())
    answer = await reader.readuntil(b"end\r\n")
    writer.close()
    await writer.wait_closed()
    return answer.decode()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("port", "0"),
        ("unixsocketperm", "700"),
    ],
)
async def test_the_server_runs_with_what_durability_needs(
    tmp_path: Path, setting: str, value: str
) -> None:
    with valkey.socket_path(tmp_path) as path:
        async with running(tmp_path, path):
            answer = await ask(path, "CONFIG", "GET", setting)

    assert value in answer.split("\r\n")


async def test_a_write_survives_kill_9(tmp_path: Path) -> None:
    with valkey.socket_path(tmp_path) as path:
        async with running(tmp_path, path) as process:
            assert "+OK" in await ask(path, "SET", "k", "kept")
            process.kill()
            await process.wait()
            assert not await valkey.is_answering(path)
            process.terminate = lambda: None  # it is gone
        async with running(tmp_path, path):
            assert "kept" in await ask(path, "GET", "k")


async def test_a_server_that_loads_its_file_does_not_answer_yet(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def load(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-LOADING the dataset\r\n")
        writer.close()

    server = await asyncio.start_unix_server(load, str(path))
    async with server:
        assert not await valkey.is_answering(path)


def test_a_long_folder_gets_a_private_socket_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)

    with valkey.socket_path(folder) as path:
        assert len(os.fsencode(path)) <= 107
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    assert not path.parent.exists()


def test_a_short_folder_holds_the_socket() -> None:
    with valkey.socket_path(Path("/data")) as path:
        assert path == Path("/data/valkey.sock")
        assert valkey.url(path) == "unix:///data/valkey.sock"


def test_the_url_quotes_what_urls_reserve() -> None:
    assert valkey.url(Path("/a b/c?d")) == "unix:///a%20b/c%3Fd"


def test_a_server_on_path_is_found_without_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(valkey, "_PACKAGE", "twofold_no_such_package")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnusableSettings, match=r"twofold\[embedded\]"):
        valkey.find_server_binary()

    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    assert valkey.find_server_binary() == program

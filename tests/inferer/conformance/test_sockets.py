"""Addresses that are paths: unix sockets."""

import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.inferer.conformance.application import STREAM, UNARY, huge
from tests.inferer.conformance.callers import calling
from tests.inferer.conformance.transports import MAX_MESSAGE_BYTES, Running, serving

ECHO = UNARY + "Echo"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inferer.sock"


@pytest_asyncio.fixture
async def local(transport: str, path: Path, all_caught: None) -> AsyncGenerator[Running]:
    """A server that listens on a path."""
    del all_caught
    async with serving(transport, address=f"unix:{path}") as running:
        yield running


async def test_clients_on_the_same_machine_are_served(
    local: Running, kind: str, path: Path
) -> None:
    assert local.address == f"unix:{path}"
    async with calling(kind, local.address) as caller:
        content = huge(MAX_MESSAGE_BYTES)
        assert await caller.unary(ECHO, content) == content
        assert await caller.unary(UNARY + "Huge", b"3999999") == huge(3_999_999)
        assert await caller.stream(STREAM + "Echo", [b"a", b"b"]) == [b"a", b"b"]

    assert {call.peer.partition(":")[0] for call in local.application.calls} == {"unix"}


@pytest.mark.parametrize("is_left_behind", [False, True])
async def test_a_server_may_start_where_another_has_ended(
    transport: str, path: Path, *, is_left_behind: bool
) -> None:
    """As after a crash, where nobody removed the socket's file."""
    if is_left_behind:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
            gone.listen()
    for _ in range(2):
        async with (
            serving(transport, address=f"unix:{path}") as server,
            calling("aio", server.address) as caller,
        ):
            assert await caller.unary(ECHO) == b"abc"


async def test_a_path_that_cannot_be_used_is_an_error(transport: str, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/nowhere/inferer.sock"

    with pytest.raises(OSError, match=f"cannot listen on {address}"):
        async with serving(transport, address=address):
            pass

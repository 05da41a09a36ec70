"""Every test of this folder runs over each transport, on the event loop that serves."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any  # of asyncio's own contexts

import pytest
import pytest_asyncio
import uvloop

from tests.inferer.conformance import transports
from tests.inferer.conformance.transports import Inferring, Running
from tests.inferer.conformance.wire import is_serving
from twofold.seams import Clock, SystemClock


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """As the inferer's process has it."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=transports.NAMES)
def transport(request: pytest.FixtureRequest) -> str:
    """A transport's name."""
    return str(request.param)


@pytest.fixture(params=["aio", "sync"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of grpcio's clients."""
    return str(request.param)


@pytest.fixture
def clock() -> Clock:
    """What the servers go by."""
    return SystemClock()


@pytest_asyncio.fixture
async def all_caught() -> AsyncGenerator[None]:
    """Nothing is raised on the event loop that nobody catches."""
    uncaught = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: uncaught.append(context))
    yield
    assert [context for context in uncaught if not _is_of_an_earlier_test(context)] == []


def _is_of_an_earlier_test(context: Mapping[str, Any]) -> bool:
    """An end that grpcio's one poller hands on late, to the loop of a test that is over."""
    is_poller = "PollerCompletionQueue" in str(context["message"])
    return is_poller and str(context.get("exception")) == "Event loop is closed"


@pytest_asyncio.fixture
async def server(transport: str, clock: Clock, all_caught: None) -> AsyncGenerator[Running]:
    """A running server. Whatever a test did to it, afterwards it answers a new connection."""
    del all_caught
    async with transports.serving(transport, clock) as running:
        yield running
        running.application.release.set()
        assert await is_serving(running.address)


@pytest_asyncio.fixture
async def inferer(transport: str) -> AsyncGenerator[Inferring]:
    """The inference service behind a transport."""
    async with transports.inferring(transport) as running:
        yield running

"""Fixtures of the client's tests."""

from collections.abc import Iterator

import pytest

from tests.twofold.client.serving import Servers, serve
from twofold.client import Client


@pytest.fixture
def servers() -> Iterator[Servers]:
    """A trainer and an inferer."""
    with serve() as both:
        yield both


@pytest.fixture
def client(servers: Servers) -> Iterator[Client]:
    """A blocking client of `servers`."""
    with Client(connection=servers.connection()) as made:
        yield made

"""Fixtures of the tests that break things."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.chaos.real.nursery import Nursery
from tests.chaos.real.site import Site, folder


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One zygote per process that runs tests."""
    with Nursery() as made:
        yield made


@pytest.fixture
async def site(nursery: Nursery) -> AsyncIterator[Site]:
    """A toy site of its own, with nothing running but the queue's server."""
    with folder() as path:
        async with Site(path, nursery) as made:
            yield made

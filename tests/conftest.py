"""Fixtures of all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.valkey import Valkey, take_leaks
from twofold import faults
from twofold.store import LocalStore

# No deadline per example: a machine that runs other things too would make it a matter of luck.
settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets tests marked `slow` take as long as the marker says."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server per process that runs tests."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Iterator[Valkey]:
    """A running, empty server."""
    valkey_server.start()
    valkey_server.command("FLUSHALL")
    valkey_server.command("CONFIG", "SET", "maxmemory", 0)
    yield valkey_server
    if valkey_server.is_running():
        valkey_server.resume()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty store."""
    return LocalStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def no_leaked_keys() -> Iterator[None]:
    """On whatever server a test used: every key expires or is declared permanent."""
    take_leaks()  # those of a fixture that outlives tests were reported where they were made
    yield
    assert take_leaks() == []


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No fault point that a test armed stays armed."""
    yield
    faults.disarm()

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.valkey import immortal_keys
from twofold.client import Client
from twofold.cluster.embedded import Embedded, running

#: Short leases, so that takeovers are quick; a long backoff, so that a job can be seen to wait.
ENVIRONMENT = {
    "TWOFOLD_LEASE_S": "2",
    "TWOFOLD_BEAT_S": "0.4",
    "TWOFOLD_RETRY_BACKOFF_S": "300",
    "TWOFOLD_DRAIN_S": "5",
    "TWOFOLD_THREADS": "1",
    "TWOFOLD_INSECURE": "",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A running cluster that the tests of one module share."""
    folder = tmp_path_factory.mktemp("cluster")
    with running(folder, ENVIRONMENT) as embedded:
        yield embedded
        assert immortal_keys(folder / "valkey.sock") == []


@pytest.fixture(scope="module")
def client(cluster: Embedded) -> Iterator[Client]:
    with Client(train=cluster.train, infer=cluster.infer) as connected:
        yield connected


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[2]

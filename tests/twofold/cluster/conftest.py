from collections.abc import Iterator

import pytest

from twofold.cluster.ports import Reserved


@pytest.fixture
def ports() -> Iterator[Reserved]:
    """Ports of the loopback that nothing else takes during a test."""
    with Reserved() as reserved:
        yield reserved

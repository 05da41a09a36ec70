"""A ledger over a real queue and a real store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.twofold.lifecycle.bench import Bench
from tests.valkey import Valkey


@pytest.fixture
async def bench(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Bench]:
    """One process's ledger."""
    async with Bench(valkey, tmp_path / "store") as made:
        yield made


@pytest.fixture
async def other(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Bench]:
    """Another process's ledger over the same queue and store."""
    async with Bench(valkey, tmp_path / "store") as made:
        yield made

"""Fixtures of the inferer's tests."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Inferers keep what they measure in a cache of the tests', not of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWOFOLD_CACHE", str(tmp_path_factory.mktemp("cache") / "twofold"))
        yield


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is not let go of by itself stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()

"""The load generator against the real inferer."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from tests.inferer import artifacts
from tests.inferer.server import Running, running, settings_for
from tests.waiting import until
from twofold.cli.bench_run import Options, prepared
from twofold.errors import NotFound
from twofold.loadgen import points
from twofold.loadgen.points import Load, Point
from twofold.loadgen.requests import Asked
from twofold.loadgen.schedule import Arrivals
from twofold.store import LocalStore


async def measured(inferer: Running, model: str, load: Load, **changes: object) -> Point:
    """A short point, measured on another thread."""
    values: dict[str, object] = {
        "address": inferer.app.address,
        "asked": Asked(model),
        "duration_s": 0.3,
        "warmup_s": 0.0,
        "timeout_s": 10.0,
        "arrivals": Arrivals.POISSON,
        "seed": 0,
        "shapes": {},
        "data": None,
        "server_pid": None,
        **changes,
    }

    def run() -> Point:
        with prepared(Options(**values)) as measure:  # pyright: ignore[reportArgumentType] - a test's own
            return measure(load)

    return await asyncio.to_thread(run)


async def is_ready(inferer: Running) -> bool:
    return inferer.app.health.is_serving


@pytest.fixture
def served(tmp_path: Path) -> LocalStore:
    """Numbers, and numbers beside a category."""
    store = LocalStore(tmp_path)
    artifacts.put(store, "numbers", artifacts.constant(3.0))
    artifacts.put(store, "mixed", artifacts.classifier())
    return store


async def test_every_request_is_answered(served: LocalStore, tmp_path: Path) -> None:
    del served
    async with running(settings_for(tmp_path)) as inferer:
        one = await measured(inferer, "numbers", points.closed(1))
        many = await measured(
            inferer, "mixed", points.closed(16, 4), asked=Asked("mixed", "1", rows=3)
        )
        steady = await measured(inferer, "numbers", points.opened(200))

    for point in (one, many, steady):
        assert point.errors == {}
        assert point.answered_count > 10
        assert point.latency_ms.count >= point.answered_count - 16
        assert set(point.versions) == {"1"}
        assert 0 < point.latency_ms.p50 <= point.latency_ms.p99 <= point.latency_ms.max
    assert steady.latency_ms.count == pytest.approx(60, abs=40)


async def test_rows_are_counted_by_the_server(served: LocalStore, tmp_path: Path) -> None:
    """What was sent is what was asked for: too many rows are refused, and that is counted."""
    del served
    async with running(settings_for(tmp_path, max_batch_size=4)) as inferer:
        fits = await measured(inferer, "numbers", points.closed(2), asked=Asked("numbers", "", 4))
        not_so = await measured(inferer, "numbers", points.closed(2), asked=Asked("numbers", "", 5))

    assert fits.errors == {}
    assert set(not_so.errors) == {"INVALID_ARGUMENT"}
    assert "max_batch" in not_so.examples["INVALID_ARGUMENT"]


async def test_unknown_model_is_told_with_what_there_is(served: LocalStore, tmp_path: Path) -> None:
    del served
    async with running(settings_for(tmp_path)) as inferer:
        await until(partial(is_ready, inferer))
        with pytest.raises(
            NotFound, match="model nothing does not exist; there are: mixed, numbers"
        ):
            await measured(inferer, "nothing", points.closed(1))

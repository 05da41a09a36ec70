"""A trainer compares queue and store at its start, and whenever data may be lost."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.trainer.fakes import eventually
from trainer import recovery, tasks
from trainer.outage import Outages
from trainer.recovery import Recovery
from twofold.errors import Unavailable
from twofold.lifecycle import Reconciled
from twofold.seams import SystemClock, SystemRandomness
from twofold.store import StoreError


@dataclass
class FakeLedger:
    """Notes what is asked of it; fails as often as it has errors to raise."""

    errors: list[Exception] = field(default_factory=list[Exception])
    calls: list[str] = field(default_factory=list[str])

    async def reconcile(self) -> Reconciled:
        self._called("reconcile")
        return Reconciled()

    async def recover(self) -> Reconciled | None:
        self._called("recover")
        return None

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.errors:
            raise self.errors.pop(0)


@asynccontextmanager
async def running(ledger: FakeLedger) -> AsyncGenerator[None]:
    made = Recovery(ledger, SystemClock(), SystemRandomness(), Outages())
    task = asyncio.create_task(made.run())
    try:
        yield
    finally:
        await tasks.end(task)


async def test_a_whole_comparison_comes_first_then_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOOK_S", 0.01)
    ledger = FakeLedger()
    async with running(ledger):
        await eventually(lambda: len(ledger.calls) >= 3)

    assert ledger.calls[:3] == ["reconcile", "recover", "recover"]


async def test_the_comparison_is_repeated_until_it_is_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recovery, "LOOK_S", 0.01)
    ledger = FakeLedger([Unavailable("away"), ZeroDivisionError()])
    async with running(ledger):
        await eventually(lambda: "recover" in ledger.calls)

    assert ledger.calls[:4] == ["reconcile", "reconcile", "reconcile", "recover"]
    assert caplog.text.count("the queue cannot be compared with the store") == 1


async def test_a_failing_look_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOOK_S", 0.01)
    ledger = FakeLedger()
    async with running(ledger):
        await eventually(lambda: len(ledger.calls) >= 2)
        ledger.errors += [Unavailable("away"), ZeroDivisionError()]
        before = len(ledger.calls)
        await eventually(lambda: len(ledger.calls) >= before + 4)

    assert set(ledger.calls[1:]) == {"recover"}


async def test_each_outage_of_the_store_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recovery, "LOOK_S", 0.01)
    ledger = FakeLedger([StoreError("first"), StoreError("still")])
    async with running(ledger):
        await eventually(lambda: "recover" in ledger.calls)
        ledger.errors += [StoreError("second")]
        before = len(ledger.calls)
        await eventually(lambda: len(ledger.calls) >= before + 2)

    told = [getattr(one, "why", "") for one in caplog.records if one.message == "out of reach"]
    assert told == ["first", "second"]


async def test_a_look_without_a_comparison_says_nothing_of_the_store(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recovery, "LOOK_S", 0.01)
    ledger = FakeLedger()
    async with running(ledger):
        await eventually(lambda: "recover" in ledger.calls)
        for why in ("first", "still"):
            ledger.errors += [StoreError(why)]
            before = len(ledger.calls)
            await eventually(lambda least=before + 3: len(ledger.calls) >= least)

    told = [getattr(one, "why", "") for one in caplog.records if one.message == "out of reach"]
    assert told == ["first"]

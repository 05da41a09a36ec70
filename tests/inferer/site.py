"""Models over loads that a test directs."""

import asyncio
from collections.abc import Mapping

from inferer.holdings import Served
from inferer.memory import Measured, Memory, size_of
from inferer.models import Models
from inferer.policies import VersionPolicy
from inferer.reference import Reference
from inferer.versions import Retention, Stored
from tests.inferer.fakes import FakeClock, manifest_of, served
from twofold.versions import VersionState

DEFAULT = Reference()
#: What a version without weights takes.
UNIT_BYTES = size_of(manifest_of("m", 1))


class Loads:
    """Loads at once, unless a version is to fail or to wait."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.begun: list[tuple[str, int]] = []
        self.fail: dict[int, Exception] = {}
        self.gates: dict[int, asyncio.Event] = {}
        #: Bytes of weights of each version, 0 where there is none.
        self.weights: dict[int, int] = {}

    async def load(self, name: str, number: int) -> Served:
        self.begun.append((name, number))
        if number in self.gates:
            await self.gates[number].wait()
        if number in self.fail:
            raise self.fail[number]
        return served(name, number, self.clock, weights_bytes=self.weights.get(number, 0))


class Bench:
    """Models over loads that a test directs."""

    def __init__(
        self, policy: VersionPolicy | None = None, budget_bytes: int = 0, max_pinned: int = 2
    ) -> None:
        self.clock = FakeClock()
        self.loads = Loads(self.clock)
        self.measured: list[tuple[str, int]] = []
        #: What the next measurements meet.
        self.unreadable: list[Exception] = []
        self.models = Models(
            self.loads.load,
            self.clock,
            Retention(grace_s=60, max_pinned=max_pinned, policy=policy or VersionPolicy()),
            memory=Memory(budget_bytes, self._measure) if budget_bytes else None,
        )

    async def _measure(self, name: str, number: int) -> Measured:
        self.measured.append((name, number))
        if self.unreadable:
            raise self.unreadable.pop(0)
        manifest = manifest_of(name, number, self.loads.weights.get(number, 0))
        return Measured(size_of(manifest), "sha")

    def store(
        self,
        *numbers: int,
        name: str = "m",
        withdrawn: tuple[int, ...] = (),
        aliases: Mapping[str, int] | None = None,
    ) -> None:
        versions = tuple(VersionState(number, number in withdrawn) for number in numbers)
        self.models.update({name: Stored(versions, aliases or {})})

    async def number(self, reference: Reference = DEFAULT, patience_s: float = 5.0) -> int:
        deadline_s = self.clock.now_s + patience_s
        return (await self.models.find("m", reference, deadline_s)).number

    async def idle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

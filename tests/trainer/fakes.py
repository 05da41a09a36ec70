"""Stand-ins for what a worker works with: a ledger in memory, quick clocks, real folders."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.metrics import Metrics
from trainer.outage import Outages
from trainer.site import Site
from twofold.config import TrainerSettings
from twofold.errors import Unavailable
from twofold.internal.v1 import record_pb2
from twofold.jobs import Fenced, Job
from twofold.lifecycle import Claim
from twofold.seams import SystemClock, SystemRandomness
from twofold.store import LocalStore
from twofold.v1 import model_pb2, training_pb2

JOB = "01J00000000000000000000000"
ATTEMPT = "01J00000000000000000000001"
RUNNING = training_pb2.JOB_STATE_RUNNING
CANCELLING = training_pb2.JOB_STATE_CANCELLING


def make_claim(model: str, *, dataset: str = "xor", resume_path: str | None = None) -> Claim:
    record = record_pb2.JobRecord(format_version=1)
    record.spec.model = model
    record.spec.data.dataset = dataset
    job = Job(id=JOB, model=model, state=RUNNING, attempt=ATTEMPT, attempt_count=1)
    return Claim("local", job, record, ATTEMPT, resume_path)


@dataclass
class FakeLedger:
    """Remembers what the worker tells it; `away` makes that many calls fail."""

    claims: list[Claim] = field(default_factory=list[Claim])
    told: list[str] = field(default_factory=list[str])
    beats: list[tuple[int, training_pb2.Progress | None]] = field(
        default_factory=list[tuple[int, training_pb2.Progress | None]]
    )
    published: list[model_pb2.Manifest] = field(default_factory=list[model_pb2.Manifest])
    away: int = 0
    error: Exception = field(default_factory=lambda: Unavailable("away"))
    is_fenced: bool = False
    state: training_pb2.JobState = RUNNING
    terminal: training_pb2.JobState = training_pb2.JOB_STATE_FAILED
    beaten: asyncio.Event = field(default_factory=asyncio.Event)
    cancel_asked: asyncio.Event = field(default_factory=asyncio.Event)
    concluded: asyncio.Event = field(default_factory=asyncio.Event)
    patrols: int = 0

    def _check(self) -> None:
        if self.away:
            self.away -= 1
            raise self.error
        if self.is_fenced:
            raise Fenced(ATTEMPT)

    def _job(self, state: training_pb2.JobState) -> Job:
        return make_claim("m").job._replace(state=state)

    def _tell(self, text: str, state: training_pb2.JobState) -> Job:
        self._check()
        self.told.append(text)
        self.concluded.set()
        return self._job(state)

    async def claim(self, worker: str, block_s: float) -> Claim | None:
        del worker
        if self.away:
            self._check()
        await asyncio.sleep(0 if self.claims else min(block_s, 0.01))
        return self.claims.pop(0) if self.claims else None

    async def beat(
        self,
        claim: Claim,
        phase: training_pb2.JobPhase,
        progress: training_pb2.Progress | None,
    ) -> Job:
        del claim
        self._check()
        self.beats.append((phase, progress))
        self.beaten.set()
        return self._job(self.state)

    async def follow(self, claim: Claim) -> AsyncIterator[Job]:
        del claim
        yield self._job(RUNNING)
        await self.cancel_asked.wait()
        self.state = CANCELLING
        yield self._job(CANCELLING)
        await asyncio.Event().wait()

    async def publish(self, claim: Claim, manifest: model_pb2.Manifest) -> record_pb2.JobOutcome:
        del claim
        self._tell("published", training_pb2.JOB_STATE_SUCCEEDED)
        self.published.append(manifest)
        return record_pb2.JobOutcome(state=training_pb2.JOB_STATE_SUCCEEDED)

    async def fail(self, claim: Claim, reason: training_pb2.JobReason, message: str) -> Job:
        del claim
        name = training_pb2.JobReason.Name(reason).removeprefix("JOB_REASON_")
        return self._tell(f"failed {name}: {message}", self.terminal)

    async def evicted(self, claim: Claim, signal_number: int) -> Job:
        del claim
        return self._tell(f"evicted {signal_number}", training_pb2.JOB_STATE_PENDING)

    async def hand_back(self, claim: Claim) -> Job:
        del claim
        return self._tell("handed back", training_pb2.JOB_STATE_PENDING)

    async def cancelled(self, claim: Claim) -> Job:
        del claim
        return self._tell("cancelled", training_pb2.JOB_STATE_CANCELLED)

    async def reap(self) -> int:
        self.patrols += 1
        return self.patrols

    async def promote(self) -> int:
        return 0


def make_settings(tmp_path: Path, **changes: object) -> TrainerSettings:
    plain = {"store": tmp_path / "store", "lease_s": 3, "beat_s": 0.1, "drain_s": 5}
    return TrainerSettings.model_validate({**plain, **changes})


def make_site(tmp_path: Path, ledger: FakeLedger, **changes: object) -> Site:
    settings = make_settings(tmp_path, **changes)
    return Site(
        ledger=ledger,
        store=LocalStore(settings.store),
        clock=SystemClock(),
        randomness=SystemRandomness(),
        settings=settings,
        metrics=Metrics(),
        outages=Outages(),
    )


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """A figure's value; 0 where it was never counted."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def eventually(is_so: Callable[[], bool], timeout_s: float = 10) -> None:
    """Returns once `is_so()`; raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


async def within(awaitable: Awaitable[object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        await awaitable

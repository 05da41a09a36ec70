"""What a worker works with: the ledger, the store, clock and chance, settings and figures."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from trainer import cores
from trainer.metrics import Metrics
from trainer.outage import Outages
from twofold.config import TrainerSettings
from twofold.internal.v1 import record_pb2
from twofold.jobs import Job
from twofold.lifecycle import Claim
from twofold.seams import Clock, Randomness
from twofold.store import Store
from twofold.v1 import model_pb2, training_pb2


class WorkerLedger(Protocol):
    """The worker's side of twofold.lifecycle.Ledger, which documents it."""

    async def claim(self, worker: str, block_s: float) -> Claim | None:
        """See Ledger."""
        ...

    async def beat(
        self, claim: Claim, phase: training_pb2.JobPhase, progress: training_pb2.Progress | None
    ) -> Job:
        """See Ledger."""
        ...

    def follow(self, claim: Claim) -> AsyncIterator[Job]:
        """See Ledger."""
        ...

    async def publish(self, claim: Claim, manifest: model_pb2.Manifest) -> record_pb2.JobOutcome:
        """See Ledger."""
        ...

    async def fail(self, claim: Claim, reason: training_pb2.JobReason, message: str) -> Job:
        """See Ledger."""
        ...

    async def evicted(self, claim: Claim, signal_number: int) -> Job:
        """See Ledger."""
        ...

    async def hand_back(self, claim: Claim) -> Job:
        """See Ledger."""
        ...

    async def cancelled(self, claim: Claim) -> Job:
        """See Ledger."""
        ...

    async def reap(self) -> int:
        """See Ledger."""
        ...

    async def promote(self) -> int:
        """See Ledger."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """Handed to everything that works on attempts."""

    ledger: WorkerLedger
    store: Store
    clock: Clock
    randomness: Randomness
    settings: TrainerSettings
    metrics: Metrics
    outages: Outages


def thread_count(setting: int) -> int:
    """CPU threads for training: the setting; 0: all cores that this process may use."""
    return setting or cores.usable_count()

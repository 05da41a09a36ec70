"""A training process that says nothing for longer than a lease: the lease must not end."""

import asyncio
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

from tests.chaos.runs import Result, Tier, Violation
from tests.trainer.fakes import FakeLedger, make_claim, make_site
from tests.trainer.toy_child import PROGRAM
from trainer import childproc, tasks
from trainer.attempt import Attempt
from trainer.metrics import Metrics
from trainer.warm import WarmChild
from twofold.jobs import Job
from twofold.lifecycle import Claim
from twofold.v1 import training_pb2


class TimedLedger(FakeLedger):
    """Remembers when heartbeats came."""

    def __init__(self) -> None:
        super().__init__()
        self.beats_s: list[float] = []

    async def beat(
        self,
        claim: Claim,
        phase: training_pb2.JobPhase,
        progress: training_pb2.Progress | None,
    ) -> Job:
        self.beats_s.append(time.monotonic())
        return await super().beat(claim, phase, progress)


def run(seed: int) -> Result:
    """One attempt whose process stands still for two leases."""
    begun_s = time.monotonic()
    lease_s = Random(seed).uniform(0.5, 0.8)  # noqa: S311 - chance that can be repeated
    with tempfile.TemporaryDirectory() as folder:
        beats_s = asyncio.run(_beats(Path(folder), lease_s))
    gap_s = max(later_s - beat_s for beat_s, later_s in pairwise(beats_s))
    text = f"no heartbeat for {gap_s:.2f} s while the process stood still; lease {lease_s:.2f} s"
    found = [Violation("LEASE", text)] if gap_s > lease_s else []
    return Result(seed, tuple(found), time.monotonic() - begun_s)


async def _beats(folder: Path, lease_s: float) -> list[float]:
    """When the attempt began, sent heartbeats, and was looked at last."""
    ledger = TimedLedger()
    site = make_site(folder, ledger, lease_s=lease_s, beat_s=0.1)
    children = WarmChild(partial(childproc.start, program=PROGRAM), 100, Metrics())
    await children.ready()
    ledger.beats_s.append(time.monotonic())
    # "slow" says once that it trains, then nothing more until it is told to stop.
    attempt = Attempt(site, make_claim("slow"), children).run(asyncio.Event())
    running = asyncio.create_task(attempt)
    await asyncio.sleep(2 * lease_s)
    beats_s = [*ledger.beats_s, time.monotonic()]
    await tasks.end(running)
    await children.close()
    return beats_s


TIER = Tier("stalls", run, width=1)

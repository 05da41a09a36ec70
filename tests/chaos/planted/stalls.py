"""A training process that says nothing for longer than a lease: the lease must not end."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
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

_TICK_S = 0.01


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


def violations(beats_s: Sequence[float], ticks_s: Sequence[float], lease_s: float) -> list[str]:
    """Whether the lease ended, and by the attempt's own doing; `ticks_s` are a loop's own.

    Where the machine let the loop itself stand still, it proves nothing.
    """
    gap_s = _longest(beats_s)
    if gap_s <= lease_s or _longest(ticks_s) > lease_s / 4:
        return []
    return [f"no heartbeat for {gap_s:.2f} s while the process stood still; lease {lease_s:.2f} s"]


def _longest(times_s: Sequence[float]) -> float:
    return max(later_s - time_s for time_s, later_s in pairwise(times_s))


def run(seed: int) -> Result:
    """One attempt whose process stands still for two leases."""
    begun_s = time.monotonic()
    lease_s = Random(seed).uniform(0.5, 0.8)  # noqa: S311 - chance that can be repeated
    with tempfile.TemporaryDirectory() as folder:
        beats_s, ticks_s = asyncio.run(_beats(Path(folder), lease_s))
    found = tuple(Violation("LEASE", text) for text in violations(beats_s, ticks_s, lease_s))
    return Result(seed, found, time.monotonic() - begun_s)


async def _beats(folder: Path, lease_s: float) -> tuple[list[float], list[float]]:
    """When the attempt began, sent heartbeats, and was looked at last; and the loop's own ticks."""
    ledger = TimedLedger()
    site = make_site(folder, ledger, lease_s=lease_s, beat_s=0.1)
    children = WarmChild(partial(childproc.start, program=PROGRAM), 100, Metrics())
    await children.ready()
    ledger.beats_s.append(time.monotonic())
    # "slow" says once that it trains, then nothing more until it is told to stop.
    attempt = Attempt(site, make_claim("slow"), children).run(asyncio.Event())
    running = asyncio.create_task(attempt)
    ticks_s = await _ticks(2 * lease_s)
    beats_s = [*ledger.beats_s, ticks_s[-1]]
    await tasks.end(running)
    await children.close()
    return beats_s, ticks_s


async def _ticks(span_s: float) -> list[float]:
    """When the loop came to its turn, again and again."""
    found = [time.monotonic()]
    while found[-1] < found[0] + span_s:
        await asyncio.sleep(_TICK_S)
        found.append(time.monotonic())
    return found


TIER = Tier("stalls", run, width=1)

"""The worker: takes one job after the other, and looks after jobs whose workers were lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from trainer import tasks
from trainer.attempt import Attempt
from trainer.childproc import ChildLost
from trainer.outage import PASSING, Backoff
from trainer.site import Site
from trainer.warm import WarmChild
from twofold.faults import fault
from twofold.lifecycle import Claim

logger = logging.getLogger(__name__)

#: Seconds that one look for a job waits in the queue; also how long a stop may go unnoticed.
CLAIM_BLOCK_S = 1.0
#: Seconds between two looks after lost leases and due jobs: a job is taken over within its lease
#: and 2 s, so the look and its jitter fit in there, also on a machine that is busy.
PATROL_S = 0.5


class Worker:
    """Runs attempts one by one, each in the warm child, until told to stop."""

    def __init__(self, site: Site, children: WarmChild, name: str) -> None:
        self._site = site
        self._children = children
        self._name = name

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`; hands back what it holds; leaves no process behind."""
        patrol = asyncio.create_task(self._patrol())
        try:
            await self._work(stop)
        finally:
            await tasks.end(patrol)
            await self._children.close()

    async def _work(self, stop: asyncio.Event) -> None:
        backoff = Backoff(self._site.randomness)
        while not stop.is_set():
            try:
                claim = await self._next_claim(stop)
                if claim is not None:
                    await self._run_attempt(claim, stop)
                backoff.reset()
            except PASSING as error:
                self._site.outages.failed(error)
                await _pause(stop, backoff.next_s())
            except Exception:  # the top of a task: one bad job must not stop the others
                logger.exception("work failed")
                await _pause(stop, backoff.next_s())

    async def _next_claim(self, stop: asyncio.Event) -> Claim | None:
        """A claimed job, or None after a while; no job is taken before a child is warm."""
        if not await self._is_warm(stop):
            return None
        claim = await self._site.ledger.claim(self._name, CLAIM_BLOCK_S)
        self._site.outages.worked("queue")
        return claim

    async def _is_warm(self, stop: asyncio.Event) -> bool:
        warming = asyncio.create_task(self._children.ready())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((warming, stopping), return_when=asyncio.FIRST_COMPLETED)
            if warming.done():
                await warming
                return not stop.is_set()
        except (ChildLost, OSError) as error:
            logger.error("no training process can be started", extra={"why": str(error)})  # noqa: TRY400 - the reason says it all
            await _pause(stop, PATROL_S)
        finally:
            await tasks.end(warming, stopping)
        return False

    async def _run_attempt(self, claim: Claim, stop: asyncio.Event) -> None:
        metrics = self._site.metrics
        metrics.attempts.inc()
        names = {"job": claim.job.id, "attempt": claim.attempt}
        logger.info("attempt begun", extra={**names, "attempt_count": claim.job.attempt_count})
        fault("worker.claimed")
        with metrics.running.track_inprogress():
            await Attempt(self._site, claim, self._children).run(stop)

    async def _patrol(self) -> None:
        """Reaps lost leases and promotes due jobs, for all workers, at irregular intervals."""
        ledger = self._site.ledger
        backoff = Backoff(self._site.randomness, PATROL_S)
        while True:
            wait_s = PATROL_S * (0.75 + self._site.randomness.uniform() / 2)
            if await self._attend(ledger.reap) and await self._attend(ledger.promote):
                backoff.reset()
            else:
                wait_s = backoff.next_s()
            await self._site.clock.sleep(wait_s)

    async def _attend(self, chore: Callable[[], Awaitable[int]]) -> bool:
        """Whether the chore was done."""
        try:
            count = await chore()
        except PASSING as error:
            self._site.outages.failed(error)
            return False
        except Exception:  # the top of a task
            logger.exception("patrol failed")
            return False
        if count:
            logger.info("patrol", extra={"chore": chore.__name__, "count": count})
        return True


async def _pause(stop: asyncio.Event, wait_s: float) -> None:
    """Waits, but not past `stop`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await stop.wait()

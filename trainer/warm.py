"""One child that is kept warm: torch is imported before a job comes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from trainer import tasks
from trainer.childproc import Child
from trainer.metrics import Metrics

logger = logging.getLogger(__name__)

StartChild: TypeAlias = Callable[[], Awaitable[Child]]


class WarmChild:
    """Starts the child ahead of its jobs and replaces it; one job at a time uses it.

    Replaced after a failure, after `jobs_per_child` jobs and before another tenant's job, whose
    data must not meet what the last one left in memory. Owned by the event loop's thread.
    """

    def __init__(self, start_child: StartChild, jobs_per_child: int, metrics: Metrics) -> None:
        self._start_child = start_child
        self._jobs_per_child = jobs_per_child
        self._metrics = metrics
        self._starting: asyncio.Task[Child] | None = None
        self._tenant = ""
        self._job_count = 0

    async def ready(self) -> Child:
        """A living child that takes requests; raises ChildLost, OSError where none can start."""
        while True:
            if self._starting is None:
                self._starting = asyncio.create_task(_start(self._start_child))
            starting = self._starting
            try:
                # Shielded: a caller that is cancelled must not end the start for the next one.
                child = await asyncio.shield(starting)
            except Exception:
                self._starting = None
                raise
            if child.is_alive:
                return child
            await self._retire("died")

    async def lend(self, tenant: str) -> Child:
        """The child for one job of `tenant`; give_back() it afterwards."""
        await self.ready()
        if self._job_count and self._tenant != tenant:
            await self._retire("tenant")
        child = await self.ready()
        self._tenant = tenant
        self._job_count += 1
        return child

    async def give_back(self, *, replace: bool) -> None:
        """Ends a job's use; `replace` kills the child. `ready` starts the next one."""
        if replace:
            await self._retire("failure")
        elif self._job_count >= self._jobs_per_child:
            await self._retire("spent")

    async def close(self) -> None:
        """Ends the child."""
        starting, self._starting = self._starting, None
        if starting is None:
            return
        await tasks.end(starting)  # a start that is cancelled closes what it has begun
        if not starting.cancelled() and starting.exception() is None:
            await starting.result().close()

    async def _retire(self, why: str) -> None:
        self._metrics.child_restarts.labels(why).inc()
        logger.debug("child replaced", extra={"why": why, "job_count": self._job_count})
        self._job_count = 0
        await self.close()


async def _start(start_child: StartChild) -> Child:
    return await start_child()

"""One attempt at a job, from its claim to its end: feed the child, watch it, tell the ledger.

Several tasks run side by side; the first that knows how the attempt ended says so through `_end`,
and that is decided once. Heartbeats go on until the ledger has taken the end.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from trainer import tasks, verdict
from trainer.childproc import Child, ChildLost
from trainer.conclusion import Conclusion
from trainer.order import order_for
from trainer.outage import PASSING, Backoff
from trainer.site import Site
from trainer.verdict import Ending, Times
from trainer.warm import WarmChild
from twofold.errors import TwofoldError
from twofold.faults import fault
from twofold.internal.v1 import child_pb2
from twofold.jobs import Fenced
from twofold.lifecycle import Claim
from twofold.store import StoreError
from twofold.v1 import training_pb2

logger = logging.getLogger(__name__)

#: Seconds between two heartbeats that are sent early because there is news: each is a durable
#: write of the queue and an event for everyone who watches.
NEWS_GAP_S = 0.5
#: A limit of time is looked at least this often, in seconds.
_LONGEST_LOOK_S = 60.0
#: Part of the drain time that the child gets for its checkpoint; the rest is for the ledger.
_CHECKPOINT_SHARE = 0.7
#: Seconds for a child to end after it closed its socket.
_EXIT_LIMIT_S = 5.0
_INTERNAL = verdict.Failed(
    training_pb2.JOB_REASON_INTERNAL, "internal error; the trainer's log has the details"
)


class Attempt:
    """Runs once. Owned by the event loop's thread."""

    def __init__(self, site: Site, claim: Claim, children: WarmChild) -> None:
        self._site = site
        self._claim = claim
        self._children = children
        now_s = site.clock.monotonic_s()
        self._times = Times(now_s, now_s, now_s)
        self._conclusion = Conclusion(site, claim, now_s)
        self._phase: training_pb2.JobPhase = training_pb2.JOB_PHASE_PREPARING
        self._progress: training_pb2.Progress | None = None
        self._child: Child | None = None
        self._is_stopping = False
        self._news = asyncio.Event()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event) -> None:
        """Trains until the attempt has ended and the ledger knows; `stop` asks to hand back."""
        async with self._task(self._beat()):
            try:
                ending = await self._train_until_end(stop)
            finally:
                # Killed before the ledger is told: a cancelled job must not go on computing.
                await self._release_child()
            await self._conclusion.reach(ending)

    async def _release_child(self) -> None:
        ending = self._ending.result() if self._ending.done() else None
        if self._child is not None or ending is None:
            replace_child = ending is None or verdict.must_replace_child(ending)
            await self._children.give_back(replace=replace_child)

    async def _train_until_end(self, stop: asyncio.Event) -> Ending:
        async with (
            self._task(self._train()),
            self._task(self._follow()),
            self._task(self._watch_time()),
            self._task(self._watch_stop(stop)),
        ):
            ending = await self._ending
        if isinstance(ending, verdict.Trained):
            self._phase = training_pb2.JOB_PHASE_PUBLISHING
        if isinstance(ending, verdict.Trained | verdict.Failed):
            # The last figures: a short job may have ended before any heartbeat.
            await self._beat_once()
        return ending

    @asynccontextmanager
    async def _task(self, work: Coroutine[object, object, None]) -> AsyncGenerator[None]:
        """Runs `work` beside the block; its failure ends the attempt."""
        task = asyncio.create_task(self._reporting(work))
        try:
            yield
        finally:
            await tasks.end(task)

    async def _reporting(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception:  # the top of a task
            logger.exception("attempt broke", extra=self._conclusion.names)
            self._end(_INTERNAL)

    def _end(self, ending: Ending) -> None:
        """Decides how the attempt ended, unless that is decided."""
        if isinstance(ending, verdict.Lost):
            self._conclusion.is_lost = True
        if isinstance(ending, verdict.Cancelled):
            self._conclusion.is_cancelling = True
        if not self._ending.done():
            self._ending.set_result(verdict.while_stopping(ending) if self._is_stopping else ending)

    # The child

    async def _train(self) -> None:
        try:
            order = await asyncio.to_thread(
                order_for, self._site.store, self._claim, self._site.settings
            )
            child = await self._children.lend(self._claim.tenant)
        except StoreError as error:
            self._site.outages.failed(error)
            self._end(verdict.Failed(training_pb2.JOB_REASON_STORE, error.message))
        except TwofoldError as error:
            self._end(verdict.Failed(training_pb2.JOB_REASON_DATA, error.message))
        except ChildLost:
            text = "the training process could not be started"
            self._end(verdict.Failed(training_pb2.JOB_REASON_INTERNAL, text))
        else:
            self._child = child
            self._end(await self._converse(child, order))

    async def _converse(self, child: Child, order: child_pb2.TrainRequest) -> Ending:
        try:
            await child.send(child_pb2.ChildRequest(train=order))
            fault("worker.ordered")
            while (event := await child.receive()) is not None:
                if (ending := self._take(event)) is not None:
                    return ending
        except ChildLost:
            child.kill()
            await child.exit_code()
            return verdict.Failed(
                training_pb2.JOB_REASON_INTERNAL, "the training process broke its protocol"
            )
        return await _how_it_died(child)

    def _take(self, event: child_pb2.ChildEvent) -> Ending | None:
        """Remembers what a child says; the ending if it is one."""
        self._times = replace(self._times, progressed_s=self._site.clock.monotonic_s())
        match event.WhichOneof("event"):
            case "progressed":
                self._note(event.progressed)
            case "trained":
                return verdict.trained(event.trained.manifest, self._progress)
            case "failed":
                reason = event.failed.reason or training_pb2.JOB_REASON_INTERNAL
                return verdict.Failed(reason, event.failed.message)
            case "stopped":
                return verdict.Stopped()
            case _:
                pass
        return None

    def _note(self, progressed: child_pb2.Progressed) -> None:
        if progressed.HasField("progress"):
            self._progress = progressed.progress
        self._set_phase(progressed.phase or self._phase)

    def _set_phase(self, phase: training_pb2.JobPhase) -> None:
        self._phase = phase
        self._news.set()

    # What may end it from outside

    async def _follow(self) -> None:
        """Cancellation, as soon as it is asked for."""
        backoff = Backoff(self._site.randomness)
        while True:
            try:
                async for job in self._site.ledger.follow(self._claim):
                    backoff.reset()
                    if job.state == training_pb2.JOB_STATE_CANCELLING:
                        self._end(verdict.Cancelled())
            except Fenced:
                return self._end(verdict.Lost("the job is another attempt's"))
            except PASSING as error:
                self._site.outages.failed(error)
            await self._site.clock.sleep(backoff.next_s())

    async def _watch_time(self) -> None:
        limits = self._claim.record.spec.limits
        while not (why := verdict.overdue(self._site.clock.monotonic_s(), self._times, limits)):
            wait_s = verdict.next_look_s(self._site.clock.monotonic_s(), self._times, limits)
            await self._site.clock.sleep(min(wait_s, _LONGEST_LOOK_S))
        self._end(verdict.Overdue(why))

    async def _watch_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._is_stopping = True
        if self._child is not None:
            with suppress(ChildLost):  # _converse notices
                await self._child.send(child_pb2.ChildRequest(stop=child_pb2.StopRequest()))
            await self._site.clock.sleep(self._site.settings.drain_s * _CHECKPOINT_SHARE)
        self._end(verdict.Stopped())

    # Heartbeats

    async def _beat(self) -> None:
        settings = self._site.settings
        backoff = Backoff(self._site.randomness, longest_s=settings.beat_s)
        wait_s = settings.beat_s
        while True:
            await self._wait_for_news(wait_s)
            wait_s = settings.beat_s if await self._beat_once() else backoff.next_s()
            if self._conclusion.is_lost:
                return
            if wait_s == settings.beat_s:
                backoff.reset()

    async def _wait_for_news(self, wait_s: float) -> None:
        gap_s = min(NEWS_GAP_S, wait_s)
        await self._site.clock.sleep(gap_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s - gap_s):
                await self._news.wait()
        self._news.clear()

    async def _beat_once(self) -> bool:
        """Whether the queue took it."""
        site = self._site
        try:
            job = await site.ledger.beat(self._claim, self._phase, self._progress)
        except Fenced:
            self._end(verdict.Lost("the job is another attempt's"))
            return False
        except PASSING as error:
            site.metrics.heartbeat_failures.inc()
            site.outages.failed(error)
            if verdict.is_cut_off(site.clock.monotonic_s(), self._times, site.settings.lease_s):
                self._end(verdict.Lost("the queue was out of reach for too long"))
            return False
        self._times = replace(self._times, beaten_s=site.clock.monotonic_s())
        site.outages.worked("queue")
        if job.state == training_pb2.JOB_STATE_CANCELLING:
            self._end(verdict.Cancelled())
        return True


async def _how_it_died(child: Child) -> Ending:
    """After its socket closed: by its exit code, if it ends; else it is ended."""
    try:
        async with asyncio.timeout(_EXIT_LIMIT_S):
            return verdict.Died(await child.exit_code())
    except TimeoutError:
        return verdict.Failed(training_pb2.JOB_REASON_INTERNAL, "the training process fell silent")

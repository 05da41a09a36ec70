"""Telling the ledger how an attempt ended, for as long as that takes, and clearing up after it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from trainer import verdict
from trainer.outage import PASSING, Backoff
from trainer.site import Site
from trainer.verdict import Action, Ending
from twofold import keys, series_files
from twofold.errors import Corrupt, TwofoldError
from twofold.faults import fault
from twofold.internal.v1 import record_pb2
from twofold.jobs import TERMINAL, Fenced, Job
from twofold.lifecycle import Claim
from twofold.store import StoreError
from twofold.v1 import model_pb2, training_pb2

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class _OutOfTime(Exception):
    """The job's limit of time passed while its result could not be written."""


@dataclass(slots=True)
class Conclusion:
    """The end of one attempt. Owned by the event loop's thread."""

    site: Site
    claim: Claim
    begun_s: float
    #: Set by the heartbeats: the job is not ours any more.
    is_lost: bool = False
    #: Set by the heartbeats: a user wants the job to end.
    is_cancelling: bool = False

    @property
    def names(self) -> dict[str, object]:
        """What a log line about the attempt says."""
        return {"job": self.claim.job.id, "attempt": self.claim.attempt}

    async def reach(self, ending: Ending) -> None:
        """Tells the ledger, repeating where that may help, then counts and removes the scratch."""
        log = logger.warning if isinstance(ending, verdict.Died) else logger.info
        log("attempt ended", extra={**self.names, **_told(ending)})
        if isinstance(ending, verdict.Trained):
            self.site.metrics.training_rows.inc(ending.row_count)
        action = verdict.action_for(ending)
        state = await self._tell(action)
        fault("worker.concluded")
        metrics = self.site.metrics
        metrics.job_duration.observe(self.site.clock.monotonic_s() - self.begun_s)
        if state in TERMINAL:
            name = training_pb2.JobState.Name(state).removeprefix("JOB_STATE_").lower()
            metrics.jobs.labels(name).inc()
            logger.info("job ended", extra={**self.names, "state": name})
            await self._clear_up(keeps_artifact=verdict.keeps_artifact(action))

    async def _tell(self, action: Action) -> training_pb2.JobState:
        """The job's state after it; UNSPECIFIED where it is not ours any more."""
        try:
            return await self._act(action)
        except Fenced:
            logger.warning("attempt dropped: the job is not its any more", extra=self.names)
        except _OutOfTime:
            text = "the store could not be written until limits.max_duration had passed"
            return await self._tell(verdict.Fail(training_pb2.JOB_REASON_STORE, text))
        except TwofoldError as error:  # nothing that passes: what was trained cannot be published
            logger.exception("attempt could not be concluded", extra=self.names)
            if isinstance(action, verdict.Publish):
                return await self._tell(
                    verdict.Fail(training_pb2.JOB_REASON_INTERNAL, error.message)
                )
        return training_pb2.JOB_STATE_UNSPECIFIED

    async def _act(self, action: Action) -> training_pb2.JobState:
        ledger, claim = self.site.ledger, self.claim
        match action:
            case verdict.Publish(manifest):
                return await self._publish(manifest)
            case verdict.Fail(reason, message):
                job = await self._persist(lambda: ledger.fail(claim, reason, message))
            case verdict.Evict(signal_number):
                self.site.metrics.evictions.inc()
                job = await self._persist(lambda: ledger.evicted(claim, signal_number))
            case verdict.HandBack():
                job = await self._persist(lambda: ledger.hand_back(claim))
            case verdict.EndCancelled():
                job = await self._persist(lambda: ledger.cancelled(claim))
            case verdict.Drop():
                return training_pb2.JOB_STATE_UNSPECIFIED
        return job.state

    async def _publish(self, manifest: model_pb2.Manifest) -> training_pb2.JobState:
        manifest.model = self.claim.record.spec.model
        fault("worker.trained")
        outcome = await self._persist(
            lambda: self._publish_or_cancel(manifest), within_s=self._time_left_s()
        )
        return outcome.state

    async def _publish_or_cancel(self, manifest: model_pb2.Manifest) -> record_pb2.JobOutcome | Job:
        """Cancellation wins as long as nothing is decided."""
        if self.is_cancelling:
            return await self.site.ledger.cancelled(self.claim)
        return await self.site.ledger.publish(self.claim, manifest)

    def _time_left_s(self) -> float:
        limit_s = self.claim.record.spec.limits.max_duration.ToTimedelta().total_seconds()
        return self.begun_s + limit_s - self.site.clock.monotonic_s() if limit_s else float("inf")

    async def _persist(
        self, act: Callable[[], Awaitable[_T]], within_s: float = float("inf")
    ) -> _T:
        """Repeats `act` while its failures pass; raises Fenced, _OutOfTime."""
        site = self.site
        backoff = Backoff(site.randomness)
        give_up_s = site.clock.monotonic_s() + within_s
        while True:
            if self.is_lost:
                raise Fenced(self.claim.attempt)
            try:
                done = await act()
            except PASSING as error:
                site.outages.failed(error)
                if site.clock.monotonic_s() >= give_up_s:
                    raise _OutOfTime from error
                await site.clock.sleep(backoff.next_s())
            else:
                site.outages.worked("queue", "store")
                return done

    async def _clear_up(self, *, keeps_artifact: bool) -> None:
        """Removes what no attempt can need once the job has ended; the metric series stays."""
        job, tenant = self.claim.job.id, self.claim.tenant
        # Checkpoints of all attempts: only a job that goes on resumes. One that still writes here
        # has lost its job and is about to notice.
        scratch = [keys.job_checkpoints(tenant, job)]
        if not keeps_artifact:
            scratch.append(keys.attempt_artifact(tenant, job, self.claim.attempt))
        try:
            await asyncio.to_thread(series_files.keep, self.site.store, tenant, job)
            for key in scratch:
                await asyncio.to_thread(self.site.store.remove, key)
        except (StoreError, Corrupt) as error:
            logger.warning("scratch left behind", extra={**self.names, "why": error.message})


def _told(ending: verdict.Ending) -> dict[str, object]:
    """How an attempt ended, for a log line; a negative exit code is the signal's number."""
    how: dict[str, object] = {"how": type(ending).__name__.lower()}
    if isinstance(ending, verdict.Died):
        how["exit_code"] = ending.exit_code
    return how

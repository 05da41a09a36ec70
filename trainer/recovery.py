"""Every trainer looks after lost data: a queue's server that restarted, was replaced or emptied."""

import logging
from typing import Protocol

from trainer.outage import PASSING, Backoff, Outages
from twofold.lifecycle import Reconciled
from twofold.seams import Clock, Randomness

logger = logging.getLogger(__name__)

#: Seconds between two looks, each one round trip. A job lost with the queue waits that long.
LOOK_S = 1.0


class Reconciling(Protocol):
    """The part of the ledger that is used here."""

    async def recover(self) -> Reconciled | None:
        """See Ledger."""
        ...

    async def reconcile(self) -> Reconciled:
        """See Ledger."""
        ...


class Recovery:
    """Rebuilds the queue from the store when data may be lost. Owned by the event loop's thread."""

    def __init__(
        self, ledger: Reconciling, clock: Clock, randomness: Randomness, outages: Outages
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._randomness = randomness
        self._outages = outages

    async def run(self) -> None:
        """Looks until it is cancelled; begins with a whole comparison."""
        backoff = Backoff(self._randomness, LOOK_S)
        has_compared = False
        while True:
            wait_s = LOOK_S * (0.75 + self._randomness.uniform() / 2)
            try:
                # A process may have died between a job's record and its place in the queue.
                look = self._ledger.recover if has_compared else self._ledger.reconcile
                done = await look()
            except PASSING as error:
                self._outages.failed(error)
                wait_s = backoff.next_s()
            except Exception:  # the top of a task
                logger.exception("the queue cannot be compared with the store")
                wait_s = backoff.next_s()
            else:
                has_compared = True
                self._outages.worked("queue")
                if done is not None:  # else there was nothing to compare
                    self._outages.worked("store")
                backoff.reset()
            await self._clock.sleep(wait_s)

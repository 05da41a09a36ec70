"""Collects the store now and then: see twofold.collector for what goes."""

import logging

from trainer.outage import PASSING, Outages
from twofold import housekeeping
from twofold.collector import Policy
from twofold.errors import Conflict
from twofold.housekeeping import Place

logger = logging.getLogger(__name__)

#: Seconds until about the first collection: a trainer that is restarted often must come to one.
FIRST_S = 60.0


class Housekeeper:
    """One of those that collect a store; any number may. Owned by the event loop's thread."""

    def __init__(self, place: Place, policy: Policy, interval_s: float, outages: Outages) -> None:
        self._place = place
        self._policy = policy
        self._interval_s = interval_s
        self._outages = outages

    async def run(self) -> None:
        """Collects until it is cancelled, about every `interval_s`; 0: never."""
        wait_s = min(FIRST_S, self._interval_s)
        while self._interval_s:
            # Trainers that were started together must not stay together.
            await self._place.world.clock.sleep(wait_s * (0.5 + self._uniform()))
            await self._collect()
            wait_s = self._interval_s

    def _uniform(self) -> float:
        return self._place.world.randomness.uniform()

    async def _collect(self) -> None:
        try:
            removals = await housekeeping.collect(self._place, self._policy)
        except Conflict:
            return  # another does it now
        except PASSING as error:
            self._outages.failed(error)
        except Exception:  # the top of a task
            logger.exception("the store cannot be collected")
        else:
            self._outages.worked("store")
            if removals:
                logger.info("store collected", extra={"count": len(removals)})

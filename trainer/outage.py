"""Losing the queue or the store and finding it again: told once per outage, retried gently."""

import logging
from typing import Literal, TypeAlias

from twofold.errors import LimitExceeded, Unavailable
from twofold.seams import Randomness
from twofold.store import StoreError

Service: TypeAlias = Literal["queue", "store"]
logger = logging.getLogger(__name__)
#: The connection to the queue speaks up itself, once per outage.
_LEVELS: dict[Service, int] = {"queue": logging.DEBUG, "store": logging.WARNING}
_BACK_LEVELS: dict[Service, int] = {"queue": logging.DEBUG, "store": logging.INFO}

#: What passes by itself: no connection, no memory in the queue, no store.
PASSING = (Unavailable, LimitExceeded, StoreError)


class Outages:
    """Logs the first failure and the recovery of each of several services, not what is between.

    Owned by the event loop's thread.
    """

    def __init__(self) -> None:
        self._down: dict[Service, int] = {}

    def __repr__(self) -> str:
        return f"Outages({', '.join(sorted(self._down)) or 'none'})"

    def failed(self, error: Exception) -> None:
        """A call failed with one of PASSING."""
        what = _what(error)
        self._down[what] = self._down.get(what, 0) + 1
        if self._down[what] == 1:
            logger.log(_LEVELS[what], "out of reach", extra={"what": what, "why": str(error)})

    def worked(self, *services: Service) -> None:
        """A call that needs these services worked."""
        for what in services:
            count = self._down.pop(what, 0)
            if count:
                logger.log(
                    _BACK_LEVELS[what], "in reach again", extra={"what": what, "failures": count}
                )


def _what(error: Exception) -> Service:
    return "store" if isinstance(error, StoreError) else "queue"


class Backoff:
    """Waits that double up to a cap, of which a random half is left out."""

    def __init__(
        self, randomness: Randomness, first_s: float = 0.1, longest_s: float = 5.0
    ) -> None:
        self._randomness = randomness
        self._first_s = first_s
        self._longest_s = longest_s
        self._full_s = first_s

    def next_s(self) -> float:
        """The next wait in seconds."""
        wait_s = self._full_s * (1 - self._randomness.uniform() / 2)
        self._full_s = min(self._full_s * 2, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """After a success."""
        self._full_s = self._first_s

"""One job that cannot be looked after must not keep a pass from the others."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from twofold.errors import Conflict, TwofoldError, Unavailable
from twofold.store import StoreError

_log = logging.getLogger(__name__)


class Setbacks:
    """What failed in one pass over many jobs. Owned by the pass."""

    def __init__(self) -> None:
        #: Failures that may pass by themselves: a folder or the whole store, a job in a hurry.
        self.passing: list[TwofoldError] = []

    @contextmanager
    def of(self, job_id: str) -> Generator[None]:
        """Goes on after the block whatever failed in it, except where the queue is away.

        A ValueError is a key, or a queue's record, that is not what we write.
        """
        try:
            yield
        except (Conflict, StoreError) as error:
            if not self.passing:  # of a store that is away once is enough
                _log.warning("a job is left for later", extra={"job": job_id}, exc_info=True)
            self.passing.append(error)
        except Unavailable:
            raise
        except (TwofoldError, ValueError):
            _log.exception("a job cannot be looked after", extra={"job": job_id})

    def raise_passing(self, least: int = 1) -> None:
        """Raises the first failure that may pass, if there were as many: the pass is repeated."""
        if len(self.passing) >= least:
            raise self.passing[0]

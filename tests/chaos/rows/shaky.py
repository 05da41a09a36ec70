"""A worker's parts over a store that can be away, full or slow."""

import contextlib
import os
import time
from collections.abc import Generator
from pathlib import Path

from tests.trainer.fakes import make_settings
from tests.twofold.lifecycle.bench import Bench
from tests.twofold.samples import sample_record
from tests.valkey import Valkey
from trainer.conclusion import Conclusion
from trainer.metrics import Metrics
from trainer.outage import Outages
from trainer.site import Site
from twofold.disk import OsDisk, Parts
from twofold.jobs import Policy
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, SystemRandomness, World
from twofold.store import LocalStore


class ShakyDisk(OsDisk):
    """A disk that can be away or slow: every operation begins by reaching a folder."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.number = 0
        self.delay_s = 0.0
        #: So many operations still work before `number` is raised.
        self.left = 0

    @contextlib.contextmanager
    def _folder(self, parts: Parts) -> Generator[int, None, None]:
        time.sleep(self.delay_s)
        self.left -= 1
        if self.number and self.left < 0:
            raise OSError(self.number, os.strerror(self.number))
        with super()._folder(parts) as descriptor:
            yield descriptor


class Shaky:
    """A worker's site over a shaky store; what others see of it is `bench`."""

    def __init__(self, valkey: Valkey, folder: Path, policy: Policy) -> None:
        self.bench = Bench(valkey, folder / "store", policy)
        self.disk = ShakyDisk(folder / "store")
        store = LocalStore(folder / "store", disk=self.disk)
        self.queue = RedisQueue(valkey.url)
        self.outages = Outages()
        self.site = Site(
            ledger=Ledger(store, self.queue, World(), policy),
            store=store,
            clock=SystemClock(),
            randomness=SystemRandomness(),
            settings=make_settings(folder),
            metrics=Metrics(),
            outages=self.outages,
        )

    async def trained(self) -> Conclusion:
        """A job whose attempt has trained and is about to say so; it has no retries."""
        record = sample_record()
        record.spec.limits.max_retries = 0
        await self.bench.ledger.create(LOCAL, record)
        claim = await self.site.ledger.claim("w1", 5)
        assert claim is not None
        self.bench.export(claim)
        return Conclusion(self.site, claim, begun_s=self.site.clock.monotonic_s())

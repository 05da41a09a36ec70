"""A seed's life of one inferer: real models, lanes, watcher, loader and reader over a real store.

Versions are published, damaged, half-written, exchanged between two reads, withdrawn and given
aliases, and the store goes away, while clients with short deadlines ask and leave. Time is virtual.
"""

import asyncio
import contextlib
import gc
import logging
import math
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import numpy as np

from inferer.batcher import Limits
from inferer.lane import INLINE_LIMIT_S
from inferer.memory import size_of
from inferer.policies import VersionPolicy
from inferer.reference import Reference
from inferer.versions import Retention
from tests.chaos.runs import Result
from tests.chaos.serving import doubles
from tests.chaos.serving.book import Book
from tests.chaos.serving.disturber import Disturber
from tests.chaos.serving.loop import LoopClock, VirtualLoop
from tests.chaos.serving.site import MODEL, Options, Site
from twofold import faults
from twofold.errors import NotFound, TwofoldError, Unavailable
from twofold.tensors import Array
from twofold.v1 import model_pb2

#: In memory where there is such a file system: the disk is not what is tested here.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
_HORIZON_S = 3.0
#: Longer than every pause after failures that a run can have.
_SETTLE_S = 90.0
_PATIENCE_S = (math.inf, math.inf, 2.0, 0.05, 0.004)
#: Room for so many versions, of which the default, both aliases and a new default stay.
_BUDGETS = (4, 5, 6)
#: More than any of them takes, and less than one and a quarter.
_VERSION_BYTES = size_of(model_pb2.Manifest()) + (8 << 10)
_REFERENCES = ("", "", "", ":stable", ":canary")


class Scenario:
    """One seed."""

    def __init__(self, seed: int, root: Path) -> None:
        self.random = Random(seed)  # noqa: S311 - a seed must give the same run again
        delay_s = self.random.choice((0.002, 0.02, 0.3))
        self.loop = VirtualLoop(self.random, (0.0005, delay_s))
        self.book = Book()
        self.clock = LoopClock(self.loop)
        self.engine = doubles.FakeEngine(self.book.wrong, self._ran)
        self.loop.prompt = self.engine.slow.executor
        self.site = Site(root, self.engine, self.clock, self._options())
        self.disturber = Disturber(self.random, self.book, self.site, self.clock, root)
        self._is_over = False

    def main(self) -> None:
        """Plays it; whatever comes out that should not is a violation too."""
        self.loop.set_exception_handler(self._on_error)
        log = logging.getLogger("inferer")
        level = log.level
        log.setLevel(logging.CRITICAL)  # whoever keeps log lines keeps tracebacks, and networks
        try:
            self.loop.run_until_complete(self.play())
        except Exception as error:  # noqa: BLE001 - whatever the product raises is what was wrong
            self.book.wrong("CRASH", repr(error))
        finally:
            faults.disarm()
            log.setLevel(level)

    def close(self) -> None:
        """Ends the loop and the engine."""
        self.loop.close()
        self.engine.close()

    def _on_error(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        self.book.wrong("CRASH", f"{context.get('message')}: {context.get('exception')!r}")

    def _options(self) -> Options:
        random = self.random
        limits = Limits(
            max_batch_size=8,
            max_queue_size=random.choice((8, 32, 1000)),
            max_queue_delay_s=random.choice((0.0, 0.0, 0.0, 0.01)),
        )
        retention = Retention(
            random.choice((0.0, 0.3, 60.0)),
            max_pinned=random.choice((1, 2, 8)),
            policy=VersionPolicy(random.choice((1, 2, 2, None))),
        )
        events = self._events if random.random() < 0.5 else None
        budget_bytes = random.choice((0, 0, *_BUDGETS)) * _VERSION_BYTES
        return Options(limits, retention, random.choice((0.05, 0.3)), events, budget_bytes)

    async def _events(self) -> AsyncIterator[None]:
        """News from a Redis that comes and goes."""
        for _ in range(self.random.randint(1, 20)):
            yield
            await asyncio.sleep(self.random.random() * 0.5)

    def _ran(self, parts: Sequence[Array], row_s: float) -> None:
        self.book.ran([int(part[0, 0]) for part in parts], self.loop.time())
        seconds = sum(len(part) for part in parts) * row_s
        if seconds <= INLINE_LIMIT_S:  # it runs on the loop's own thread
            self.loop.pass_time(seconds)

    async def play(self) -> None:
        """Everything, to the end."""
        self.disturber.publish_good()
        life = asyncio.create_task(self.site.run())
        clients = [asyncio.create_task(self._client()) for _ in range(self.random.randint(2, 6))]
        try:
            await self.disturber.run(_HORIZON_S)
            await self._until_settled()
            self._is_over = True
            await asyncio.wait_for(asyncio.gather(*clients), _SETTLE_S)
        except TimeoutError:
            self.book.wrong("J5", f"not settled: {self.site.models}, {self.site.models.index()}")
        if life.done():
            self.book.wrong("J5", f"the inferer ended: {life.exception()!r}")
        for task in (life, *clients):
            task.cancel()
        await asyncio.gather(life, *clients, return_exceptions=True)
        await asyncio.sleep(1)  # what threads were at when the inferer ended comes to its end
        self._check_end()

    async def _until_settled(self) -> None:
        """Until the best version serves; raises TimeoutError."""
        async with asyncio.timeout(_SETTLE_S):
            while await self._served() != self.book.account.best:  # noqa: ASYNC110 - a poll
                await asyncio.sleep(0.05)

    async def _served(self) -> int:
        try:
            return (await self.site.models.find(MODEL, Reference(), math.inf)).number
        except (NotFound, Unavailable):  # not seen yet, or held back, after the store was away
            return 0

    async def _client(self) -> None:
        """Asks one thing after the other, each with a deadline of its own, and leaves some."""
        while not self._is_over:
            reference = self.random.choice(_REFERENCES)
            if self.random.random() < 0.2 and self.book.account.values:
                reference = str(self.random.choice([*self.book.account.values]))
            if reference[1:] in self.book.account.aliases or not reference.startswith(":"):
                await self._ask(reference)
            await asyncio.sleep(self.random.choice((0.0, 0.02, 0.1)))

    async def _ask(self, reference: str) -> None:
        now_s = self.loop.time()
        asked = self.book.begin(reference, now_s, now_s + self.random.choice(_PATIENCE_S))
        rows = np.full((self.random.randint(1, 4), 1), asked.number, np.float32)
        call = asyncio.create_task(self.site.infer(rows, reference, asked.deadline_s))
        if self.random.random() < 0.15:
            await asyncio.wait({call}, timeout=self.random.random() * 0.05)
            if call.cancel():
                asked.cancelled_s = self.loop.time()
        try:
            version, answer = await call
        except asyncio.CancelledError:
            asked.end = "cancelled"
        except TwofoldError as error:
            self.book.refused(asked, error, self.loop.time())
        else:
            self.book.answered(asked, version, (answer - rows)[:, 0].tolist())

    def _check_end(self) -> None:
        """Every request has its end, and nothing is held that nobody needs."""
        for asked in self.book.asked:
            if not asked.end:
                self.book.wrong("J5", f"{asked} was never answered")
        loaded = list(self.site.models)
        models = self.site.models
        if models.budget_bytes and models.used_bytes > models.budget_bytes:
            self.book.wrong("J9", f"{models.used_bytes} bytes are loaded of {models.budget_bytes}")
        self.book.counts["evictions"] += models.load_statistics.evictions
        for served in loaded:
            if served.lane.queue_rows:
                self.book.wrong("J9", f"{served.lane} still holds rows")
        gc.collect()
        if len(self.engine.programs) != len(loaded):
            self.book.wrong("J9", f"{len(self.engine.programs)} live, {len(loaded)} are loaded")
        self.book.counts["loads"] += self.engine.load_count


def played(seed: int) -> Book:
    """What happened in one seed's life."""
    shared = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=shared) as folder,
        contextlib.closing(Scenario(seed, Path(folder))) as scenario,
    ):
        scenario.main()
    return scenario.book


def run(seed: int) -> Result:
    """One seed's run."""
    start_s = time.perf_counter()
    book = played(seed)
    return Result(
        seed=seed,
        violations=tuple(book.violations),
        duration_s=time.perf_counter() - start_s,
        counts=dict(book.counts),
        story="\n".join(book.lines) if book.violations else "",
    )

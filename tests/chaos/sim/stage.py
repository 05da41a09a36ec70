"""A site with its users and faults, moved on piece by piece, and judged at the end."""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.chaos.checker import TERMINAL, check
from tests.chaos.runs import Result, Violation
from tests.chaos.sim import trouble
from tests.chaos.sim.schedule import drive
from tests.chaos.sim.settling import Settling
from tests.chaos.sim.site import Site, arm
from tests.chaos.sim.trouble import Trouble
from tests.chaos.sim.users import User, reconcile, start_api, start_reader
from tests.chaos.sim.workers import Script, start_worker
from twofold import faults, manifest
from twofold.internal.v1 import record_pb2
from twofold.v1 import model_pb2

_SECOND_US = 1_000_000
#: From the last fault's beginning until nothing is broken on purpose any more.
_QUIET_US = 9 * _SECOND_US


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user wants, how the attempts at it go, and how the user behaves."""

    record: record_pb2.JobRecord
    script: Script = field(default_factory=Script)
    begin_us: int = 0
    #: In [0, 1): whether they wait, watch, cancel or repeat.
    mood: float = 0.9
    #: Gives up after so many tries; 0: never.
    tries: int = 0
    #: Whether somebody sends the same request at the same time.
    has_twin: bool = False


class Stage:
    """Owned by one thread."""

    def __init__(self, seed: int, *, is_told: bool = False) -> None:
        self.seed = seed
        self.site = Site(seed)
        if is_told:
            self.site.schedule.story = []
        self._begun_s = time.perf_counter()
        self._scripts: dict[str, Script] = {}
        self._apis: tuple[str, ...] = ()
        self._user_count = 0
        self._points: set[str] = set()
        self._settling = Settling(self.site)

    def start(self, workers: int, apis: int, *, has_reader: bool) -> list[str]:
        """Starts the product's processes; their names, but the reader's."""
        names = [f"worker{number}" for number in range(workers)]
        self._apis = tuple(f"api{number}" for number in range(apis))
        for name in names:
            self.site.start(name, partial(start_worker, self._scripts))
        for name in self._apis:
            self.site.start(name, start_api)
        if has_reader:
            self.site.start("reader", partial(start_reader, "m"))
        return [*names, *self._apis]

    def ask(self, wish: Wish) -> None:
        """A user comes."""
        number, self._user_count = self._user_count, self._user_count + 1
        self._scripts[wish.record.request_id] = wish.script
        user = User(self.site, f"user{number}", self._apis, wish.record, wish.tries)
        self._settling.expect(self.site.spawn(partial(self._live, user, wish)))
        if wish.has_twin:
            twin = User(self.site, f"twin{number}", self._apis, wish.record, wish.tries)
            self._settling.expect(self.site.spawn(partial(self._ask_again, twin, wish.begin_us)))

    def cause(self, one: Trouble) -> None:
        """A fault, at its time."""
        if one.point:
            self._points.add(one.point)
        self.site.spawn(partial(trouble.cause, self.site, one))

    def reconcile(self, at_us: int) -> None:
        """An operator's `twofold reconcile` in the middle of it all."""
        self.site.spawn(partial(reconcile, self.site, self._apis[0], at_us))

    def advance(self, delay_us: int) -> None:
        """Lets it go on for a while."""
        until_us = self.site.schedule.now_us + delay_us
        self.site.spawn(lambda: self.site.schedule.pause(delay_us))  # so that there is an end
        with self._running():
            self.site.schedule.run(lambda: self.site.schedule.now_us >= until_us)

    def finish(self, begun_us: int = 0) -> Result:
        """Lets it settle and judges it; nothing new is broken after `begun_us`."""
        site = self.site
        site.spawn(partial(self._settling.settle, begun_us, begun_us + _QUIET_US))
        with self._running():
            site.schedule.run(lambda: site.is_over)
            site.schedule.close()
            left = drive(self._settling.read_final())
        violations = [Violation("BROKEN", error) for error in site.schedule.errors]
        violations += check(site.history.events, left)
        site.counts["jobs"] = len(left.jobs)
        duration_s = time.perf_counter() - self._begun_s
        story = "\n".join(site.schedule.story or ())
        return Result(self.seed, tuple(violations), duration_s, site.counts, story)

    @contextmanager
    def _running(self) -> Generator[None]:
        faults.disarm()
        arm(sorted(self._points), self.site.schedule)
        was_silent = logging.root.manager.disable >= logging.CRITICAL
        if not was_silent:  # switching clears what every logger remembers
            logging.disable()
        decode = manifest.decode
        manifest.decode = remembered(decode)
        try:
            yield
        finally:
            manifest.decode = decode
            if not was_silent:
                logging.disable(logging.NOTSET)
            faults.disarm()

    # Users

    def _ask_again(self, user: User, begin_us: int) -> None:
        self.site.schedule.pause(begin_us)
        user.create()

    def _live(self, user: User, wish: Wish) -> None:
        """Creates a job; then waits, watches, cancels, or repeats it once it has ended."""
        schedule, mood = self.site.schedule, wish.mood
        schedule.pause(wish.begin_us)
        job = user.create()
        if not job:
            return
        if mood < 0.3:
            schedule.pause(int(mood * 10 * _SECOND_US))
            self._cancel(user, job, twice=mood < 0.05)
        elif mood < 0.5:
            for _ in range(5):
                schedule.pause(int(mood * 2 * _SECOND_US))
                user.get(job)
        elif mood < 0.6:
            while user.get(job) not in TERMINAL:
                schedule.pause(_SECOND_US)
            again = wish.record.request_id.replace("-4000-", "-4001-")
            self._scripts[again] = Script([], 500_000)
            user.retry(job, again)

    def _cancel(self, user: User, job: str, *, twice: bool) -> None:
        while not user.cancel(job):
            self.site.schedule.pause(_SECOND_US // 2)
        if twice:
            user.cancel(job)


def remembered(
    decode: Callable[[bytes], model_pb2.Manifest],
) -> Callable[[bytes], model_pb2.Manifest]:
    """`decode`, which makes the same of the same bytes, and takes as long as ten steps."""
    known: dict[bytes, model_pb2.Manifest] = {}

    def remember(data: bytes) -> model_pb2.Manifest:
        if data not in known:
            known[data] = decode(data)
        copied = model_pb2.Manifest()
        copied.CopyFrom(known[data])
        return copied

    return remember

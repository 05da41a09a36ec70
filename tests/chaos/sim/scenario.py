"""One run: a seed makes the cast, the schedule and the faults; then everything must settle."""

import gc
import logging
import os
import random
import time
from collections.abc import Sequence
from functools import partial

from tests.chaos.checker import check
from tests.chaos.history import Event
from tests.chaos.runs import Result, Violation
from tests.chaos.sim import trouble
from tests.chaos.sim.schedule import EPOCH_MS, drive
from tests.chaos.sim.settling import Settling
from tests.chaos.sim.site import Site, arm
from tests.chaos.sim.users import User, reconcile, start_api, start_reader
from tests.chaos.sim.workers import Script, start_worker
from twofold import faults
from twofold.internal.v1 import record_pb2

_SECOND_US = 1_000_000
#: From the last fault's beginning until nothing is broken on purpose any more.
_QUIET_US = 9 * _SECOND_US
#: The longest way to the server, and step of the disk. Where they are long, what was decided is
#: old when it is applied.
_WAYS_US = (800, 800, 800, 20_000, 400_000)
_DISKS_US = (300, 300, 300, 10_000, 150_000)
#: Users begin within this time.
_BEGIN_US = 2 * _SECOND_US
_ENDINGS = ("failed", "failed", "failed", "store", "data", "evicted")
_MODELS = ("m", "m", "m", "n")


class Scenario:
    """A run; owned by one thread."""

    def __init__(self, seed: int, *, is_told: bool = False) -> None:
        self.seed = seed
        self._draw = random.Random(f"scenario {seed}")  # noqa: S311 - a schedule, not a secret
        self.site = Site(seed)
        if is_told:
            self.site.schedule.story = []
        self._scripts: dict[str, Script] = {}
        self._users: list[User] = []
        self._settling = Settling(self.site)

    def run(self) -> Result:
        """Runs it and checks what came of it."""
        begun_s = time.perf_counter()
        faults.disarm()
        logging.disable()
        # A run makes few cycles; looking for them takes a tenth of its time.
        gc.disable()
        try:
            self._play()
            left = drive(self._settling.read_final())
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)
            faults.disarm()
        site = self.site
        violations = [Violation("BROKEN", error) for error in site.schedule.errors]
        violations += check(site.history.events, left)
        site.counts["jobs"] = len(left.jobs)
        duration_s = time.perf_counter() - begun_s
        return Result(self.seed, tuple(violations), duration_s, site.counts, self.story())

    def story(self) -> str:
        """What happened, where that is told."""
        return "\n".join(self.site.schedule.story or ())

    def _play(self) -> None:
        site = self.site
        site.network.way_us = self._draw.choice(_WAYS_US)
        site.disk_us = self._draw.choice(_DISKS_US)
        workers, apis = self._start_nodes()
        for number in range(self._draw.choice((1, 1, 1, 1, 2, 2, 3))):
            self._start_user(number, apis)
        if self._draw.random() < 0.1:
            site.spawn(partial(reconcile, site, "api", int(self._draw.random() * 5 * _SECOND_US)))
        planned = self._plan([*workers, *apis])
        arm(sorted({one.point for one in planned if one.point}))
        for one in planned:
            site.spawn(partial(trouble.cause, site, one))
        # Users begin within this time; faults at theirs.
        begun_us = max([_BEGIN_US, *(one.at_us for one in planned)])
        site.spawn(partial(self._settling.settle, begun_us, begun_us + _QUIET_US))
        site.schedule.run(lambda: site.is_over)
        site.schedule.close()

    def _start_nodes(self) -> tuple[list[str], list[str]]:
        workers = [f"worker{number}" for number in range(self._draw.choice((1, 2, 2, 3)))]
        apis = ["api"] if self._draw.random() < 0.7 else ["api", "api2"]
        for name in workers:
            self.site.start(name, partial(start_worker, self._scripts))
        for name in apis:
            self.site.start(name, start_api)
        if self._draw.random() < 0.4:
            self.site.start("reader", partial(start_reader, "m"))
        return workers, apis

    def _plan(self, nodes: Sequence[str]) -> list[trouble.Trouble]:
        count = self._draw.choice((0, 1, 1, 2, 2, 2, 3, 4))
        return [trouble.draw(self._draw, list(nodes)) for _ in range(count)]

    # Users

    def _start_user(self, number: int, apis: list[str]) -> None:
        draw = self._draw
        request_id = f"{self.seed:08x}-0000-4000-8000-{number:012x}"
        endings = [draw.choice(_ENDINGS) for _ in range(draw.choice((0, 0, 0, 0, 1, 1, 2, 3)))]
        train_us = int(draw.random() ** 2 * 5 * _SECOND_US)
        self._scripts[request_id] = Script(endings, train_us, draw.random() < 0.25)
        record = record_pb2.JobRecord(request_id=request_id, request_sha256="a" * 64)
        record.spec.model = draw.choice(_MODELS)
        record.spec.limits.max_retries = draw.choice((2, 3, 3))
        if draw.random() < 0.1:
            record.not_before_time.FromMilliseconds(EPOCH_MS + int(draw.random() * 6_000))
        tries = 1 if draw.random() < 0.1 else 0
        user = User(self.site, f"user{number}", tuple(apis), record, tries)
        begin_us = int(draw.random() * _BEGIN_US)
        self._settling.expect(self.site.spawn(partial(self._live, user, begin_us, draw.random())))
        if draw.random() < 0.15:
            twin = User(self.site, f"twin{number}", tuple(apis), record, tries)
            self._settling.expect(self.site.spawn(partial(self._ask_again, twin, begin_us)))

    def _ask_again(self, user: User, begin_us: int) -> None:
        self.site.schedule.pause(begin_us)
        user.create()

    def _live(self, user: User, begin_us: int, mood: float) -> None:
        """Creates a job; then waits, watches, cancels, or repeats it once it has ended."""
        schedule = self.site.schedule
        schedule.pause(begin_us)
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
            while user.get(job) not in {"SUCCEEDED", "FAILED", "CANCELLED"}:
                schedule.pause(_SECOND_US)
            again = user.record.request_id.replace("-4000-", "-4001-")
            self._scripts[again] = Script([], 500_000)
            user.retry(job, again)

    def _cancel(self, user: User, job: str, *, twice: bool) -> None:
        while not user.cancel(job):
            self.site.schedule.pause(_SECOND_US // 2)
        if twice:
            user.cancel(job)


def run(seed: int) -> Result:
    """A seed's result; its story is told where something was violated."""
    if os.environ.get("TWOFOLD_CHAOS_TELL"):
        return Scenario(seed, is_told=True).run()
    result = Scenario(seed).run()
    return Scenario(seed, is_told=True).run() if result.violations else result


def events_of(seed: int) -> list[Event]:
    """The history of a seed."""
    scenario = Scenario(seed)
    scenario.run()
    return scenario.site.history.events

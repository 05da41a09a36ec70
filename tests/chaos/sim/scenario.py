"""One run: a seed makes the cast, the schedule and the faults."""

import gc
import os
import random

from tests.chaos.runs import Result
from tests.chaos.sim import trouble
from tests.chaos.sim.schedule import EPOCH_MS
from tests.chaos.sim.stage import Stage, Wish
from tests.chaos.sim.used import make_used
from tests.chaos.sim.workers import Script
from twofold.internal.v1 import record_pb2

_SECOND_US = 1_000_000
#: The longest way to the server, and step of the disk. Where they are long, what was decided is
#: old when it is applied.
_WAYS_US = (800, 800, 800, 20_000, 400_000)
_DISKS_US = (300, 300, 300, 10_000, 150_000)
#: Users begin within this time.
_BEGIN_US = 2 * _SECOND_US
#: Mostly few of everything: what one job cannot show, two mostly show, and short runs are many.
_WORKER_COUNTS = (1, 1, 1, 1, 2, 2, 3)
_JOB_COUNTS = (*(1,) * 10, 2, 2, 3)
_FAILURE_COUNTS = (*(0,) * 10, 1, 1, 2, 3)
_ENDINGS = ("failed", "failed", "failed", "store", "data", "evicted")
_MODELS = ("m", "m", "m", "n")
#: So many sites are not new.
_USED = 0.9
#: Set to have the story of good runs too.
TELL_VARIABLE = "TWOFOLD_CHAOS_TELL"


class Scenario:
    """A run; owned by one thread."""

    def __init__(self, seed: int, *, is_told: bool = False) -> None:
        self._draw = random.Random(f"scenario {seed}")  # noqa: S311 - a schedule, not a secret
        self.stage = Stage(seed, is_told=is_told)

    def run(self) -> Result:
        """Runs it and checks what came of it."""
        draw, stage = self._draw, self.stage
        if draw.random() < _USED:
            make_used(stage.site)
        stage.site.network.way_us = draw.choice(_WAYS_US)
        stage.site.disk_us = draw.choice(_DISKS_US)
        workers, apis = draw.choice(_WORKER_COUNTS), 1 if draw.random() < 0.8 else 2
        names = stage.start(workers, apis, has_reader=draw.random() < 0.25)
        for number in range(draw.choice(_JOB_COUNTS)):
            stage.ask(self._wish(number))
        if draw.random() < 0.1:
            stage.reconcile(int(draw.random() * 5 * _SECOND_US))
        count = draw.choice((0, 1, 1, 2, 2, 2, 3, 4))
        planned = [trouble.draw(draw, names) for _ in range(count)]
        for one in planned:
            stage.cause(one)
        return stage.finish(max([_BEGIN_US, *(one.at_us for one in planned)]))

    def _wish(self, number: int) -> Wish:
        draw = self._draw
        record = record_pb2.JobRecord(request_sha256="a" * 64)
        record.request_id = f"{self.stage.seed:08x}-0000-4000-8000-{number:012x}"
        record.spec.model = draw.choice(_MODELS)
        record.spec.limits.max_retries = draw.choice((2, 3, 3))
        if draw.random() < 0.1:
            record.not_before_time.FromMilliseconds(EPOCH_MS + int(draw.random() * 6_000))
        endings = [draw.choice(_ENDINGS) for _ in range(draw.choice(_FAILURE_COUNTS))]
        train_us = int(draw.random() ** 2 * 5 * _SECOND_US)
        return Wish(
            record,
            Script(endings, train_us, draw.random() < 0.25),
            begin_us=int(draw.random() * _BEGIN_US),
            mood=draw.random(),
            tries=1 if draw.random() < 0.1 else 0,
            has_twin=draw.random() < 0.15,
        )


def run(seed: int) -> Result:
    """A seed's result; its story is told where something was violated."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _run(seed)
    finally:
        gc.collect(0)  # now only what held each other in this run is looked at
        if was_enabled:
            gc.enable()


def _run(seed: int) -> Result:
    if os.environ.get(TELL_VARIABLE):
        return Scenario(seed, is_told=True).run()
    result = Scenario(seed).run()
    return Scenario(seed, is_told=True).run() if result.violations else result

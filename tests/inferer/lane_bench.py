"""A lane, what it stands on, and requests for it."""

import asyncio
import math
from collections.abc import Sequence

from inferer.batcher import NO_WISHES, Limits, QueuePolicy, Wishes
from inferer.convert import Inputs
from inferer.lane import Answer, Lane, Turns
from tests.inferer.fakes import FakeClock, FakeProgram, FakeThread, rows

SLOW_S = 1.0


class Bench:
    """A lane and what it stands on."""

    def __init__(
        self, seconds: float = 0.0, delay_s: float = 0.0, queues: Sequence[QueuePolicy] = ()
    ) -> None:
        self.clock = FakeClock()
        self.program = FakeProgram(seconds)
        self.thread = FakeThread()
        limits = Limits(8, 10, max_queue_delay_s=delay_s, queues=tuple(queues))
        self.turns = Turns(self.thread)
        self.lane = self.another(limits)

    def another(self, limits: Limits) -> Lane:
        """A lane of another version on the same thread."""
        return Lane("models/m/versions/1", self.program, limits, self.turns, self.clock)

    def ask(
        self, *values: float, patience_s: float = math.inf, wishes: Wishes = NO_WISHES
    ) -> "asyncio.Task[Answer]":
        inputs = Inputs({"x": rows(*values)}, len(values))
        deadline_s = self.clock.now_s + patience_s
        return asyncio.create_task(self.lane.submit(inputs, deadline_s, wishes))


async def turn(count: int = 5) -> None:
    """Lets the loop run what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)

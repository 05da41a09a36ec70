"""Serving under virtual time: the real batcher and the real policy of versions.

Requests of any size arrive, run out of time and are cancelled while versions are published,
damaged, withdrawn, removed, pinned and given aliases. What is around the two pure modules (clock,
loads, batches that run, looks at the store) is drawn from the seed.
"""

import heapq
import math
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from inferer.batcher import Limits, QueuePolicy, Wishes
from inferer.versions import DEFAULT
from tests.chaos.runs import Result, Violation
from tests.chaos.sim.serving_lane import Lane, Request
from tests.chaos.sim.serving_owner import ALIASES, LOAD_S, LOOK_S, Owner

_REQUESTS = (20, 60)
_STORE_EVENTS = (4, 9)
#: Everything happens within this many seconds; then it is quiet.
_HORIZON_S = 4.0
#: By then every load that was left is done, with some failures between.
_SETTLE_S = 10 * (LOOK_S + LOAD_S)
#: A run has some 400; one that never becomes quiet ends here, with requests that never ended.
_MOST_EVENTS = 20_000
_DELAYS_S = (0.0, 0.0, 0.02, 0.3)
_TIMEOUTS_S = (math.inf, math.inf, math.inf, 0.05)
_PATIENCE_S = (math.inf, math.inf, 0.01, 0.1, 0.6)


class Run:
    """One seed: a heap of what happens when, and what was wrong."""

    def __init__(self, seed: int, *, is_told: bool = False) -> None:
        self.random = Random(seed)  # noqa: S311 - a seed must give the same run again
        self.now_s = 1000.0
        self.problems: list[Violation] = []
        self.counts: Counter[str] = Counter()
        self.told: list[str] = []
        self._is_told = is_told
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._event_count = 0
        self._requests: list[Request] = []
        self._limits = self._draw_limits()
        self.owner = Owner(self)

    def _draw_limits(self) -> Limits:
        """Half of the runs have what most models have, one queue and no preferred sizes."""
        random = self.random
        most = random.choice((8, 16, 64))
        low = QueuePolicy(most, random.choice((math.inf, 0.2)))
        has_levels, has_sizes = random.random() < 0.5, random.random() < 0.5
        return Limits(
            max_batch_size=8,
            max_queue_size=most,
            max_queue_delay_s=random.choice(_DELAYS_S),
            preferred_batch_size=random.choice(((4,), (3, 6))) if has_sizes else (),
            queues=(QueuePolicy(16), low) if has_levels else (),
            default_priority_level=random.choice((1, 2)) if has_levels else 1,
        )

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        """Calls `act` then."""
        self._event_count += 1
        heapq.heappush(self._events, (when_s, self._event_count, act))

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Calls `act` in so many seconds."""
        self.at(self.now_s + delay_s, act)

    def wrong(self, invariant: str, text: str) -> None:
        """A promise was broken."""
        self.problems.append(Violation(invariant, text))
        self.tell("WRONG", invariant, text)

    def tell(self, *words: object) -> None:
        """A line of the story."""
        if self._is_told:
            self.told.append(f"{self.now_s - 1000:8.4f} {' '.join(map(str, words))}")

    def lane(self, version: int) -> Lane:
        """The lane of a version that was just loaded."""
        return Lane(self, version, self._limits)

    def play(self) -> None:
        """Everything, to the end."""
        random = self.random
        for _ in range(random.randint(*_REQUESTS)):
            self.after(random.random() * _HORIZON_S, self._arrive)
        for _ in range(random.randint(*_STORE_EVENTS)):
            self.after(random.random() * _HORIZON_S, self.owner.disturb)
        self.owner.begin(_HORIZON_S + _SETTLE_S)
        while self._events and self._event_count < _MOST_EVENTS:
            self.now_s, _, act = heapq.heappop(self._events)
            act()
        self.owner.check_settled()
        for request in self._requests:
            if not request.end:
                self.wrong("J5", f"{request} was never answered")

    def _arrive(self) -> None:
        """A request comes: for the default, an alias, or a version by its number."""
        random = self.random
        wishes = Wishes(random.choice((0, 0, 1, 2, 3)), random.choice(_TIMEOUTS_S))
        request = Request(len(self._requests), random.randint(1, 8), wishes=wishes)
        self._requests.append(request)
        self.counts["requests"] += 1
        kind = random.randrange(4)
        if kind == 0:
            lane = self.owner.by_number(random.randint(1, self.owner.newest + 1))
        else:
            lane = self.owner.by_channel(random.choice(ALIASES) if kind == 1 else DEFAULT)
        if lane is None:
            request.end = "not loaded"
            return
        patience_s = random.choice(_PATIENCE_S)
        request.deadline_s = self.now_s + patience_s
        lane.submit(request)
        if patience_s < math.inf and random.random() < 0.5:
            self.after(patience_s, lambda: lane.withdraw(request, "late"))
        elif random.random() < 0.25:
            self.after(random.random() * 0.2, lambda: lane.withdraw(request, "cancelled"))
        if kind != 0:
            self._ask_again_by_number(lane.version)

    def _ask_again_by_number(self, version: int) -> None:
        """Who was answered by a version may name it for a while, whatever was published since."""
        delay_s = self.random.random() * self.owner.retention.grace_s * 0.99

        def ask() -> None:
            if self.owner.by_number(version) is None:
                self.wrong("J5", f"version {version} is gone {delay_s:.3f} s after it answered")

        if self.random.random() < 0.2:
            self.after(delay_s, ask)


def run(seed: int) -> Result:
    """One seed's run; told as a story only where something was wrong."""
    start_s = time.perf_counter()
    played = _played(Run(seed))
    story = "\n".join(_played(Run(seed, is_told=True)).told) if played.problems else ""
    return Result(
        seed=seed,
        violations=tuple(played.problems),
        duration_s=time.perf_counter() - start_s,
        counts=dict(played.counts),
        story=story,
    )


def _played(made: Run) -> Run:
    try:
        made.play()
    except Exception as error:  # noqa: BLE001 - whatever the product raises is what was wrong
        made.wrong("CRASH", repr(error))
    return made

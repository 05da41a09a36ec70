"""What happens in a run, drawn from its seed: plain data, the same for the same seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from twofold.faults import POINTS

#: Points that a toy worker and a toy API reach.
_WORKER = sorted(
    point
    for point in POINTS
    if point.startswith(("publish.", "worker.", "store.create", "child."))
    or point in {"ledger.received", "ledger.claimed", "ledger.published"}
    or point in {"ledger.settling", "ledger.settled"}
)
_API = sorted(
    point
    for point in POINTS
    if point.startswith("store.create")
    or point in {"ledger.journaled", "ledger.enqueued", "ledger.cancel_asked", "ledger.cancelled"}
)
_ACTIONS = ("kill", "kill", "kill", "stop", "stop", "errno:EIO", "errno:ENOSPC", "sleep:0.3")
#: Seconds in which things break; afterwards everything must settle.
SPAN_S = 2.0
#: Kinds of trouble, each as often as it stands here.
_TROUBLES = (
    *("kill", "kill", "kill", "stop", "stop", "term"),
    *("redis_kill", "redis_kill", "redis_restart", "redis_pause", "wipe"),
    *("delay", "reset", "reset", "black", "cut", "flip"),
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client does: creates a job, and perhaps cancels or repeats it."""

    at_s: float
    model: str
    epochs: int
    #: Seconds after the creation at which it is cancelled; negative: never.
    cancel_s: float = -1.0
    is_retried: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something breaks, and heals `for_s` later where it can."""

    at_s: float
    kind: str
    #: Which process of its role; of those that run then, modulo their number.
    role: str
    index: int
    for_s: float
    #: A byte, for "cut" and "flip".
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A run."""

    seed: int
    #: TWOFOLD_FAULTS of each worker and each API that is there from the start.
    workers: Sequence[str]
    apis: Sequence[str]
    asks: Sequence[Ask]
    troubles: Sequence[Trouble]
    #: Seconds until a process that a fault point stopped goes on.
    resume_s: float
    #: Seconds until what ended is started again.
    restart_s: float


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    asks = [_ask(chance) for _ in range(chance.randint(2, 5))]
    troubles = [_trouble(chance) for _ in range(chance.choice((0, 1, 1, 2, 2, 3)))]
    return Plan(
        seed=seed,
        workers=[_armed(chance, _WORKER) for _ in range(chance.choice((1, 2, 2, 3)))],
        apis=[_armed(chance, _API) for _ in range(chance.choice((1, 1, 2)))],
        asks=sorted(asks, key=lambda ask: ask.at_s),
        troubles=sorted(troubles, key=lambda trouble: trouble.at_s),
        resume_s=chance.choice((0.3, 1.5, 3.0)),
        restart_s=chance.choice((0.05, 0.3, 1.0)),
    )


def _armed(chance: random.Random, points: Sequence[str]) -> str:
    """Half of the processes meet something at a point."""
    if chance.random() < 0.5:
        return ""
    return f"{chance.choice(points)}={chance.choice(_ACTIONS)}@{chance.choice((1, 1, 1, 2, 3))}"


def _ask(chance: random.Random) -> Ask:
    model = chance.choice(("digits", "digits", "digits", "iris", "fails", "dies"))
    cancels = chance.random() < 0.25
    return Ask(
        at_s=chance.uniform(0, SPAN_S / 2),
        model=model,
        epochs=chance.choice((1, 3, 6, 20)),
        cancel_s=chance.choice((0.0, 0.1, 0.3, 1.0)) if cancels else -1.0,
        is_retried=chance.random() < 0.15,
    )


def _trouble(chance: random.Random) -> Trouble:
    return Trouble(
        at_s=chance.uniform(0.05, SPAN_S),
        kind=chance.choice(_TROUBLES),
        role=chance.choice(("worker", "worker", "worker", "api")),
        index=chance.randrange(3),
        for_s=chance.choice((0.05, 0.3, 0.3, 1.0, 2.5)),
        offset=chance.randrange(600),
    )

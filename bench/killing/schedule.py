"""What is killed when: one schedule for all queues, made from a seed. No input, no output."""

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["worker", "job", "redis"]

#: Mean seconds between two kills of a worker; each hits one of all slots.
_KILL_GAP_S = 3.0
#: Part of these kills that hits only the process that runs the job, as the kernel's OOM killer
#: does; the others hit everything that the worker is, as the end of a container does.
_JOB_SHARE = 0.3
#: Seconds between two kills of Redis, least and most.
_REDIS_GAP_S = (12.0, 22.0)
#: Seconds that Redis stays away, least and most.
_AWAY_S = (0.5, 3.0)
#: Submissions take this part of the time in which things break.
_SUBMIT_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Fault:
    """One kill -9."""

    at_s: float
    kind: Kind
    #: The worker's number; -1 for Redis.
    slot: int = -1
    #: How long Redis stays away.
    away_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: how much is submitted how fast, and what breaks."""

    job_count: int
    slot_count: int
    submit_s: float
    faults: tuple[Fault, ...]


def make_plan(seed: int, job_count: int, slot_count: int, job_s: float) -> Plan:
    """The plan of a seed; things break as long as the jobs would take with a third to spare."""
    chance = random.Random(seed)  # noqa: S311 - a schedule that can be repeated
    window_s = job_count * job_s / slot_count * 4 / 3
    faults = [*_kills(chance, slot_count, window_s), *_outages(chance, window_s)]
    return Plan(
        job_count,
        slot_count,
        window_s * _SUBMIT_SHARE,
        tuple(sorted(faults, key=lambda fault: fault.at_s)),
    )


def _kills(chance: random.Random, slot_count: int, window_s: float) -> list[Fault]:
    found: list[Fault] = []
    at_s = chance.expovariate(1 / _KILL_GAP_S)
    while at_s < window_s:
        kind: Kind = "job" if chance.random() < _JOB_SHARE else "worker"
        found.append(Fault(at_s, kind, chance.randrange(slot_count)))
        at_s += chance.expovariate(1 / _KILL_GAP_S)
    return found


def _outages(chance: random.Random, window_s: float) -> list[Fault]:
    found: list[Fault] = []
    # The first one soon, so that the shortest run has one.
    at_s = chance.uniform(0.2, 0.5) * min(window_s, _REDIS_GAP_S[0])
    while at_s < window_s:
        found.append(Fault(at_s, "redis", away_s=chance.uniform(*_AWAY_S)))
        at_s += chance.uniform(*_REDIS_GAP_S)
    return found

"""What a seed of tier P does: jobs, what clients ask, and which fault comes when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal["kill", "stop", "term", "kill child", "stop child", "wipe", "arm"]
#: Seconds after the start within which faults happen: as long as the jobs of a seed take.
FAULTS_S = 3.0
#: A process that stops is let go on after this long, in leases: before and long after its end.
STOPS_IN_LEASES = (0.5, 1.5, 3.0)
WORKERS = ("worker-0", "worker-1")
_SERVERS = ("api", "inferer", "redis")
_WORKER_POINTS = (
    *("store.create.written", "store.create.synced", "store.create.linked", "store.create.named"),
    *("publish.claimed", "publish.linked", "publish.staged", "publish.decided", "publish.visible"),
    *("ledger.received", "ledger.claimed", "ledger.published", "ledger.settling"),
    *("ledger.settled", "worker.claimed", "worker.ordered", "worker.trained", "worker.concluded"),
    *("child.epoch", "child.checkpointed", "child.exported"),
)
_API_POINTS = (
    *("store.create.synced", "store.create.linked", "ledger.journaled", "ledger.enqueued"),
    *("ledger.cancel_asked", "ledger.cancelled"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, `at_s` after the start; "arm" is there from the start."""

    at_s: float
    kind: Kind
    which: str
    #: For "arm": what TWOFOLD_FAULTS says.
    armed: str = ""

    def __str__(self) -> str:
        return f"{self.at_s:.2f} s: {self.kind} {self.which} {self.armed}".rstrip()


@dataclass(frozen=True, slots=True)
class Errand:
    """One client's job."""

    model: str
    request_id: str
    #: 2,500 epochs take about a second.
    epochs: int
    begin_s: float
    #: How often the same create is sent again after it was accepted.
    repeats: int
    #: Seconds after which cancellation is asked for; None: never.
    cancel_after_s: float | None
    #: Whether the job is retried once it has ended without a version.
    retries: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole seed."""

    seed: int
    errands: Sequence[Errand]
    faults: Sequence[Fault]
    #: How long a stopped process stays so, in leases.
    stop_in_leases: float

    @property
    def models(self) -> list[str]:
        """Names no other seed uses: seeds may share a store."""
        return sorted({errand.model for errand in self.errands})

    def __str__(self) -> str:
        lines = [f"seed {self.seed}; stopped for {self.stop_in_leases} leases"]
        return "\n".join([*lines, *map(str, self.errands), *map(str, self.faults)])


def plan_of(seed: int) -> Plan:
    """The same plan for the same seed, always."""
    random = Random(f"tier P {seed}")  # noqa: S311 - chance that can be repeated
    errands = [_errand(random, seed, number) for number in range(random.randint(1, 4))]
    faults = [_fault(random) for _ in range(random.randint(1, 3))]
    return Plan(
        seed,
        errands,
        sorted(_once_armed(faults), key=lambda fault: fault.at_s),
        random.choice(STOPS_IN_LEASES),
    )


def _errand(random: Random, seed: int, number: int) -> Errand:
    return Errand(
        model=f"seed-{seed}-{random.choice('ab')}",
        request_id=f"00000000-0000-4000-8000-{seed:08x}{number:04x}",
        epochs=random.randint(1_000, 3_500),
        begin_s=random.uniform(0, 1),
        repeats=random.choice((0, 0, 1, 2)),
        cancel_after_s=random.uniform(0, 3) if random.random() < 0.3 else None,
        retries=random.random() < 0.3,
    )


def _fault(random: Random) -> Fault:
    at_s = random.uniform(0.2, FAULTS_S)
    if random.random() < 0.35:
        return _armed(random)
    if random.random() < 0.6:
        kinds: list[Kind] = ["kill", "kill", "stop", "term", "kill child", "stop child"]
        return Fault(at_s, random.choice(kinds), random.choice(WORKERS))
    which = random.choice(_SERVERS)
    if which == "redis":
        redis_kinds: list[Kind] = ["kill", "stop", "wipe"]
        return Fault(at_s, random.choice(redis_kinds), which)
    return Fault(at_s, random.choice(("kill", "term")), which)


def _armed(random: Random) -> Fault:
    which = random.choice((*WORKERS, *WORKERS, "api"))
    point = random.choice(_API_POINTS if which == "api" else _WORKER_POINTS)
    action = random.choice(("kill", "kill", "kill", "stop", "sleep:1"))
    if point.startswith("store.") and random.random() < 0.5:
        action = random.choice(("errno:EIO", "errno:ENOSPC"))
    # Epochs come by the thousand; the others a few times in a seed.
    hit = random.randint(1, 3_000) if point == "child.epoch" else random.randint(1, 3)
    return Fault(0.0, "arm", which, f"{point}={action}@{hit}")


def _once_armed(faults: Sequence[Fault]) -> list[Fault]:
    """At most one armed point for each process, which is started with it."""
    armed: set[str] = set()
    kept: list[Fault] = []
    for fault in faults:
        if fault.kind == "arm" and fault.which in armed:
            continue
        armed |= {fault.which} if fault.kind == "arm" else set()
        kept.append(fault)
    return kept

"""What a tier is to the command line, to CI and to the long run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    #: "J1" to "J9", or a bound such as "TAKEOVER".
    invariant: str
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of one seed showed."""

    seed: int
    violations: tuple[Violation, ...] = ()
    duration_s: float = 0.0
    #: What happened, for the table: "jobs", "kills", "wipes" and so on.
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    #: The history and the schedule as text, for a person; only where something was violated.
    story: str = ""


@dataclass(frozen=True, slots=True)
class Tier:
    """A way to run seeds. `run` must give the same schedule for the same seed."""

    name: str
    run: Callable[[int], Result]
    #: How many runs go side by side, each in a process of its own.
    width: int

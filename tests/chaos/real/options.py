"""What a forked process is told."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["worker", "api"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Plain values: they cross a socket as JSON."""

    role: Role
    #: Unique within a site, for ever: a restarted process has another.
    name: str
    #: The queue's server, or a proxy before it.
    url: str
    #: The store's root.
    store: str
    #: Where its history, its log and, of an api, its socket stand.
    history: str
    log: str
    socket: str = ""
    lease_s: float = 1.0
    beat_s: float = 0.2
    drain_s: float = 3.0
    retry_backoff_s: float = 0.1
    #: How long an epoch of the toy takes.
    epoch_s: float = 0.05
    #: As in TWOFOLD_FAULTS.
    faults: str = ""
    #: How far its wall clock is ahead.
    skew_ms: int = 0
    #: Whether a worker looks after the jobs of others, and after those that are due.
    patrols: bool = True
    #: A network namespace to join; "": none.
    namespace: str = ""

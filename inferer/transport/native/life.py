"""How long a connection may live, be silent, or take to go. Pure: times come in as seconds."""

import math
from dataclasses import dataclass
from enum import Enum, auto

from inferer.transport.native import bounds


class Stage(Enum):
    """Of a connection."""

    NEW = auto()
    OPEN = auto()
    #: It was asked to open no more calls.
    CLOSING = auto()
    #: The last word was said.
    CLOSED = auto()


class Due(Enum):
    """What is to be done about a connection."""

    NOTHING = auto()
    #: Its steps of the end, see Connection.
    NOTICE = auto()
    FINISH = auto()
    CANCEL = auto()
    #: At once, with and without the last words.
    CLOSE = auto()
    ABORT = auto()


@dataclass(slots=True)
class Life:
    """Where a connection stands, and since when. Times are those of Clock.monotonic_s."""

    begun_s: float
    stage: Stage = Stage.NEW
    #: When it last said something, or had a call open; as of the last look.
    heard_s: float = -math.inf
    was_heard: bool = False
    #: Since when it does not take what was written.
    paused_s: float = math.inf
    #: Since when it closes, or is closed.
    closing_s: float = math.inf
    #: How long its calls may then go on.
    grace_s: float = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether the last word was said."""
        return self.stage is Stage.CLOSED

    def enter(self, stage: Stage, now_s: float, grace_s: float = 0.0) -> None:
        """Begins a stage of the end."""
        self.stage, self.closing_s, self.grace_s = stage, now_s, grace_s

    def due(self, now_s: float, *, has_calls: bool) -> Due:
        """What takes too long; asked about once a second."""
        if self.was_heard or has_calls:
            self.was_heard, self.heard_s = False, now_s
        if self.stage is Stage.CLOSED:
            return Due.ABORT if now_s - self.closing_s > bounds.LINGER_S else Due.NOTHING
        if now_s - self.paused_s > bounds.STALL_S:
            return Due.ABORT
        if self.stage is Stage.CLOSING:
            return self._due_in_closing(now_s - self.closing_s)
        return self._due_in_use(now_s)

    def _due_in_closing(self, since_s: float) -> Due:
        if since_s > self.grace_s:
            return Due.CANCEL
        return Due.FINISH if since_s >= bounds.NOTICE_S else Due.NOTHING

    def _due_in_use(self, now_s: float) -> Due:
        age_s = now_s - self.begun_s
        if self.stage is Stage.NEW and age_s > bounds.HANDSHAKE_S:
            return Due.CLOSE
        silent_s = now_s - max(self.heard_s, self.begun_s)
        is_due = age_s > bounds.AGE_S or silent_s > bounds.IDLE_S
        return Due.NOTICE if is_due else Due.NOTHING

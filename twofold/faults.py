"""Fault points: `fault("publish.claimed")` marks a step; tests arm what happens there.

A no-op unless something is armed. TWOFOLD_FAULTS arms points in a process that a test starts:
"publish.claimed=kill" or "publish.claimed=kill@3" (at the third hit), "stop" and "exit" likewise;
several are separated by commas.
"""

import os
import signal
from collections.abc import Callable

#: What happens at a point; filled by `arm`. Owned by the test that arms it.
_armed: dict[str, Callable[[], None]] = {}


def fault(name: str) -> None:
    """Does what a test armed for this point; usually nothing."""
    if _armed and (action := _armed.get(name)) is not None:
        action()


def arm(name: str, action: Callable[[], None]) -> None:
    """Makes `fault(name)` call `action` from now on."""
    _armed[name] = action


def disarm() -> None:
    """Forgets every armed point."""
    _armed.clear()


def arm_from(text: str) -> None:
    """Arms what TWOFOLD_FAULTS says; raises ValueError for an unknown action."""
    for entry in filter(None, text.split(",")):
        name, _, action = entry.partition("=")
        kind, _, hit = action.partition("@")
        arm(name, _at_hit(int(hit or 1), _ACTIONS[kind]))


def _signal_self(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill": _signal_self(signal.SIGKILL),
    "stop": _signal_self(signal.SIGSTOP),
    "exit": lambda: os._exit(70),
}


def _at_hit(hit: int, action: Callable[[], None]) -> Callable[[], None]:
    remaining = hit

    def count_down() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining == 0:
            action()

    return count_down

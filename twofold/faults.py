"""Fault points: `fault("publish.claimed")` marks a step; tests arm what happens there.

A no-op unless something is armed. TWOFOLD_FAULTS arms points in a process that a test starts, as
entries "point=action" or "point=action@3" (at the third hit only, else at the first) or
"point=action@3+" (at the third hit and each later one), separated by commas. Actions:

  kill, stop   the process gets SIGKILL or SIGSTOP
  exit         it exits with status 70, without clean-up
  errno:EIO    OSError of that errno is raised; within the store it is taken for the disk's
  sleep:0.5    the calling thread sleeps that many seconds
"""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable

#: Every point there is, by what has just happened when it is reached; a test keeps this in step
#: with the code. What a process does between two points of one row is one step to a fault.
POINTS = frozenset(
    {
        # twofold.store: a file written, fsynced, given its name, the name fsynced. Also link and
        # adopt come through the last two. And a file about to be read.
        "store.create.written",
        "store.create.synced",
        "store.adopt.synced",
        "store.create.linked",
        "store.create.named",
        "store.read",
        # twofold.publish: number claimed, files linked, manifest staged, outcome decided, visible.
        "publish.claimed",
        "publish.linked",
        "publish.staged",
        "publish.decided",
        "publish.visible",
        # twofold.lifecycle, users' side: request bound to a job, spec stored, enqueued; cancel
        # file written, then the outcome decided.
        "ledger.bound",
        "ledger.journaled",
        "ledger.enqueued",
        "ledger.cancel_asked",
        "ledger.cancelled",
        # twofold.lifecycle, workers' side: entry received, job claimed; version published; about
        # to write how an attempt ended, and the end written.
        "ledger.received",
        "ledger.claimed",
        "ledger.published",
        "ledger.settling",
        "ledger.settled",
        # twofold.lifecycle, patrol: a job of the store looked at; what was missing enqueued.
        "reconcile.read",
        "reconcile.enqueued",
        # trainer's supervisor: job claimed, child given its order, child trained, end told.
        "worker.claimed",
        "worker.ordered",
        "worker.trained",
        "worker.concluded",
        # trainer's child: an epoch done, a checkpoint written, the artifact written.
        "child.epoch",
        "child.checkpointed",
        "child.exported",
        # Data sets: a chunk received; bytes in place, before the record; record gone, before them.
        "upload.chunk",
        "dataset.adopted",
        "dataset.hidden",
        # inferer: a version's bytes read, its engine warm.
        "inferer.read",
        "inferer.warm",
    }
)

#: What happens at a point; filled by `arm`. Owned by the test that arms it.
_armed: dict[str, Callable[[], None]] = {}


def fault(name: str) -> None:
    """Does what a test armed for this point; usually nothing."""
    if _armed and (action := _armed.get(name)) is not None:
        action()


def arm(name: str, action: Callable[[], None]) -> None:
    """Makes `fault(name)` call `action` from now on; raises ValueError for an unknown point."""
    if name not in POINTS:
        raise ValueError(f"no fault point is called {name!r}")
    _armed[name] = action


def disarm() -> None:
    """Forgets every armed point."""
    _armed.clear()


def arm_from(text: str) -> None:
    """Arms what TWOFOLD_FAULTS says; raises ValueError for what it cannot mean."""
    for entry in filter(None, text.split(",")):
        name, _, action = entry.partition("=")
        kind, _, hit = action.partition("@")
        first = int(hit.removesuffix("+") or 1)
        arm(name, _from_hit(first, _action(kind), repeat=hit.endswith("+")))


def _action(text: str) -> Callable[[], None]:
    kind, _, detail = text.partition(":")
    if kind == "errno" and isinstance(number := getattr(errno, detail, None), int):
        return lambda: _fail(number)
    if kind == "sleep":
        delay_s = float(detail)
        return lambda: time.sleep(delay_s)
    if text not in _ACTIONS:
        raise ValueError(f"no action of a fault point is called {text!r}")
    return _ACTIONS[text]


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


def _signal_self(number: signal.Signals) -> Callable[[], None]:
    # To this thread: one sent to the process stops it only once another thread has woken up for it,
    # and this one would run on for some steps.
    return lambda: signal.pthread_kill(threading.get_ident(), number)


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill": _signal_self(signal.SIGKILL),
    "stop": _signal_self(signal.SIGSTOP),
    "exit": lambda: os._exit(70),
}


def _from_hit(first: int, action: Callable[[], None], *, repeat: bool) -> Callable[[], None]:
    hits = 0

    def count() -> None:
        nonlocal hits
        hits += 1
        if hits == first or (repeat and hits > first):
            action()

    return count

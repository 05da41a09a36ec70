"""What happened in a run, as the harness saw it: calls of clients, and facts of other actors.

A call is two events: "invoke", then one of "ok", "fail" (it certainly had no effect) and "unknown"
(it may have had one: the answer was lost, late or UNAVAILABLE). Everything else is a fact.
Processes write their own files, merged afterwards by time: CLOCK_MONOTONIC is the machine's, not
the process's; under simulation it is the virtual clock.

An "invoke" has the operation's name as "op" beside its fields; the answer's fields stand in "ok";
"fail" and "unknown" have "code", the status' name. `call` is unique within the whole run.

Operations and their fields (answers after the arrow; a state is a name such as "CANCELLED"):
  create         request_id, model            -> job
  retry          job, request_id              -> job
  cancel         job                          -> state
  get            job                          -> state, version (0: none)
  versions       model                        -> numbers (the visible ones); broken: those of them
                                                 whose files fail their digests, if looked at
  predict        model, reference             -> version, is_right (as that version computes)
Facts:
  train_begin    job, attempt                 an attempt begins to train
  train_end      job, attempt, how            trained | failed | cancelled | lost | handed_back
  retry_wait     job, wait_ms, full_ms        a failed attempt is repeated after this wait; what
                                              the wait would be without jitter
  fault          what, which                  the harness broke something: "kill", "stop", "clock",
                                              "lost", "slow" ...; which: the actor's name, or
                                              "redis", "store" for what all share
  wipe           -                            Redis lost its data, all or the latest part
  quiet          -                            no more faults; from here on everything must settle
  settled        -                            everything has; absent if it did not in time
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

Value = str | int | bool | list[int]
#: Codes after which a call has certainly had no effect.
DEFINITE = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
        "ALREADY_EXISTS",
        "ABORTED",
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a history."""

    at_ns: int
    actor: str
    kind: str
    #: Binds "invoke" to its end; "" for facts.
    call: str = ""
    fields: Mapping[str, Value] = field(default_factory=dict[str, Value])


class Sink(Protocol):
    """Where events go."""

    def add(self, event: Event) -> None:
        """Keeps an event, at once: its writer may be killed right after."""
        ...


class Memory:
    """Events of one process."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        """See Sink."""
        self.events.append(event)


class JsonLines:
    """Events in a file of one process; each is one write, so a killed writer leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def add(self, event: Event) -> None:
        """See Sink."""
        line = [event.at_ns, event.actor, event.kind, event.call, dict(event.fields)]
        self._file.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read(paths: Iterable[Path]) -> list[Event]:
    """The events of several files, by time."""
    return sorted((event for path in paths for event in _lines(path)), key=_time)


def _lines(path: Path) -> Iterator[Event]:
    for line in path.read_text("ascii").splitlines():
        at_ns, actor, kind, call, fields = cast(
            "tuple[int, str, str, str, dict[str, Value]]", tuple(json.loads(line))
        )
        yield Event(at_ns, actor, kind, call, fields)


def _time(event: Event) -> int:
    return event.at_ns

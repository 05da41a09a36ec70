"""Calls of clients as events; one recorder for all threads of a seed."""

import itertools
import time
from collections.abc import Callable, Mapping

from tests.chaos.history import DEFINITE, Event, Memory, Value
from twofold.errors import TwofoldError

Fields = Mapping[str, Value]


class Recorder:
    """A history that grows; appending to a list is safe for threads."""

    def __init__(self, seed: int) -> None:
        self._memory = Memory()
        self._seed = seed
        self._numbers = itertools.count(1)

    @property
    def events(self) -> list[Event]:
        """All so far, by time."""
        return sorted(self._memory.events, key=lambda event: event.at_ns)

    def fact(self, actor: str, kind: str, at_ns: int | None = None, **fields: Value) -> None:
        """Something that is no call; now, unless it was noticed later than it happened."""
        when_ns = time.monotonic_ns() if at_ns is None else at_ns
        self._memory.add(Event(when_ns, actor, kind, fields=fields))

    def call(self, actor: str, op: str, fields: Fields, make: Callable[[], Fields]) -> Fields | str:
        """Makes a call; the fields of its answer, or the code of its failure."""
        call = f"{self._seed}-{next(self._numbers)}"
        self._add(actor, "invoke", call, {"op": op, **fields})
        try:
            answer = make()
        except TwofoldError as error:
            kind = "fail" if error.code in DEFINITE else "unknown"
            self._add(actor, kind, call, {"code": error.code})
            return error.code
        self._add(actor, "ok", call, answer)
        return answer

    def _add(self, actor: str, kind: str, call: str, fields: Fields) -> None:
        self._memory.add(Event(time.monotonic_ns(), actor, kind, call, fields))

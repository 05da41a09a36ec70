"""The calls of a history: an invocation and its end as one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tests.chaos.history import Event, Value


@dataclass(frozen=True, slots=True)
class Call:
    """One call; its fields are those of the invocation and of the answer."""

    actor: str
    op: str
    begin_ns: int
    end_ns: int
    #: "ok", "fail" or "unknown"; also "unknown" where its caller died.
    result: str
    fields: Mapping[str, Value]

    @property
    def code(self) -> str:
        """The status' name where it failed; "" otherwise."""
        return self.text("code")

    def text(self, name: str) -> str:
        """A field; "" where it is not there."""
        return str(self.fields.get(name, ""))

    def number(self, name: str) -> int:
        """A field; 0 where it is not there."""
        return int(cast("int", self.fields.get(name, 0)))

    def numbers(self, name: str) -> list[int]:
        """A field; empty where it is not there."""
        return cast("list[int]", self.fields.get(name, []))


def calls_of(events: Sequence[Event]) -> list[Call]:
    """All calls, by their beginnings."""
    ends = {event.call: event for event in events if event.kind in {"ok", "fail", "unknown"}}
    return [_call(event, ends.get(event.call)) for event in events if event.kind == "invoke"]


def _call(begun: Event, ended: Event | None) -> Call:
    fields = {**begun.fields, **(ended.fields if ended else {})}
    op = str(fields.pop("op"))
    kind, end_ns = (ended.kind, ended.at_ns) if ended else ("unknown", 1 << 62)
    return Call(begun.actor, op, begun.at_ns, end_ns, kind, fields)

"""What a bench is told in text: loads and shapes. Pure."""

from collections.abc import Sequence
from typing import TypeVar

from twofold.errors import InvalidField
from twofold.loadgen import points
from twofold.loadgen.points import Load

Number = TypeVar("Number", int, float)
#: Requests under way where nobody says.
CONCURRENCY = "1,4,16,64"
#: Most requests under way at once, or a second: a typing error should not open a million sockets.
MOST_UNDER_WAY, MOST_RATE = 10_000, 1_000_000


def loads(concurrency: str | None, rate: str | None, connections: int | None) -> list[Load]:
    """The points that two options name, of which one at most is given; raises InvalidField."""
    if rate is None:
        counts = _numbers("concurrency", concurrency or CONCURRENCY, int, MOST_UNDER_WAY)
        return [points.closed(count, connections) for count in counts]
    if concurrency is not None:
        allowed = "either concurrency (a closed loop) or rate (an open one)"
        raise InvalidField.of("rate", f"{rate} beside concurrency {concurrency}", allowed)
    rates = _numbers("rate", rate, float, MOST_RATE)
    return [points.opened(number, connections) for number in rates]


def _numbers(field: str, text: str, kind: type[Number], most: int) -> list[Number]:
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < number <= most for number in found):
        allowed = f"numbers above 0, at most {most:,}, with commas between them"
        raise InvalidField.of(field, text, allowed)
    return found


def shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by input, of NAME:2,3; raises InvalidField."""
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition(":")
        parts = sizes.split(",")
        if not name or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise InvalidField.of("shape", text, "NAME:N,N,... with sizes of 1 or more")
        found[name] = tuple(map(int, parts))
    return found

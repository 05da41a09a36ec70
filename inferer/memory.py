"""The memory that loaded versions take together, and which go for the sake of another. Pure.

What a channel serves, and what an operator named, never goes. Of the rest go the ones that were
only asked for by number before the ones that a policy keeps, in each case the least recently used
first. What nobody asks for takes free room and makes none.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from inferer.versions import Need
from twofold.artifact import GRAPH, WEIGHTS
from twofold.v1 import model_pb2

#: What a version takes beside its files: modules, lane, statistics, signature.
_FIXED_BYTES = 64 << 10
#: The parsed graph beside the bytes it came from, and the modules made of its nodes.
_GRAPH_FACTOR = 8
#: A version that was loaded because it was asked for stays so many times as long as its load took,
#: so that two that push each other out spend their time answering, and not loading ...
_STAY_FACTOR = 10
#: ... and so many seconds at least and at most; the longest is half of what a request waits.
_STAY_S = (0.1, 5.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a version that is not loaded yet would take."""

    size_bytes: int
    #: Of the manifest that says so.
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class Memory:
    """A bound on what loaded versions take together."""

    budget_bytes: int
    #: Reads what a version would take; raises what loading it would.
    measure: Callable[[str, int], Awaitable[Measured]]


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded version. Times are those of Clock.monotonic_s."""

    model: str
    number: int
    size_bytes: int
    need: Need
    #: When it was loaded, last asked for by number, or left a channel.
    used_s: float
    #: It stays until then, unless what a channel is to serve needs the room.
    stays_until_s: float


@dataclass(frozen=True, slots=True)
class Room:
    """How a version gets its room: by unloading these, now or from `wait_until_s` on."""

    unload: Sequence[Resident] = ()
    wait_until_s: float | None = None


def size_of(manifest: model_pb2.Manifest) -> int:
    """What a loaded version takes, by its manifest: weights once, graph several times."""
    sizes = {file.name: file.size_bytes for file in manifest.files}
    return sizes.get(WEIGHTS, 0) + _GRAPH_FACTOR * sizes.get(GRAPH, 0) + _FIXED_BYTES


def stay_s(load_s: float) -> float:
    """How long a version stays at least whose load took so long."""
    least_s, most_s = _STAY_S
    return min(max(_STAY_FACTOR * load_s, least_s), most_s)


def used_bytes(residents: Iterable[Resident]) -> int:
    """What they take together."""
    return sum(resident.size_bytes for resident in residents)


def make_room(
    residents: Sequence[Resident], size_bytes: int, need: Need, budget_bytes: int, now_s: float
) -> Room | None:
    """Room for another `size_bytes` that are needed so much; None where there is none to be had."""
    missing_bytes = used_bytes(residents) + size_bytes - budget_bytes
    if missing_bytes <= 0:
        return Room()
    if need is Need.SPARE:
        return None
    movable = sorted(
        (resident for resident in residents if resident.need is not Need.SERVED),
        key=lambda resident: (resident.need, resident.used_s),
    )
    is_urgent = need is Need.SERVED
    ready = [each for each in movable if is_urgent or each.stays_until_s <= now_s]
    if used_bytes(ready) >= missing_bytes:
        return Room(unload=_least(ready, missing_bytes))
    if used_bytes(movable) >= missing_bytes:
        return Room(wait_until_s=_enough_at_s(movable, missing_bytes))
    return None


def _least(ordered: Sequence[Resident], missing_bytes: int) -> list[Resident]:
    """From the front as many as it takes, without those that the last ones make needless."""
    chosen: list[Resident] = []
    for resident in ordered:
        if missing_bytes <= 0:
            break
        chosen.append(resident)
        missing_bytes -= resident.size_bytes
    for resident in reversed(chosen[:-1]):
        if missing_bytes + resident.size_bytes <= 0:
            chosen.remove(resident)
            missing_bytes += resident.size_bytes
    return chosen


def _enough_at_s(movable: Sequence[Resident], missing_bytes: int) -> float:
    """When those of `movable` that may go by then are enough."""
    at_s = 0.0
    for resident in sorted(movable, key=lambda resident: resident.stays_until_s):
        if missing_bytes <= 0:
            break
        at_s = resident.stays_until_s
        missing_bytes -= resident.size_bytes
    return at_s

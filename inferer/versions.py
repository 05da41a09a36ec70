"""Which versions of one model to load, serve and unload. Pure.

A channel is what a request may follow: the default ("") or an alias. A channel's version changes
only when the next one is loaded; until then the old one serves, so a swap leaves no gap. A load
that fails changes nothing.
"""

import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import IntEnum

from inferer.policies import VersionPolicy
from twofold.versions import VersionState

#: The channel of requests that name no version.
DEFAULT = ""


class Need(IntEnum):
    """Why a version is loaded; what is needed more is loaded earlier and unloaded later."""

    #: Somebody asked for it by its number, or it served a moment ago.
    ASKED = 1
    #: The policy keeps it, so that a rollback finds it loaded.
    SPARE = 2
    #: A channel serves it or waits for it, or an operator named it.
    SERVED = 3

    @property
    def turn(self) -> int:
        """Its turn to be loaded: requests wait for what was asked for, nobody for a spare."""
        return {Need.SERVED: 0, Need.ASKED: 1, Need.SPARE: 2}[self]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds of a model."""

    versions: tuple[VersionState, ...] = ()
    aliases: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def numbers(self) -> frozenset[int]:
        """The visible versions."""
        return frozenset(version.number for version in self.versions)


@dataclass(frozen=True, slots=True)
class Serving:
    """What this inferer has of a model. Times are those of Clock.monotonic_s."""

    loaded: AbstractSet[int] = frozenset()
    #: Refused for good: corrupt, or wrong answers.
    bad: AbstractSet[int] = frozenset()
    #: Not to be tried now: the store failed a moment ago, or there was no room.
    held: AbstractSet[int] = frozenset()
    #: The version that each channel serves; all of them are loaded.
    channels: Mapping[str, int] = field(default_factory=dict[str, int])
    #: When a version was last asked for by its number.
    pinned: Mapping[int, float] = field(default_factory=dict[int, float])
    #: When a version last left a channel.
    replaced: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True, slots=True)
class Retention:
    """How long versions stay that no channel serves."""

    #: Seconds that a replaced version stays loaded, for who has just learned its number.
    grace_s: float = 60.0
    #: The most of those, the last replaced ones: of versions that come every second not all stay.
    max_replaced: int = 16
    #: Versions kept because they were asked for by number, the most recent ones.
    max_pinned: int = 8
    #: Seconds since it was last asked for by number that a version is kept for that.
    pin_s: float = 600.0
    policy: VersionPolicy = field(default_factory=VersionPolicy)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: set the channels, then unload, then load one version."""

    channels: Mapping[str, int]
    unload: frozenset[int]
    load: int | None
    #: Versions that leave their last channel with this plan.
    replaced: frozenset[int]
    #: What the version to load is for.
    need: Need = Need.SERVED


def plan(stored: Stored, serving: Serving, now_s: float, retention: Retention) -> Plan:
    """The next step towards what the store says."""
    targets = _targets(stored, serving, retention.policy)
    channels = _channels(targets, serving)
    replaced = frozenset(serving.channels.values()) - frozenset(channels.values())
    wanted = [
        *((number, Need.SERVED) for number in targets.values()),
        *((number, Need.ASKED) for number in _pins(stored, serving, now_s, retention)),
        *_spares(stored, serving, retention.policy),
    ]
    kept = {*(number for number, _ in wanted), *channels.values(), *replaced}
    kept |= set(_latest(serving.replaced, now_s, retention.grace_s, retention.max_replaced))
    kept |= _spares_now(stored, serving, channels, retention.policy)
    out_of_question = serving.loaded | serving.bad | serving.held
    left = ((number, need) for number, need in wanted if number not in out_of_question)
    load, need = next(left, (None, Need.SERVED))
    return Plan(channels, frozenset(serving.loaded - kept), load, replaced, need)


def needs(stored: Stored, serving: Serving, policy: VersionPolicy) -> dict[int, Need]:
    """What each loaded version is for, of several needs the greatest."""
    need = Need.SPARE if policy.only is None else Need.SERVED
    spares = _spares_now(stored, serving, serving.channels, policy) & serving.loaded
    return (
        dict.fromkeys(serving.loaded, Need.ASKED)
        | dict.fromkeys(spares, need)
        | dict.fromkeys(serving.channels.values(), Need.SERVED)
    )


def _spares_now(
    stored: Stored, serving: Serving, channels: Mapping[str, int], policy: VersionPolicy
) -> set[int]:
    """The spares as long as what serves serves: a newer version takes a place when it does."""
    current = channels.get(DEFAULT, math.inf)
    return set(policy.kept({number for number in _good(stored, serving) if number <= current}))


def _good(stored: Stored, serving: Serving) -> set[int]:
    """The versions that are there, not withdrawn, and not refused here."""
    return {found.number for found in stored.versions if not found.withdrawn} - serving.bad


def _spares(stored: Stored, serving: Serving, policy: VersionPolicy) -> Iterator[tuple[int, Need]]:
    """The versions that the policy keeps; what an operator named is needed like what serves."""
    need = Need.SPARE if policy.only is None else Need.SERVED
    return ((number, need) for number in policy.kept(_good(stored, serving)))


def _targets(stored: Stored, serving: Serving, policy: VersionPolicy) -> dict[str, int]:
    """What each channel should serve, the default first: its load is the most urgent."""
    targets: dict[str, int] = {}
    candidates = set(policy.eligible(_good(stored, serving)))
    current = serving.channels.get(DEFAULT)
    if current is not None and current not in stored.numbers:
        # Removed by a collector, while nothing newer serves here; or the store is out of reach, for
        # example not mounted. Neither may end serving.
        candidates.add(current)
    if candidates:
        targets[DEFAULT] = max(candidates)
    for alias, number in stored.aliases.items():
        if number in serving.loaded or number in stored.numbers - serving.bad:
            targets[alias] = number
        elif alias in serving.channels:
            targets[alias] = serving.channels[alias]
    return targets


def _channels(targets: Mapping[str, int], serving: Serving) -> dict[str, int]:
    channels: dict[str, int] = {}
    for channel, number in targets.items():
        if number in serving.loaded:
            channels[channel] = number
        elif channel in serving.channels:
            channels[channel] = serving.channels[channel]
    return channels


def _pins(stored: Stored, serving: Serving, now_s: float, retention: Retention) -> list[int]:
    """The versions last asked for by number, the latest first."""
    known = (stored.numbers | serving.loaded) - serving.bad
    asked = {number: at_s for number, at_s in serving.pinned.items() if number in known}
    return _latest(asked, now_s, retention.pin_s, retention.max_pinned)


def _latest(times: Mapping[int, float], now_s: float, within_s: float, limit: int) -> list[int]:
    """The last ones of what happened within so many seconds, the latest first."""
    recent = [number for number, at_s in times.items() if now_s - at_s < within_s]
    return sorted(recent, key=lambda number: times[number], reverse=True)[:limit]

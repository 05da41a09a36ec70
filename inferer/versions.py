"""Which versions of one model to load, serve and unload. Pure.

A channel is what a request may follow: the default ("") or an alias. A channel's version changes
only when the next one is loaded; until then the old one serves, so a swap leaves no gap. A load
that fails changes nothing.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from twofold.versions import VersionState

#: The channel of requests that name no version.
DEFAULT = ""


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
    #: Not to be tried now: the store failed a moment ago.
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
    #: Versions kept because they were asked for by number, the most recent ones.
    max_pinned: int = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: set the channels, then unload, then load one version."""

    channels: Mapping[str, int]
    unload: frozenset[int]
    load: int | None
    #: Versions that leave their last channel with this plan.
    replaced: frozenset[int]


def plan(stored: Stored, serving: Serving, now_s: float, retention: Retention) -> Plan:
    """The next step towards what the store says."""
    targets = _targets(stored, serving)
    channels = _channels(targets, serving)
    replaced = frozenset(serving.channels.values()) - frozenset(channels.values())
    pins = _pins(stored, serving, retention.max_pinned)
    ordered = [*targets.values(), *pins]
    kept = {*ordered, *channels.values(), *replaced}
    kept |= {
        number
        for number, since_s in serving.replaced.items()
        if now_s - since_s < retention.grace_s
    }
    out_of_question = serving.loaded | serving.bad | serving.held
    return Plan(
        channels=channels,
        unload=frozenset(serving.loaded - kept),
        load=next((number for number in ordered if number not in out_of_question), None),
        replaced=replaced,
    )


def _targets(stored: Stored, serving: Serving) -> dict[str, int]:
    """What each channel should serve, the default first: its load is the most urgent."""
    targets: dict[str, int] = {}
    candidates = {version.number for version in stored.versions if not version.withdrawn}
    current = serving.channels.get(DEFAULT)
    if current is not None and current not in stored.numbers:
        # Removed by a collector, while nothing newer serves here; or the store is out of reach, for
        # example not mounted. Neither may end serving.
        candidates.add(current)
    if good := candidates - serving.bad:
        targets[DEFAULT] = max(good)
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


def _pins(stored: Stored, serving: Serving, limit: int) -> list[int]:
    """The versions last asked for by number, the latest first."""
    known = (stored.numbers | serving.loaded) - serving.bad
    asked = [number for number in serving.pinned if number in known]
    return sorted(asked, key=lambda number: serving.pinned[number], reverse=True)[:limit]

"""Rolling a model back: its default version is withdrawn, once, and the one before it serves."""

from collections.abc import Sequence
from dataclasses import dataclass

from twofold import versions
from twofold.errors import Corrupt, NotFound, WrongState
from twofold.internal.v1 import record_pb2
from twofold.principal import Principal
from twofold.seams import Clock
from twofold.store import Store
from twofold.versions import VersionState, current_version

#: Who names no version and comes so soon after another who did the same means the same.
RECENT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Rollback:
    """What was withdrawn, by whom and when."""

    number: int
    record: record_pb2.AliasRecord
    #: Whether this call did it; else it stood already.
    is_new: bool


def roll_back(
    store: Store, clock: Clock, principal: Principal, model: str, version: int
) -> Rollback:
    """Withdraws `version`, durably; 0: whichever is served by default.

    Whoever asks for the same at the same time withdraws nothing more: which version is meant is
    decided before it is withdrawn, and withdrawing is an exclusive create.

    Raises:
        NotFound: there is no such model or version.
        WrongState: another version is served by default, or none would be any more.
    """
    states = versions.visible_versions(store, principal.tenant, model)
    if not states:
        raise NotFound(f"there is no models/{model}; train it first", resource=f"models/{model}")

    def record_of(number: int) -> record_pb2.AliasRecord | None:
        return versions.read_withdrawal(store, principal.tenant, model, number)

    last = max(
        (record for number in _above(states) if (record := record_of(number))),
        key=lambda record: record.create_time.ToMilliseconds(),
        default=None,
    )
    number = choose(model, states, version, last, clock.time_ms())
    is_new = False
    if record_of(number) is None:
        is_new = versions.withdraw(store, clock, principal, model, number)
    record = record_of(number)
    if record is None:
        resource = f"models/{model}/versions/{number}"
        raise Corrupt(f"the withdrawal of {resource} vanished", resource=resource)
    return Rollback(number, record, is_new)


def choose(
    model: str,
    states: Sequence[VersionState],
    asked: int,
    last: record_pb2.AliasRecord | None,
    now_ms: int,
) -> int:
    """The version to withdraw, or one that is withdrawn already and is meant. Pure.

    `last` is the latest withdrawal of a version above the one that is served by default.
    """
    current = current_version(states)
    if asked:
        state = next((state for state in states if state.number == asked), None)
        if state is None:
            resource = f"models/{model}/versions/{asked}"
            raise NotFound(f"{resource} does not exist", resource=resource)
        if state.withdrawn:
            return asked
    elif last is not None and now_ms - last.create_time.ToMilliseconds() < RECENT_MS:
        return last.version
    if current is None:
        raise _wrong(model, "no version of it is served by default: all are withdrawn", current)
    if asked not in (0, current):
        what = (
            f"version {current} is served by default, not {asked}: roll back {current}, or take "
            f"{asked} out with `twofold models rm {model}@{asked}`"
        )
        raise _wrong(model, what, current)
    if not any(state.number < current and not state.withdrawn for state in states):
        what = (
            f"no version before {current} can serve in its place; publish one, or leave the model "
            f"without a default version: `twofold models rm {model}@{current}`"
        )
        raise _wrong(model, what, current)
    return current


def _above(states: Sequence[VersionState]) -> list[int]:
    """The versions that would be served by default, were they not withdrawn."""
    current = current_version(states) or 0
    return [state.number for state in states if state.number > current]


def _wrong(model: str, what: str, current: int | None) -> WrongState:
    text = f"models/{model} is not rolled back: {what}"
    return WrongState(text, resource=f"models/{model}", state=f"current version {current or 0}")

"""Why a version does not serve here, and what a caller who asks for it is told."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Self

from inferer.policies import VersionPolicy
from inferer.reference import Reference
from inferer.versions import DEFAULT, Stored
from twofold.errors import Corrupt, LimitExceeded, NotFound, TwofoldError

#: Names listed in "does not exist" messages.
_LISTED = 20
_BUDGET = "TWOFOLD_MEMORY_BUDGET_BYTES"


class Refused(Exception):
    """A version that must not serve; its text tells why and names no path."""

    def __init__(self, reason: str, manifest_sha256: str) -> None:
        super().__init__(reason)
        self.reason = reason
        #: What was refused: another manifest under the same number may be tried again.
        self.manifest_sha256 = manifest_sha256

    def alone(self) -> Self:
        """The same without a traceback, which would hold the files and the network."""
        return type(self)(self.reason, self.manifest_sha256)

    def error(self, resource: str) -> TwofoldError:
        """What whoever asks for it is told."""
        return Corrupt(f"{resource} was refused: it is damaged", resource=resource)


class TooLarge(Refused):
    """A version that takes more memory than all versions together may."""

    @classmethod
    def of(cls, size_bytes: int, budget_bytes: int, manifest_sha256: str) -> "TooLarge":
        """One that would take so much."""
        reason = f"it takes {size_bytes} bytes of memory, and {_BUDGET} is {budget_bytes}; raise it"
        return cls(reason, manifest_sha256)

    def error(self, resource: str) -> TwofoldError:
        """See Refused."""
        return LimitExceeded(f"{resource} is too large: {self.reason}", resource=resource)


def unknown_model(name: str, names: Iterable[str]) -> NotFound:
    """There is no such model; says which there are."""
    every = sorted(names)
    listed = ", ".join(every[:_LISTED]) + (", ..." if len(every) > _LISTED else "")
    exist = f"there are: {listed}" if listed else "there are none yet"
    text = f"model {name} does not exist; {exist}"
    return NotFound(text, resource=f"models/{name}", available=listed)


def check_will_come(
    resource: str,
    reference: Reference,
    stored: Stored,
    policy: VersionPolicy,
    bad: Mapping[int, Refused],
    full: AbstractSet[int],
) -> None:
    """Raises where waiting for a version is useless; `full`: those that found no room just now."""
    candidates = _candidates(reference, stored, policy)
    if not candidates:
        raise _absent(resource, stored, policy if reference == Reference() else None)
    good = candidates - bad.keys()
    if not good:
        raise bad[max(candidates)].error(resource)
    if max(good) in full:
        text = (
            f"{resource} finds no room: what is loaded is in use; come back later, or raise "
            f"{_BUDGET}"
        )
        raise LimitExceeded(text, resource=resource, limit="memory_budget_bytes")


def _candidates(reference: Reference, stored: Stored, policy: VersionPolicy) -> AbstractSet[int]:
    """The versions that may answer; the highest that is not refused does."""
    if reference.number is not None:
        return stored.numbers & {reference.number}
    if reference.channel != DEFAULT:
        return stored.numbers & {stored.aliases.get(reference.channel, 0)}
    return policy.eligible({found.number for found in stored.versions if not found.withdrawn})


def _absent(resource: str, stored: Stored, policy: VersionPolicy | None) -> NotFound:
    listed = ", ".join(map(str, sorted(stored.numbers)[-_LISTED:])) or "none"
    aliases = ", ".join(sorted(stored.aliases)[:_LISTED]) or "none"
    text = f"{resource} does not exist; versions: {listed}; aliases: {aliases}"
    if policy is not None and policy.only is not None:
        only = ", ".join(map(str, sorted(policy.only)[:_LISTED]))
        text += f"; its version_policy lets none but {only} serve by default"
    return NotFound(text, resource=resource, available=listed)

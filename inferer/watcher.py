"""Notices what changed in the store: by Redis events where there is a Redis, and by looking.

An event only says "look": what is true stands in the store. Looks are one at a time, each on a
thread, so that a slow store stalls no answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from inferer.models import Models
from inferer.versions import Stored
from twofold import keys, names
from twofold.errors import InvalidField, TwofoldError, Unavailable
from twofold.manifest import LIMIT_BYTES, sha256_hex
from twofold.seams import Clock
from twofold.store import Store
from twofold.versions import read_aliases, visible_versions

#: Folders that one look reads at most, models already known first: junk must not stop the others.
MAX_MODELS = 10_000
#: While events arrive, looking is only the net below them: this many times less often.
_CALM = 5
#: An unknown name is looked up at most once in this time ...
_MISS_S = 1.0
#: ... and all unknown names together at most once in this one: 20 in a second.
_MISS_GAP_S = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the store found."""

    models: Mapping[str, Stored]
    #: Refused versions that have another manifest now.
    repaired: frozenset[tuple[str, int]]
    #: Models that could not be read, and why.
    unreadable: Mapping[str, str]


class StoreReader:
    """Reads what versions and aliases a tenant's models have. Every call blocks."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    def look(self, known: set[str], refused: Mapping[tuple[str, int], str]) -> Look:
        """Everything at once; raises StoreError where nothing can be read."""
        found: dict[str, Stored] = {}
        unreadable: dict[str, str] = {}
        for name in self._names(known):
            try:
                stored = self.model(name)
            except Unavailable:
                raise
            except TwofoldError as error:
                unreadable[name] = error.message
                continue
            if stored.versions:
                found[name] = stored
        repaired = {key for key, digest in refused.items() if self._is_repaired(*key, digest)}
        return Look(found, frozenset(repaired), unreadable)

    def model(self, name: str) -> Stored:
        """One model's versions and aliases."""
        versions = tuple(visible_versions(self._store, self._tenant, name))
        aliases = read_aliases(self._store, self._tenant, name) if versions else {}
        return Stored(versions, aliases)

    def _names(self, known: set[str]) -> list[str]:
        present = self._store.names(keys.models(self._tenant))
        first = [name for name in present if name in known]
        others = [name for name in present if name not in known and _is_name(name)]
        return [*first, *others][: max(MAX_MODELS, len(first))]

    def _is_repaired(self, name: str, number: int, digest: str) -> bool:
        key = keys.version_manifest(self._tenant, name, number)
        data = self._store.read(key, LIMIT_BYTES)
        return data is not None and sha256_hex(data) != digest


def _is_name(name: str) -> bool:
    try:
        names.check_name("model", name)
    except InvalidField:
        return False
    return True


class Misses:
    """Which unknown names are worth a look: a bounded memory of those that were not. Pure."""

    def __init__(self) -> None:
        self._looked: dict[str, float] = {}
        self._next_s = float("-inf")

    def may_look(self, name: str, now_s: float) -> bool:
        """Whether to look; True counts as having looked."""
        if now_s < self._next_s:
            return False
        # At most one entry per gap: this never holds more than _MISS_S / _MISS_GAP_S names.
        self._looked = {seen: at_s for seen, at_s in self._looked.items() if now_s < at_s + _MISS_S}
        if name in self._looked:
            return False
        self._looked[name] = now_s
        self._next_s = now_s + _MISS_GAP_S
        return True


class Watcher:
    """Keeps `models` told of what the store holds."""

    def __init__(
        self,
        reader: StoreReader,
        models: Models,
        clock: Clock,
        interval_s: float,
        events: Callable[[], AsyncIterator[None]] | None = None,
    ) -> None:
        self._reader = reader
        self._models = models
        self._clock = clock
        self._interval_s = interval_s
        self._events = events
        self._misses = Misses()
        # One look at a time: an older one must not be taken in after a newer one.
        self._looking = asyncio.Lock()
        self._wake = asyncio.Event()
        self._is_following = False
        self._known: set[str] = set()
        # What was logged, so that an outage is one line and not one per look.
        self._complaints: dict[str, str] = {}

    async def run(self) -> None:
        """Looks and listens until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever())
            if self._events is not None:
                group.create_task(self._follow_forever(self._events))

    async def _look_forever(self) -> None:
        while True:
            self._wake.clear()
            await self.look()
            pause_s = self._interval_s * (_CALM if self._is_following else 1)
            try:
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except TimeoutError:
                continue

    async def _follow_forever(self, events: Callable[[], AsyncIterator[None]]) -> None:
        while True:
            try:
                async for _ in events():
                    self._is_following = True
                    self._complaints.pop("events", None)
                    self._wake.set()
            except TwofoldError as error:
                self._complain("events", error.message)
            self._is_following = False
            self._wake.set()
            await self._clock.sleep(self._interval_s)

    async def look(self) -> None:
        """One look at everything; an unreadable store leaves everything as it is."""
        async with self._looking:
            try:
                found = await asyncio.to_thread(
                    self._reader.look, self._known, self._models.refused()
                )
            except TwofoldError as error:
                self._complain("store", error.message)
                return
            self._take_in(found)

    async def missed(self, name: str) -> bool:
        """Looks for a model (or a version or alias of it) that is unknown, if that is worth it.

        Returns whether the model is there, so that asking again makes sense.
        """
        if not self._misses.may_look(name, self._clock.monotonic_s()):
            return False
        async with self._looking:
            try:
                stored = await asyncio.to_thread(self._reader.model, name)
            except TwofoldError as error:
                self._complain(f"model {name}", error.message)
                return False
            if stored.versions:
                self._known.add(name)
                self._models.update({name: stored})
        return bool(stored.versions)

    def _take_in(self, found: Look) -> None:
        self._complaints.pop("store", None)
        for name, reason in found.unreadable.items():
            self._complain(f"model {name}", reason)
        for name in found.models:
            self._complaints.pop(f"model {name}", None)
        self._known.update(found.models)
        self._models.update(found.models)
        for name, number in found.repaired:
            self._models.forgive(name, number)

    def _complain(self, about: str, reason: str) -> None:
        if self._complaints.get(about) != reason:
            self._complaints[about] = reason
            extra = {"about": about, "reason": reason}
            _log.warning("not readable; serving goes on with what is loaded", extra=extra)

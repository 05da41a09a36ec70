"""The models of one tenant: what is loaded, what serves, and the one task that changes it.

State belongs to the event loop's thread. Requests only read it and leave wishes (a version asked
for by number); `update` says what the store holds; `run` loads, one version at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace

from inferer.holdings import Hold, Model, Served, Status
from inferer.memory import Memory, Resident, make_room, stay_s
from inferer.policies import Policies
from inferer.reference import Reference
from inferer.refusals import Refused, TooLarge, check_will_come, unknown_model
from inferer.statistics import LoadStatistics
from inferer.versions import Need, Plan, Retention, Stored, plan
from twofold.errors import DeadlineExceeded, TwofoldError, Unavailable
from twofold.seams import Clock

#: The longest a request waits for a version that is being loaded.
LOAD_WAIT_S = 10.0
#: The first pause after the store failed, and the longest; it doubles in between.
_HOLD_S = (0.5, 60.0)
#: The pause after a version found no room; looking for it costs little.
_FULL_S = 1.0
#: A version that is loaded again so soon after it was unloaded for another's sake should have
#: stayed; who runs the inferer is told no more often than this.
_THRASH_S = 60.0

_log = logging.getLogger(__name__)


class NotLoaded(Exception):
    """A version that may come, or is unknown: `find` knows."""


class Models:
    """The models of one tenant."""

    def __init__(
        self,
        load: Callable[[str, int], Awaitable[Served]],
        clock: Clock,
        retention: Retention | None = None,
        policies: Policies | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.load_statistics = LoadStatistics()
        #: Set once everything that the first `update` told of was loaded or refused, but spares.
        self.settled = asyncio.Event()
        self._load = load
        self._clock = clock
        self._retention = retention or Retention()
        self._policies = policies
        self._memory = memory
        self._warned_s = float("-inf")
        self._models: dict[str, Model] = {}
        # Names with a version to load and what for, in order.
        self._to_load: dict[str, tuple[int, Need]] = {}
        # What the loading task is at.
        self._loading: tuple[str, int] | None = None
        self._wake = asyncio.Event()
        # Replaced by a new one at every change; requests that wait hold the old one.
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        loaded = sum(len(model.loaded) for model in self._models.values())
        return f"<Models {len(self._models)} models, {loaded} loaded, {len(self._to_load)} to load>"

    def __iter__(self) -> Iterator[Served]:
        """Every loaded version; safe while another thread reads the metrics."""
        for model in list(self._models.values()):
            yield from list(model.loaded.values())

    @property
    def budget_bytes(self) -> int:
        """What all of them together may take; 0: as much as there is."""
        return 0 if self._memory is None else self._memory.budget_bytes

    @property
    def used_bytes(self) -> int:
        """What all of them together take."""
        return sum(served.size_bytes for served in self)

    def versions(self, name: str) -> list[int]:
        """The loaded versions of a model, ascending."""
        model = self._models.get(name)
        return sorted(model.loaded) if model else []

    def refused(self) -> dict[tuple[str, int], str]:
        """The manifest digest of every version that was refused."""
        return {
            (name, number): refused.manifest_sha256
            for name, model in self._models.items()
            for number, refused in model.bad.items()
        }

    def is_ready(self, name: str, reference: Reference) -> bool:
        """Whether a version is loaded; asks for nothing."""
        model = self._models.get(name)
        return model is not None and model.ready(reference) is not None

    def ready(self, name: str, reference: Reference) -> Served:
        """The version to run, where it is loaded; raises NotLoaded where `find` must look."""
        model = self._models.get(name)
        found = None if model is None else model.ready(reference)
        if model is None or found is None:
            raise NotLoaded
        if reference.number is not None:
            model.pinned[reference.number] = self._clock.monotonic_s()
        return found

    async def find(self, name: str, reference: Reference, deadline_s: float) -> Served:
        """The version to run; waits for one that is being loaded.

        Raises:
            NotFound: there is no such model, version or alias.
            Corrupt: it was refused, and nothing can stand in for it.
            Unavailable: it is still being loaded.
            DeadlineExceeded: likewise, and the caller's time is up.
        """
        now_s = self._clock.monotonic_s()
        until_s = min(deadline_s, now_s + LOAD_WAIT_S)
        while (found := self._wish(name, reference)) is None:
            try:
                left_s = until_s - self._clock.monotonic_s()
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError as error:
                text = f"{reference.of(name)} is being loaded"
                if until_s == deadline_s:
                    raise DeadlineExceeded(text + "; the deadline passed") from error
                raise Unavailable(text + "; try again", resource=f"models/{name}") from error
        return found

    def _wish(self, name: str, reference: Reference) -> Served | None:
        """The version, or None if it will come; raises where it will not."""
        model = self._models.get(name)
        if model is None:
            stored = (name for name, model in self._models.items() if model.stored.versions)
            raise unknown_model(name, stored)
        number, now_s = reference.number, self._clock.monotonic_s()
        if number is not None and (number in model.loaded or number in model.stored.numbers):
            model.pinned[number] = now_s
        if (found := model.ready(reference)) is not None:
            return found
        full = {each for each, hold in model.held.items() if hold.is_full and now_s < hold.until_s}
        policy = model.retention.policy
        check_will_come(reference.of(name), reference, model.stored, policy, model.bad, full)
        self._settle(name)
        return None

    def update(self, stored: Mapping[str, Stored]) -> None:
        """Takes in what the store holds now. A model that is missing there stays as it is."""
        changed = {name for name, model in self._models.items() if model.is_ageing}
        for name, found in stored.items():
            model = self._models.get(name) or self._new(name)
            if found != model.stored:
                model.stored = found
                changed.add(name)
        for name in changed:
            self._settle(name)
        self._wake.set()  # also for an empty store: it is settled at once
        self._announce()

    def _new(self, name: str) -> Model:
        retention = self._retention
        if self._policies is not None:
            retention = replace(retention, policy=self._policies.of(name))
        model = self._models[name] = Model(retention)
        return model

    def forgive(self, name: str, number: int) -> None:
        """Lets a refused version be tried again: another manifest stands there now."""
        self._models[name].bad.pop(number, None)
        self._models[name].sizes.pop(number, None)
        self._settle(name)

    def _settle(self, name: str) -> None:
        """Flips and unloads what can be at once; queues what is to be loaded."""
        model, now_s = self._models[name], self._clock.monotonic_s()
        step = plan(model.stored, model.serving(now_s), now_s, model.retention)
        self._apply(name, model, step, now_s)
        model.is_short = self._is_short(model, step)
        if step.load is None or model.is_short:
            self._to_load.pop(name, None)
        else:
            self._to_load[name] = (step.load, step.need)
        self._wake.set()

    def _is_short(self, model: Model, step: Plan) -> bool:
        """Whether what is to be loaded is a spare that is known to find no room."""
        if self._memory is None or step.load is None or step.need is not Need.SPARE:
            return False
        size_bytes = model.sizes.get(step.load)
        left_bytes = self._memory.budget_bytes - self.used_bytes
        return size_bytes is not None and size_bytes > left_bytes

    def _apply(self, name: str, model: Model, step: Plan, now_s: float) -> None:
        for channel, number in step.channels.items():
            previous = model.channels.get(channel)
            if previous != number:
                extra = {"model": name, "version": number, "previous": previous}
                _log.info("version serves", extra=extra | {"channel": channel or "default"})
        model.channels = dict(step.channels)
        model.replaced.update(dict.fromkeys(step.replaced, now_s))
        for number in step.unload:
            del model.loaded[number]  # freed with the last request that runs on it
            model.replaced.pop(number, None)
            model.pinned.pop(number, None)
            _log.info("version unloaded", extra={"model": name, "version": number})
        model.forget()

    async def run(self) -> None:
        """Loads what is to be loaded, one version after the other, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._to_load:
                # Of equally urgent ones the first that came.
                name = min(self._to_load, key=lambda name: self._to_load[name][1].turn)
                number, need = self._to_load.pop(name)  # what else it needs goes to the end
                if need is Need.SPARE:  # all that serves is there
                    self.settled.set()
                self._loading = (name, number)
                await self._load_one(name, number, need)
                self._loading = None
                self._settle(name)
                self._announce()
            self.settled.set()

    async def _load_one(self, name: str, number: int, need: Need) -> None:
        model, start_s = self._models[name], self._clock.monotonic_s()
        extra: dict[str, object] = {"model": name, "version": number}
        is_loaded = False
        try:
            if not await self._has_room(name, number, need):
                return
            served = await self._load(name, number)
            self._take_in(model, served, self._clock.monotonic_s() - start_s)
            is_loaded = True
        except Refused as error:
            model.bad[number] = error.alone()
            self.load_statistics.refusals += 1
            _log.error("version refused", extra=extra | {"reason": error.reason}, exc_info=error)
        except TwofoldError as error:
            self._hold(model, number)
            _log.warning("version not readable now", extra=extra | {"reason": error.message})
        duration_s = self._clock.monotonic_s() - start_s
        self.load_statistics.count(duration_s, is_success=is_loaded)
        if is_loaded:
            extra["duration_ms"] = round(duration_s * 1e3, 1)
            _log.info("version loaded", extra=extra)

    def _take_in(self, model: Model, served: Served, load_s: float) -> None:
        number, now_s = served.number, self._clock.monotonic_s()
        model.loaded[number] = served
        model.came[number] = (now_s, stay_s(load_s))
        model.held.pop(number, None)
        evicted_s = model.evicted.pop(number, None)
        if evicted_s is None or now_s - evicted_s >= _THRASH_S:
            return
        self.load_statistics.thrashes += 1
        if now_s - self._warned_s >= _THRASH_S:
            self._warned_s = now_s
            extra = {"model": served.model, "version": number}
            _log.warning("versions push each other out; the memory budget is small", extra=extra)

    def _hold(self, model: Model, number: int) -> None:
        first_s, longest_s = _HOLD_S
        hold = model.held.get(number)
        failures = (0 if hold is None else hold.failures) + 1
        pause_s = min(first_s * 2 ** (failures - 1), longest_s)
        model.held[number] = Hold(self._clock.monotonic_s() + pause_s, failures)

    async def _has_room(self, name: str, number: int, need: Need) -> bool:
        """Whether a version may be loaded now; unloads others for it, or puts it off.

        Raises what reading its size does, and TooLarge.
        """
        if self._memory is None:
            return True
        model, budget_bytes = self._models[name], self._memory.budget_bytes
        if number not in model.sizes:
            found = await self._memory.measure(name, number)
            if found.size_bytes > budget_bytes:
                raise TooLarge.of(found.size_bytes, budget_bytes, found.manifest_sha256)
            model.sizes[number] = found.size_bytes
        now_s = self._clock.monotonic_s()
        room = make_room(self._residents(now_s), model.sizes[number], need, budget_bytes, now_s)
        if room is not None and room.wait_until_s is None:
            for resident in room.unload:
                self._evict(resident, now_s)
            return True
        if room is not None and room.wait_until_s is not None:
            self._put_off(name, number, Hold(room.wait_until_s), now_s)
        elif need is not Need.SPARE:
            self._refuse_room(name, number, now_s)
        return False

    def _residents(self, now_s: float) -> list[Resident]:
        return [
            resident
            for name, model in self._models.items()
            for resident in model.residents(name, now_s)
        ]

    def _evict(self, resident: Resident, now_s: float) -> None:
        model, number = self._models[resident.model], resident.number
        del model.loaded[number]  # freed with the last request that runs on it
        model.replaced.pop(number, None)
        model.pinned.pop(number, None)  # or it would be loaded again, unasked
        model.evicted[number] = now_s
        self.load_statistics.evictions += 1
        extra = {"model": resident.model, "version": number}
        _log.info("version unloaded to make room", extra=extra)

    def _put_off(self, name: str, number: int, hold: Hold, now_s: float) -> None:
        """Tries a version again when what is in its way may go."""
        model = self._models[name]
        model.held[number] = hold

        def release() -> None:
            if model.held.get(number) is hold:
                del model.held[number]
                self._settle(name)

        asyncio.get_running_loop().call_later(hold.until_s - now_s, release)

    def _refuse_room(self, name: str, number: int, now_s: float) -> None:
        """There is none to be had: not until something else is no more needed."""
        model, hold = self._models[name], self._models[name].held.get(number)
        self.load_statistics.full += 1
        if hold is None or not hold.is_full:  # one line, however often it is tried
            extra = {"model": name, "version": number, "size_bytes": model.sizes[number]}
            _log.error("version finds no room in the memory budget", extra=extra)
        model.held[number] = Hold(now_s + _FULL_S, is_full=True)

    def _announce(self) -> None:
        """Wakes the requests that wait for a version."""
        self._changed.set()
        self._changed = asyncio.Event()

    def index(self) -> list[Status]:
        """Every version that the store shows, by model and number."""
        return [
            self._status(name, model, number)
            for name, model in sorted(self._models.items())
            for number in sorted(model.stored.numbers | model.loaded.keys())
        ]

    def _status(self, name: str, model: Model, number: int) -> Status:
        if number in model.loaded:
            return Status(name, number, "READY")
        if (name, number) == self._loading or self._to_load.get(name, (0,))[0] == number:
            return Status(name, number, "LOADING")
        if number in model.bad:
            return Status(name, number, "UNAVAILABLE", model.bad[number].reason)
        if (hold := model.held.get(number)) is not None and hold.failures:
            return Status(name, number, "UNAVAILABLE", "the store cannot be read now")
        if hold is not None:
            return Status(name, number, "UNAVAILABLE", "there is no room in the memory budget now")
        return Status(name, number, "UNAVAILABLE", "not loaded; asking for it by number loads it")

"""The models of one tenant: what is loaded, what serves, and the one task that changes it.

State belongs to the event loop's thread. Requests only read it and leave wishes (a version asked
for by number); `update` says what the store holds; `run` loads, one version at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from inferer import told
from inferer.convert import Inputs, Signature, SoleInput, decode_inputs
from inferer.lane import Lane
from inferer.reference import Reference
from inferer.statistics import LoadStatistics
from inferer.versions import DEFAULT, Plan, Retention, Serving, Stored, plan
from inferer.wire import AnswerEncoder
from twofold.errors import Corrupt, DeadlineExceeded, NotFound, TwofoldError, Unavailable
from twofold.oip import inference_pb2
from twofold.seams import Clock
from twofold.v1 import model_pb2

#: The longest a request waits for a version that is being loaded.
LOAD_WAIT_S = 10.0
#: The first pause after the store failed, and the longest; it doubles in between.
_HOLD_S = (0.5, 60.0)
#: Names listed in "does not exist" messages.
_LISTED = 20

_log = logging.getLogger(__name__)


class NotLoaded(Exception):
    """A version that may come, or is unknown: `find` knows."""


class Refused(Exception):
    """A version that must not serve; its text tells why and names no path."""

    def __init__(self, reason: str, manifest_sha256: str) -> None:
        super().__init__(reason)
        self.reason = reason
        #: What was refused: another manifest under the same number may be tried again.
        self.manifest_sha256 = manifest_sha256


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Served:
    """A loaded version. Freed when no channel, pin or running request holds it."""

    manifest: model_pb2.Manifest
    manifest_sha256: str
    signature: Signature
    lane: Lane
    #: Whether its answers have parameters; see told.
    tells: bool = True
    encoder: AnswerEncoder = field(init=False, repr=False)
    #: Decodes most requests; None where the signature has another form.
    sole: SoleInput | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Makes what every answer has in common."""
        constants = told.constants(self.manifest, self.manifest_sha256) if self.tells else {}
        encoder = AnswerEncoder(self.model, self.number, constants, self.signature)
        object.__setattr__(self, "encoder", encoder)
        spec = self.signature.sole
        sole = None if spec is None else SoleInput(spec, self.signature.max_batch_size)
        object.__setattr__(self, "sole", sole)

    def decode(self, request: inference_pb2.ModelInferRequest) -> Inputs:
        """The request's tensors; see convert.decode_inputs."""
        found = None if self.sole is None else self.sole.decode(request)
        return decode_inputs(request, self.signature) if found is None else found

    @property
    def model(self) -> str:
        """The model's name."""
        return self.manifest.model

    @property
    def number(self) -> int:
        """The version."""
        return self.manifest.version


@dataclass(frozen=True, slots=True)
class Status:
    """A version of the repository's index."""

    model: str
    number: int
    state: str
    reason: str = ""


@dataclass(slots=True)
class _Model:
    """One model. Times are those of Clock.monotonic_s."""

    stored: Stored = field(default_factory=Stored)
    loaded: dict[int, Served] = field(default_factory=dict[int, Served])
    #: Why each refused version was refused.
    bad: dict[int, Refused] = field(default_factory=dict[int, Refused])
    #: Until when a version is not tried, and how often it failed.
    held: dict[int, tuple[float, int]] = field(default_factory=dict[int, tuple[float, int]])
    channels: dict[str, int] = field(default_factory=dict[str, int])
    pinned: dict[int, float] = field(default_factory=dict[int, float])
    replaced: dict[int, float] = field(default_factory=dict[int, float])

    def serving(self, now_s: float) -> Serving:
        """The state as the policy takes it."""
        return Serving(
            loaded=self.loaded.keys(),
            bad=self.bad.keys(),
            held={number for number, (until_s, _) in self.held.items() if now_s < until_s},
            channels=self.channels,
            pinned=self.pinned,
            replaced=self.replaced,
        )

    @property
    def is_ageing(self) -> bool:
        """Whether time alone may change the plan."""
        return bool(self.held or self.replaced)

    def ready(self, reference: Reference) -> Served | None:
        """The loaded version that a reference means now."""
        if reference.number is not None:
            return self.loaded.get(reference.number)
        number = self.channels.get(reference.channel)
        return None if number is None else self.loaded[number]


class Models:
    """The models of one tenant."""

    def __init__(
        self,
        load: Callable[[str, int], Awaitable[Served]],
        clock: Clock,
        retention: Retention | None = None,
    ) -> None:
        self.load_statistics = LoadStatistics()
        #: Set once everything that the first `update` told of was loaded or refused.
        self.settled = asyncio.Event()
        self._load = load
        self._clock = clock
        self._retention = retention or Retention()
        self._models: dict[str, _Model] = {}
        # Names with a version to load, in order.
        self._to_load: dict[str, int] = {}
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

    def defaults(self) -> dict[str, int]:
        """By model the version that serves whoever names none; safe for another thread, too."""
        models = list(self._models.items())
        return {
            name: model.channels[DEFAULT] for name, model in models if DEFAULT in model.channels
        }

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
            raise self._unknown(name)
        number = reference.number
        if number is not None and (number in model.loaded or number in model.stored.numbers):
            model.pinned[number] = self._clock.monotonic_s()
        if (found := model.ready(reference)) is not None:
            return found
        _check_will_come(name, model, reference)
        self._settle(name)
        return None

    def update(self, stored: Mapping[str, Stored]) -> None:
        """Takes in what the store holds now. A model that is missing there stays as it is."""
        changed = {name for name, model in self._models.items() if model.is_ageing}
        for name, found in stored.items():
            model = self._models.setdefault(name, _Model())
            if found != model.stored:
                model.stored = found
                changed.add(name)
        for name in changed:
            self._settle(name)
        self._wake.set()  # also for an empty store: it is settled at once
        self._announce()

    def forgive(self, name: str, number: int) -> None:
        """Lets a refused version be tried again: another manifest stands there now."""
        self._models[name].bad.pop(number, None)
        self._settle(name)

    def _settle(self, name: str) -> None:
        """Flips and unloads what can be at once; queues what is to be loaded."""
        model, now_s = self._models[name], self._clock.monotonic_s()
        step = plan(model.stored, model.serving(now_s), now_s, self._retention)
        self._apply(name, model, step, now_s)
        if step.load is None:
            self._to_load.pop(name, None)
        else:
            self._to_load[name] = step.load
        self._wake.set()

    def _apply(self, name: str, model: _Model, step: Plan, now_s: float) -> None:
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
        # Wishes for versions that were never loaded must not pile up.
        known = model.stored.numbers | model.loaded.keys()
        model.pinned = {number: at_s for number, at_s in model.pinned.items() if number in known}

    async def run(self) -> None:
        """Loads what is to be loaded, one version after the other, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._to_load:
                name, number = next(iter(self._to_load.items()))
                del self._to_load[name]  # what is left of this model goes to the end
                self._loading = (name, number)
                await self._load_one(name, number)
                self._loading = None
                self._settle(name)
                self._announce()
            self.settled.set()

    async def _load_one(self, name: str, number: int) -> None:
        model, start_s = self._models[name], self._clock.monotonic_s()
        extra: dict[str, object] = {"model": name, "version": number}
        is_loaded = False
        try:
            model.loaded[number] = await self._load(name, number)
            model.held.pop(number, None)
            is_loaded = True
        except Refused as error:
            # A new one: the traceback of the old one holds the files and the network.
            model.bad[number] = Refused(error.reason, error.manifest_sha256)
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

    def _hold(self, model: _Model, number: int) -> None:
        first_s, longest_s = _HOLD_S
        failures = model.held.get(number, (0.0, 0))[1] + 1
        pause_s = min(first_s * 2 ** (failures - 1), longest_s)
        model.held[number] = (self._clock.monotonic_s() + pause_s, failures)

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

    def _status(self, name: str, model: _Model, number: int) -> Status:
        if number in model.loaded:
            return Status(name, number, "READY")
        if (name, number) == self._loading or self._to_load.get(name) == number:
            return Status(name, number, "LOADING")
        if number in model.bad:
            return Status(name, number, "UNAVAILABLE", model.bad[number].reason)
        if number in model.held:
            return Status(name, number, "UNAVAILABLE", "the store cannot be read now")
        return Status(name, number, "UNAVAILABLE", "not loaded; asking for it by number loads it")

    def _unknown(self, name: str) -> NotFound:
        names = sorted(name for name, model in self._models.items() if model.stored.versions)
        listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
        exist = f"there are: {listed}" if listed else "there are none yet"
        text = f"model {name} does not exist; {exist}"
        return NotFound(text, resource=f"models/{name}", available=listed)


def _check_will_come(name: str, model: _Model, reference: Reference) -> None:
    """Raises where waiting for a version is useless."""
    stored = model.stored
    resource = reference.of(name)
    number = reference.number
    if number is None and reference.channel != DEFAULT:
        number = stored.aliases.get(reference.channel, 0)
    if number is None:
        candidates = {found.number for found in stored.versions if not found.withdrawn}
    else:
        candidates = stored.numbers & {number}
    if not candidates:
        listed = ", ".join(map(str, sorted(stored.numbers)[-_LISTED:])) or "none"
        aliases = ", ".join(sorted(stored.aliases)[:_LISTED]) or "none"
        text = f"{resource} does not exist; versions: {listed}; aliases: {aliases}"
        raise NotFound(text, resource=resource, available=listed)
    if not candidates - model.bad.keys():
        raise Corrupt(f"{resource} was refused: it is damaged", resource=resource)

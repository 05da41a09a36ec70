"""What an inferer has of one model: versions that are loaded, refused, or not tried now.

State of the event loop's thread; `inferer.models` alone changes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from inferer import told
from inferer.convert import Signature, decode_inputs
from inferer.lane import Lane
from inferer.memory import Resident, size_of
from inferer.reference import Reference
from inferer.refusals import Refused
from inferer.sole import SoleInput, Tensors
from inferer.versions import Retention, Serving, Stored, needs
from inferer.wire import AnswerEncoder
from twofold.oip import inference_pb2
from twofold.v1 import model_pb2


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
    #: Takes most requests; None where the signature has another form.
    sole: SoleInput | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Makes what every answer has in common."""
        constants = told.constants(self.manifest, self.manifest_sha256) if self.tells else {}
        encoder = AnswerEncoder(self.model, self.number, constants, self.signature)
        object.__setattr__(self, "encoder", encoder)
        spec = self.signature.sole
        sole = None if spec is None else SoleInput(spec, self.signature.max_batch_size)
        object.__setattr__(self, "sole", sole)

    def decode(self, request: inference_pb2.ModelInferRequest) -> Tensors:
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

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return size_of(self.manifest)


@dataclass(frozen=True, slots=True)
class Status:
    """A version of the repository's index."""

    model: str
    number: int
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A version that is not tried now."""

    until_s: float
    #: How often it failed in a row.
    failures: int = 0
    #: Whether it found no room.
    is_full: bool = False


@dataclass(slots=True)
class Model:
    """One model. Times are those of Clock.monotonic_s."""

    retention: Retention
    stored: Stored = field(default_factory=Stored)
    loaded: dict[int, Served] = field(default_factory=dict[int, Served])
    #: Why each refused version was refused.
    bad: dict[int, Refused] = field(default_factory=dict[int, Refused])
    held: dict[int, Hold] = field(default_factory=dict[int, Hold])
    channels: dict[str, int] = field(default_factory=dict[str, int])
    pinned: dict[int, float] = field(default_factory=dict[int, float])
    replaced: dict[int, float] = field(default_factory=dict[int, float])
    #: When each loaded version came, and how long it stays at least.
    came: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    #: When a version last went for another's sake.
    evicted: dict[int, float] = field(default_factory=dict[int, float])
    #: What versions would take that are not loaded.
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    #: Whether a spare found no room.
    is_short: bool = False

    def serving(self, now_s: float) -> Serving:
        """The state as the policy takes it."""
        return Serving(
            loaded=self.loaded.keys(),
            bad=self.bad.keys(),
            held={number for number, hold in self.held.items() if now_s < hold.until_s},
            channels=self.channels,
            pinned=self.pinned,
            replaced=self.replaced,
        )

    @property
    def is_ageing(self) -> bool:
        """Whether time alone may change the plan."""
        return bool(self.held or self.replaced or self.pinned or self.is_short)

    def residents(self, name: str, now_s: float) -> Iterator[Resident]:
        """What is loaded, as `memory` takes it."""
        found = needs(self.stored, self.serving(now_s), self.retention.policy)
        for number, served in self.loaded.items():
            came_s, stay_s = self.came[number]
            used_s = max(came_s, self.pinned.get(number, 0.0), self.replaced.get(number, 0.0))
            yield Resident(name, number, served.size_bytes, found[number], used_s, came_s + stay_s)

    def forget(self) -> None:
        """Drops what is known of versions that are no more: that must not pile up."""
        known = self.stored.numbers | self.loaded.keys()
        for table in (self.pinned, self.held, self.evicted, self.sizes):
            for number in table.keys() - known:
                del table[number]
        for number in self.came.keys() - self.loaded.keys():
            del self.came[number]

    def ready(self, reference: Reference) -> Served | None:
        """The loaded version that a reference means now."""
        if reference.number is not None:
            return self.loaded.get(reference.number)
        number = self.channels.get(reference.channel)
        return None if number is None else self.loaded[number]

"""A store to be collected, with a queue and clocks that a test moves."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.twofold.samples import TENANT, export, sample_attempt, trained_manifest
from twofold import collector, housekeeping, keys, publish, versions
from twofold.errors import Unavailable
from twofold.housekeeping import Place
from twofold.internal.v1 import record_pb2
from twofold.jobs import Job, Reason, failed, outcome_of
from twofold.seams import SystemClock, World
from twofold.store import LocalStore

DAY_MS = 86_400_000
MODEL = "digits"
POLICY = collector.Policy(keep_versions=2)
REQUEST = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
JOBS = [f"01J0000000000000000000000{number}" for number in range(10)]


class ShiftedClock(SystemClock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def time_ms(self) -> int:
        return super().time_ms() + self.shift_ms


@dataclass
class FakeQueue:
    """Which attempt holds each live job, away where it is None; and the server's clock."""

    attempts: dict[str, str] | None = field(default_factory=dict[str, str])
    clock: ShiftedClock = field(default_factory=ShiftedClock)

    async def time_ms(self) -> int:
        if self.attempts is None:
            raise Unavailable("away")
        return self.clock.time_ms()

    async def read_many(self, tenant: str, job_ids: Sequence[str]) -> list[Job | None]:
        assert tenant == TENANT
        if self.attempts is None:
            raise Unavailable("away")
        return [
            Job(id=job, model=MODEL, attempt=self.attempts[job]) if job in self.attempts else None
            for job in job_ids
        ]


@dataclass
class House:
    """A store and what is needed to collect it."""

    store: LocalStore
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    queue: FakeQueue = field(default_factory=FakeQueue)

    def __post_init__(self) -> None:
        self.queue.clock = self.clock

    @property
    def place(self) -> Place:
        return Place(self.store, self.queue, World(clock=self.clock), TENANT)

    async def collect(self, policy: collector.Policy = POLICY) -> list[str]:
        return [removal.name for removal in await housekeeping.collect(self.place, policy)]

    def add_job(self, number: int) -> str:
        self.store.create(keys.job_spec(TENANT, JOBS[number]), b"spec")
        return JOBS[number]

    def publish(self, number: int) -> record_pb2.JobOutcome:
        attempt = sample_attempt(1, self.add_job(number))
        export(self.store, attempt)
        return publish.publish(
            self.store, self.clock, attempt, trained_manifest(MODEL), may_decide=lambda: True
        )

    def fail(self, number: int) -> None:
        verdict = failed(Reason.JOB_REASON_DATA, "no")
        outcome = outcome_of(verdict)
        outcome.end_time.FromMilliseconds(self.clock.time_ms())
        publish.decide_outcome(self.store, TENANT, JOBS[number], outcome)

    def visible(self) -> list[int]:
        return [one.number for one in versions.visible_versions(self.store, TENANT, MODEL)]

    def bind(self, number: int, request: str = REQUEST) -> None:
        record = record_pb2.RequestRecord(format_version=1, job=f"jobs/{JOBS[number]}")
        record.create_time.FromMilliseconds(self.clock.time_ms())
        self.store.create(keys.request(TENANT, request), record.SerializeToString())

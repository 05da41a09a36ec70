"""Whatever happens to a job in whatever order, the promises hold."""

from hypothesis import given
from hypothesis import strategies as st

from tests.twofold.samples import JOB
from twofold.jobs import (
    TERMINAL,
    WAITING,
    Fenced,
    Job,
    Phase,
    Policy,
    Reason,
    State,
    Verdict,
    cancelled,
)
from twofold.transitions import (
    Beat,
    CancelAsked,
    Claimed,
    Created,
    Decided,
    Due,
    Event,
    Evicted,
    Failed,
    HandedBack,
    LeaseLost,
    Restored,
    Stopped,
    decide,
)

POLICY = Policy(lease_ms=1_000, retry_backoff_ms=100, max_backoff_ms=1_000)
NOW = 5_000
FRESH = Job(id=JOB, model="digits", max_retries=2, create_ms=NOW)
SUCCEEDED = Verdict(state=State.JOB_STATE_SUCCEEDED, version=3, end_ms=NOW)
#: Where each state may lead.
LEGAL = {
    State.JOB_STATE_PENDING: {State.JOB_STATE_PENDING, State.JOB_STATE_RUNNING, *TERMINAL},
    State.JOB_STATE_RUNNING: {
        State.JOB_STATE_PENDING,
        State.JOB_STATE_RUNNING,
        State.JOB_STATE_CANCELLING,
        *TERMINAL,
    },
    State.JOB_STATE_CANCELLING: {State.JOB_STATE_CANCELLING, *TERMINAL},
}


class World:
    """One job, one outcome file, a stream that numbers its entries, attempts that may be stale."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.outcome: Verdict | None = None
        self.cancel_asked_first = False
        self.now_ms = NOW
        self.claims = 0
        self.entries: set[str] = set()
        self.entry_count = 0
        self._store(job)

    def apply(self, event: Event) -> None:
        before = self.job
        try:
            changes = decide(before, event, self.now_ms, POLICY)
        except Fenced:
            return
        self.entries.discard(changes.drop)
        if changes.verdict is not None:
            if self.outcome is None:
                self.outcome = changes.verdict
            self.apply(Decided(self.outcome, changes.ended_attempt))
            return
        if changes.job is None:
            return
        assert changes.job.revision == before.revision + 1
        assert not before.is_terminal
        assert changes.job.state in LEGAL[before.state]
        self.claims += isinstance(event, Claimed)
        self._store(changes.job)

    def publish(self, attempt: str) -> None:
        """What an attempt does: the decision in the store, then in the queue."""
        if self.outcome is None and attempt == self.job.attempt:
            self.outcome = SUCCEEDED
        if self.outcome is not None:
            self.apply(Decided(self.outcome))

    def cancel(self) -> None:
        """What a user does: the decision in the store, then in the queue."""
        if self.outcome is None:
            self.outcome = cancelled()
            self.cancel_asked_first = True
        if self.outcome.state == State.JOB_STATE_CANCELLED:
            self.apply(CancelAsked())
        else:
            self.apply(Decided(self.outcome))

    def _store(self, job: Job) -> None:
        if self.job.entry != job.entry:
            self.entries.discard(self.job.entry)
        if job.phase == Phase.JOB_PHASE_QUEUED and not job.entry:
            self.entry_count += 1
            job = job._replace(entry=f"{self.entry_count}-0")
        if job.entry:
            self.entries.add(job.entry)
        self.job = job

    def check(self) -> None:
        job = self.job
        active = job.state in {State.JOB_STATE_RUNNING, State.JOB_STATE_CANCELLING}
        assert bool(job.attempt) == bool(job.owner) == active
        assert bool(job.entry) == (active or job.phase == Phase.JOB_PHASE_QUEUED)
        assert self.entries == ({job.entry} if job.entry else set())
        assert bool(job.due_ms) == (job.phase in WAITING)
        assert job.attempt_count == self.claims
        assert job.eviction_count + job.failure_count <= job.attempt_count
        assert job.eviction_count <= POLICY.max_evictions
        assert job.failure_count <= job.max_retries
        assert (job.phase == Phase.JOB_PHASE_UNSPECIFIED) == job.is_terminal
        if job.is_terminal:
            assert self.outcome is not None
            assert job.state == self.outcome.state
            assert (job.state == State.JOB_STATE_SUCCEEDED) == bool(job.version)
        if self.cancel_asked_first:
            assert job.state not in {State.JOB_STATE_SUCCEEDED, State.JOB_STATE_FAILED}


ATTEMPTS = ("", "A0", "A1", "A2", "A3")


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, str, int]:
    """(what, by which attempt or for which entry, milliseconds that pass before)."""
    kinds = ["claim", "claim", "beat", "fail", "user-fail", "evict", "back", "stop", "lost", "due"]
    kinds += ["cancel", "publish", "restore"]
    who = draw(st.sampled_from(["current", "current", "current", *ATTEMPTS]))
    return draw(st.sampled_from(kinds)), who, draw(st.sampled_from([0, 0, 50, 400, 1_500]))


def take(world: World, step: tuple[str, str, int], number: int) -> None:
    """One step of a history."""
    kind, who, passed_ms = step
    world.now_ms += passed_ms
    attempt = world.job.attempt if who == "current" else who
    entry = world.job.entry if who == "current" else "0-0"
    events: dict[str, Event] = {
        "claim": Claimed(entry, f"A{number % 4}", "w"),
        "beat": Beat(attempt, Phase.JOB_PHASE_TRAINING, b"p"),
        "fail": Failed(attempt, Reason.JOB_REASON_STORE, "disk", 0.5),
        "user-fail": Failed(attempt, Reason.JOB_REASON_DATA, "row 1"),
        "evict": Evicted(attempt, "signal 9"),
        "back": HandedBack(attempt),
        "stop": Stopped(attempt),
        "lost": LeaseLost(entry),
        "due": Due(),
        "restore": Restored(world.job.change),
    }
    if kind == "cancel":
        world.cancel()
    elif kind == "publish":
        world.publish(attempt)
    elif entry or kind not in {"claim", "lost"}:
        world.apply(events[kind])


@given(st.lists(steps(), max_size=40), st.booleans())
def test_every_history_keeps_the_promises(
    history: list[tuple[str, str, int]],
    delayed: bool,  # noqa: FBT001 - Hypothesis hands it over
) -> None:
    fresh = FRESH._replace(due_ms=NOW + 100 if delayed else 0)
    created = decide(None, Created(fresh), NOW, POLICY).job
    assert created is not None
    world = World(created)
    world.check()

    for number, step in enumerate(history):
        terminal = world.job if world.job.is_terminal else None
        take(world, step, number)
        world.check()
        assert terminal is None or world.job == terminal

"""Whether a history and what is left at its end keep the promises; pure, used by all tiers.

J1 every acknowledged job ends in exactly one state, and stays in it. J2 one success is one version;
numbers rise and stay. J3 every version that a reader sees passes its digests. J4 an answer is what
its version computes, and served versions never go back. J7 CANCELLED never turns into SUCCEEDED.
J8 one request is one job. J9 nothing is left behind. ONCE: what no fault touched is trained once.
JITTER: repeats are spread.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.calls import Call, calls_of
from tests.chaos.final import Final, JobFinal
from tests.chaos.history import Event
from tests.chaos.runs import Violation

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
#: Codes after which nothing of a creation may be left.
REFUSED = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"})
#: After these an attempt's job may rightly be trained again.
_GIVEN_UP = frozenset({"failed", "handed_back"})
#: Faults that must not make anyone train twice: only the queue server's clock may matter.
_HARMLESS = frozenset({"clock"})
#: After these a worker does nothing that it had begun.
_DEADLY = frozenset({"kill", "term"})
#: What a fault hits that all workers share; else it hits the process that it names.
_SHARED = frozenset({"redis", "store", "machine"})
#: So many equal waits are no accident.
_WAITS = 3


@dataclass(frozen=True, slots=True)
class Run:
    """A run, sorted for the checks."""

    events: Sequence[Event]
    final: Final
    calls: Sequence[Call] = ()
    jobs: dict[str, JobFinal] = field(default_factory=dict[str, JobFinal])

    def answered(self, *operations: str) -> Iterator[Call]:
        """Calls that said OK, in the order of their answers."""
        found = [call for call in self.calls if call.op in operations and call.result == "ok"]
        return iter(sorted(found, key=_end))

    def facts(self, kind: str) -> Iterator[Event]:
        """Events of this kind."""
        return (event for event in self.events if event.kind == kind)


def check(events: Sequence[Event], final: Final, *, once: bool = True) -> list[Violation]:
    """Everything that is broken; `once`=False where a slow machine may lose leases by itself."""
    run = Run(events, final, calls_of(events), {job.id: job for job in final.jobs})
    checks: list[tuple[str, Callable[[Run], Iterator[str]]]] = [
        ("J1", _ends),
        ("J1", _stays_ended),
        ("J2", _one_version),
        ("J2", _numbers_rise),
        ("J2", _versions_stay),
        ("J3", _intact),
        ("J4", _predictions),
        ("J7", _cancelled_stays),
        ("J8", _one_job),
        ("J8", _refused_is_nothing),
        ("J9", _left_behind),
        ("JITTER", _spread),
    ]
    if once:
        checks.append(("ONCE", _trained_once))
    return [Violation(name, text) for name, look in checks for text in look(run)]


def _end(call: Call) -> int:
    return call.end_ns


def _ends(run: Run) -> Iterator[str]:
    if not any(run.facts("settled")):
        yield "not everything settled"
    for call in run.answered("create", "retry"):
        if call.text("job") not in run.jobs:
            yield f"{call.text('job')} was acknowledged and is gone"
    known = {call.text("job") for call in run.answered("create", "retry", "get", "cancel")}
    for job in run.jobs.values():
        if job.outcome not in TERMINAL:
            # Else only written down, never acknowledged: a repeat or reconcile brings it to life.
            if job.id in known or job.live:
                yield f"{job.id} has not ended: queue {job.live!r}"
        elif job.live and (job.live, job.live_version) != (job.outcome, job.version):
            yield (
                f"{job.id} is {job.live} {job.live_version} in the queue, "
                f"{job.outcome} {job.version} in the store"
            )


def _stays_ended(run: Run) -> Iterator[str]:
    """Who saw a job ended sees the same for ever."""
    for call in run.answered("get"):
        job, state = run.jobs.get(call.text("job")), call.text("state")
        if job is None or state not in TERMINAL:
            continue
        if (state, call.number("version")) != (job.outcome, job.version):
            yield (
                f"{job.id} was seen {state} {call.number('version')}, "
                f"ended {job.outcome} {job.version}"
            )
    wipes = [event.at_ns for event in run.facts("wipe")]
    first_seen: dict[str, int] = {}
    for call in run.answered("get", "cancel"):
        if call.text("state") in TERMINAL:
            first_seen.setdefault(call.text("job"), call.end_ns)
    for call in run.answered("get"):
        seen_ns = first_seen.get(call.text("job"), call.begin_ns)
        # A replica that was behind tells of the past until the store is compared with it.
        is_excused = any(seen_ns < at_ns < call.end_ns for at_ns in wipes)
        if call.begin_ns > seen_ns and call.text("state") not in TERMINAL and not is_excused:
            yield f"{call.text('job')} had ended, then was seen {call.text('state')}"


def _one_version(run: Run) -> Iterator[str]:
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for version in run.final.versions:
        found[version.job].append((version.model, version.number))
    for job in run.jobs.values():
        expected = [(job.model, job.version)] if job.outcome == "SUCCEEDED" else []
        if found.pop(job.id, []) != expected:
            yield f"{job.id} ended {job.outcome} {job.version}; its visible versions are others"
    for job_id, numbers in found.items():
        yield f"versions {numbers} are of job {job_id!r}, which is not known"


def _numbers_rise(run: Run) -> Iterator[str]:
    """What begins to train after a version was seen gets a higher number."""
    number_of = {job.id: job.version for job in run.jobs.values() if job.version}
    begun = {str(event.fields["job"]): event.at_ns for event in _reversed(run, "train_begin")}
    for call in run.answered("versions"):
        highest = max(call.numbers("numbers"), default=0)
        for job_id, at_ns in begun.items():
            job = run.jobs.get(job_id)
            is_later = at_ns > call.end_ns and job is not None and job.model == call.text("model")
            if is_later and number_of.get(job_id, highest + 1) <= highest:
                yield f"{job_id} became {number_of[job_id]} though {highest} was seen before it"


def _reversed(run: Run, kind: str) -> Iterator[Event]:
    """Newest first, so that a dict of them keeps the oldest."""
    return reversed(list(run.facts(kind)))


def _versions_stay(run: Run) -> Iterator[str]:
    visible = {(version.model, version.number) for version in run.final.versions}
    seen: dict[tuple[str, int], int] = {}
    for call in run.answered("versions"):
        model, numbers = call.text("model"), call.numbers("numbers")
        for (seen_model, number), at_ns in seen.items():
            if seen_model == model and at_ns < call.begin_ns and number not in numbers:
                yield f"version {number} of {model} was seen, then was not"
        for number in numbers:
            seen.setdefault((model, number), call.end_ns)
    for model, number in sorted(seen.keys() - visible):
        yield f"version {number} of {model} was seen and is gone"


def _intact(run: Run) -> Iterator[str]:
    for version in run.final.versions:
        if not version.is_intact:
            yield f"version {version.number} of {version.model} fails its digests"
    for call in run.answered("versions"):
        for number in call.numbers("broken"):
            yield f"version {number} of {call.text('model')} was read and failed its digests"


def _predictions(run: Run) -> Iterator[str]:
    served: dict[tuple[str, str, str], int] = {}
    for call in run.answered("predict"):
        number, channel = (
            call.number("version"),
            (call.actor, call.text("model"), call.text("reference")),
        )
        if not call.number("is_right"):
            yield f"an answer of {call.text('model')} is not what version {number} computes"
        if number < served.get(channel, 0):
            yield f"{call.text('model')} was served by {served[channel]}, then by {number}"
        served[channel] = number


def _cancelled_stays(run: Run) -> Iterator[str]:
    for call in run.answered("cancel"):
        job = run.jobs.get(call.text("job"))
        is_decided = call.text("state") in {"CANCELLING", "CANCELLED"}
        if job is not None and is_decided and job.outcome != "CANCELLED":
            yield f"{job.id} was acknowledged {call.text('state')} and ended {job.outcome!r}"
        if call.text("state") not in TERMINAL | {"CANCELLING"}:
            yield f"cancelling {call.text('job')} answered {call.text('state')}"


def _one_job(run: Run) -> Iterator[str]:
    made: dict[str, set[str]] = defaultdict(set)
    for call in run.answered("create", "retry"):
        made[call.text("request_id")].add(call.text("job"))
    for job in run.jobs.values():
        made[job.request_id].add(job.id)
    for request_id, jobs in made.items():
        if request_id and len(jobs) > 1:
            yield f"request {request_id} made {sorted(jobs)}"


def _refused_is_nothing(run: Run) -> Iterator[str]:
    """What was only ever refused has left nothing."""
    results: dict[str, list[bool]] = defaultdict(list)
    for call in run.calls:
        if call.op in {"create", "retry"}:
            results[call.text("request_id")].append(call.code in REFUSED)
    for job in run.jobs.values():
        if job.request_id and all(results.get(job.request_id, [False])):
            yield f"request {job.request_id} was refused, but made {job.id}"


def _left_behind(run: Run) -> Iterator[str]:
    yield from run.final.leaks
    if not any(run.facts("fault")):
        for name in run.final.temporaries:
            yield f"a temporary file is left though nobody was killed: {name}"


def _spread(run: Run) -> Iterator[str]:
    waits = [
        (_number(event, "wait_ms"), _number(event, "full_ms")) for event in run.facts("retry_wait")
    ]
    # Each has a random half left out: that all keep the whole by chance is one in millions.
    if len(waits) >= _WAITS and all(wait_ms * 1000 >= full_ms * 995 for wait_ms, full_ms in waits):
        yield f"repeats are not spread: {waits}"


def _number(event: Event, name: str) -> int:
    return int(str(event.fields[name]))


def _trained_once(run: Run) -> Iterator[str]:
    """A second training needs an excuse: the first was given up, or a fault struck it."""
    faults = [event for event in run.facts("fault") if event.fields["what"] not in _HARMLESS]
    given_up = {
        str(event.fields["attempt"])
        for event in run.facts("train_end")
        if event.fields["how"] in _GIVEN_UP
    }
    last: dict[str, Event] = {}
    for event in run.facts("train_begin"):
        job = str(event.fields["job"])
        first, last[job] = last.get(job), event
        if first is None or str(first.fields["attempt"]) in given_up:
            continue
        if not any(_excuses(fault, first, event) for fault in faults):
            yield f"{job} was trained again by {event.actor} though nothing had happened"


def _excuses(fault: Event, first: Event, second: Event) -> bool:
    """Whether a fault hit what all share, or the first attempt's worker.

    Or the second's, which stood still between its claim and its beginning: a zombie.
    """
    which = fault.fields.get("which", "")
    is_zombie = which == second.actor and fault.fields["what"] not in _DEADLY
    is_near = which in _SHARED or which == first.actor or is_zombie
    return fault.at_ns <= second.at_ns and is_near

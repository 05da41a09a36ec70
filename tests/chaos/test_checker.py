"""The checker itself: for each promise a history that keeps it and histories that break it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.chaos.checker import check
from tests.chaos.final import Final, JobFinal, VersionFinal
from tests.chaos.history import Event, Value

SETTLED = Event(9_000, "harness", "settled")
DONE = JobFinal(
    id="a", request_id="r", outcome="SUCCEEDED", version=1, live="SUCCEEDED", live_version=1
)
VERSION = VersionFinal(model="m", number=1, job="a")
GOOD = Final([DONE], [VERSION])


def call(
    at_ns: int, op: str, answer: dict[str, Value], kind: str = "ok", **fields: Value
) -> list[Event]:
    """A call that takes 5 ns."""
    name = f"{op}{at_ns}"
    return [
        Event(at_ns, "client", "invoke", name, {"op": op, **fields}),
        Event(at_ns + 5, "client", kind, name, answer),
    ]


def created(at_ns: int = 1, job: str = "a", request_id: str = "r") -> list[Event]:
    return call(at_ns, "create", {"job": job}, request_id=request_id, model="m")


def got(at_ns: int, state: str, version: int = 0) -> list[Event]:
    return call(at_ns, "get", {"state": state, "version": version}, job="a")


def cancelled(at_ns: int, state: str) -> list[Event]:
    return call(at_ns, "cancel", {"state": state}, job="a")


def saw(at_ns: int, numbers: list[int], broken: list[int] | None = None) -> list[Event]:
    return call(at_ns, "versions", {"numbers": numbers, "broken": broken or []}, model="m")


def predicted(at_ns: int, version: int, *, is_right: bool = True) -> list[Event]:
    answer: dict[str, Value] = {"version": version, "is_right": is_right}
    return call(at_ns, "predict", answer, model="m", reference="")


def began(at_ns: int, attempt: str, actor: str = "w1", job: str = "a") -> Event:
    return Event(at_ns, actor, "train_begin", "", {"job": job, "attempt": attempt})


def ended(at_ns: int, attempt: str, how: str) -> Event:
    return Event(at_ns, "w1", "train_end", "", {"job": "a", "attempt": attempt, "how": how})


def fault(at_ns: int, what: str, which: str) -> Event:
    return Event(at_ns, "harness", "fault", "", {"what": what, "which": which})


def waited(wait_ms: int) -> Event:
    fields: dict[str, Value] = {"job": "a", "wait_ms": wait_ms, "full_ms": 1_000}
    return Event(1, "w1", "retry_wait", "", fields)


def broken(events: Sequence[Event], final: Final = GOOD) -> list[str]:
    return sorted({found.invariant for found in check([*events, SETTLED], final)})


def job(outcome: str = "SUCCEEDED", live: str = "SUCCEEDED", version: int = 1) -> Final:
    """The good end, but for the job."""
    changed = replace(DONE, outcome=outcome, live=live, version=version, live_version=version)
    return Final([changed], [VERSION] if changed.outcome == "SUCCEEDED" else [])


ENDED_CANCELLED = job(outcome="CANCELLED", version=0, live="CANCELLED")


@pytest.mark.parametrize(
    ("events", "final"),
    [
        pytest.param(created(), GOOD, id="a job that succeeded"),
        pytest.param(created() + created(20), GOOD, id="a repeated request"),
        pytest.param(created() + got(20, "RUNNING") + got(40, "SUCCEEDED", 1), GOOD, id="watched"),
        pytest.param(created() + cancelled(20, "CANCELLING"), ENDED_CANCELLED, id="cancelled"),
        pytest.param(created() + cancelled(20, "SUCCEEDED"), GOOD, id="cancelled too late"),
        pytest.param(
            call(1, "create", {"code": "UNAVAILABLE"}, "unknown", request_id="r"),
            job(outcome="", version=0, live=""),
            id="written down, never acknowledged",
        ),
        pytest.param(
            call(1, "create", {"code": "RESOURCE_EXHAUSTED"}, "fail", request_id="r") + created(20),
            GOOD,
            id="refused, then taken",
        ),
        pytest.param(created() + saw(20, []) + saw(40, [1]), GOOD, id="a version appears"),
        pytest.param(created() + predicted(20, 1) + predicted(40, 1), GOOD, id="predictions"),
        pytest.param([began(1, "x"), ended(2, "x", "failed"), began(3, "y")], GOOD, id="repeated"),
        pytest.param(
            [began(1, "x"), fault(2, "kill", "w1"), began(3, "y", "w2")], GOOD, id="taken over"
        ),
        pytest.param(
            [began(1, "x"), fault(2, "kill", "redis"), began(3, "y", "w2")], GOOD, id="an outage"
        ),
        pytest.param(
            [began(1, "x"), fault(2, "stop", "w2"), began(3, "y", "w2")], GOOD, id="a zombie begins"
        ),
        pytest.param([waited(999), waited(1_000), waited(700)], GOOD, id="spread repeats"),
        pytest.param([waited(1_000), waited(1_000)], GOOD, id="two repeats prove nothing"),
        pytest.param([fault(1, "kill", "w1")], replace(GOOD, temporaries=["t"]), id="scratch"),
        pytest.param(
            [*created(), *saw(20, [1]), began(40, "x", job="b")],
            Final(
                [DONE, JobFinal(id="b", outcome="SUCCEEDED", version=2)],
                [VERSION, VersionFinal(model="m", number=2, job="b")],
            ),
            id="numbers rise",
        ),
    ],
)
def test_kept_promises_are_not_reported(events: list[Event], final: Final) -> None:
    assert broken(events, final) == []


@pytest.mark.parametrize(
    ("invariant", "events", "final"),
    [
        pytest.param("J1", created(job="b", request_id="s"), GOOD, id="acknowledged and gone"),
        pytest.param("J1", created(), job(outcome="", live="RUNNING", version=0), id="not ended"),
        pytest.param("J1", created(), job(outcome="", live="", version=0), id="forgotten"),
        pytest.param("J1", created(), job(live="RUNNING"), id="the queue does not know"),
        pytest.param("J1", created() + got(20, "FAILED"), GOOD, id="ended in two ways"),
        pytest.param("J1", created() + got(20, "SUCCEEDED", 2), GOOD, id="the version changed"),
        pytest.param(
            "J1",
            created() + got(20, "SUCCEEDED", 1) + got(40, "RUNNING"),
            GOOD,
            id="came back to life",
        ),
        pytest.param("J2", [], Final([DONE], []), id="a success without a version"),
        pytest.param(
            "J2",
            [],
            Final([DONE], [VERSION, VersionFinal(model="m", number=2, job="a")]),
            id="a success with two",
        ),
        pytest.param(
            "J2", [], replace(ENDED_CANCELLED, versions=[VERSION]), id="a version of no success"
        ),
        pytest.param(
            "J2",
            [],
            Final([DONE], [VERSION, VersionFinal(model="m", number=2, job="z")]),
            id="a version of an unknown job",
        ),
        pytest.param(
            "J2",
            [*saw(20, [1, 2]), began(40, "x")],
            Final(
                [DONE, JobFinal(id="b", outcome="SUCCEEDED", version=2)],
                [VERSION, VersionFinal(model="m", number=2, job="b")],
            ),
            id="numbers fall",
        ),
        pytest.param("J2", saw(20, [1]) + saw(40, []) + saw(60, [1]), GOOD, id="a version blinks"),
        pytest.param("J2", saw(20, [1, 2]), GOOD, id="a version vanishes"),
        pytest.param(
            "J3", [], Final([DONE], [replace(VERSION, is_intact=False)]), id="torn at the end"
        ),
        pytest.param("J3", saw(20, [1], [1]), GOOD, id="torn as it was read"),
        pytest.param("J4", predicted(20, 1, is_right=False), GOOD, id="a wrong answer"),
        pytest.param("J4", predicted(20, 2) + predicted(40, 1), GOOD, id="served backwards"),
        pytest.param(
            "J7", created() + cancelled(20, "CANCELLING"), GOOD, id="cancelled, succeeded"
        ),
        pytest.param("J7", created() + cancelled(20, "RUNNING"), GOOD, id="not cancelled"),
        pytest.param("J8", created() + created(20, "b"), GOOD, id="two answers"),
        pytest.param(
            "J8",
            created(),
            Final([DONE, replace(ENDED_CANCELLED.jobs[0], id="b")], [VERSION]),
            id="two jobs",
        ),
        pytest.param(
            "J8",
            call(1, "create", {"code": "RESOURCE_EXHAUSTED"}, "fail", request_id="r"),
            GOOD,
            id="refused, but made",
        ),
        pytest.param("J9", [], replace(GOOD, leaks=["k"]), id="a leak"),
        pytest.param("J9", [], replace(GOOD, temporaries=["t"]), id="scratch"),
        pytest.param("ONCE", [began(1, "x"), began(3, "y", "w2")], GOOD, id="trained twice"),
        pytest.param(
            "ONCE",
            [began(1, "x"), fault(2, "kill", "w2"), began(3, "y", "w2")],
            GOOD,
            id="a fault of another",
        ),
        pytest.param(
            "ONCE",
            [began(1, "x"), fault(2, "kill", "api0"), began(3, "y", "w2")],
            GOOD,
            id="a fault of one that trains nothing",
        ),
        pytest.param(
            "ONCE",
            [began(1, "x"), fault(2, "clock", "w1"), began(3, "y", "w2")],
            GOOD,
            id="a clock's jump",
        ),
        pytest.param(
            "ONCE",
            [began(1, "x"), ended(2, "x", "trained"), began(3, "y")],
            GOOD,
            id="after it was trained",
        ),
        pytest.param("JITTER", [waited(1_000)] * 3, GOOD, id="all at once"),
    ],
)
def test_broken_promises_are_reported(invariant: str, events: list[Event], final: Final) -> None:
    assert invariant in broken(events, final)


def test_what_did_not_settle_is_reported() -> None:
    assert [found.invariant for found in check(created(), GOOD)] == ["J1"]


def test_a_slow_machine_may_train_twice() -> None:
    events = [began(1, "x"), began(3, "y", "w2"), SETTLED]

    assert check(events, GOOD, once=False) == []

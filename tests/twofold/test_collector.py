"""What may go and what must stay: tables of cases, and invariants over any inventory."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.collector import (
    REQUEST_LIFE_MS,
    UNKNOWN_MS,
    Ending,
    Folder,
    Inventory,
    Job,
    Model,
    Policy,
    Removal,
    Request,
    Upload,
    Version,
    plan,
)

NOW_MS = 10**12
DAY_MS = 86_400_000
OLD_MS = NOW_MS - 40 * DAY_MS
YOUNG_MS = NOW_MS - 60_000
#: What an artifact leaves in its folder.
FILES = ("graph.pb", "manifest.json", "manifest.staged.json")
J1, J2 = "01J00000000000000000000001", "01J00000000000000000000002"
A1, A2, A3 = (f"01J000000000000000000000A{number}" for number in (1, 2, 3))


def visible(number: int, withdrawn_ms: int | None = None) -> Version:
    return Version(
        number=number,
        job=J1,
        is_visible=True,
        withdrawn_ms=withdrawn_ms,
        files=FILES,
        changed_ms=OLD_MS,
    )


def hidden(number: int, job: str = J1, changed_ms: int = OLD_MS) -> Version:
    return Version(number=number, job=job, files=FILES[:1], changed_ms=changed_ms)


def removals(
    *versions: Version, jobs: tuple[Job, ...] = (), aliased: frozenset[int] = frozenset(), keep: int
) -> list[Removal]:
    inventory = Inventory(tenant="t", models=(Model("m", versions, aliased),), jobs=jobs)
    found = plan(inventory, Policy(keep_versions=keep), NOW_MS)
    return [removal for removal in found if removal.kind == "version"]


def numbers(found: list[Removal]) -> list[int]:
    return [int(removal.name.rpartition("/")[2]) for removal in found]


@pytest.mark.parametrize(
    ("keep", "aliased", "gone"),
    [(0, set[int](), []), (2, set[int](), [1, 2, 3]), (2, {2}, [1, 3]), (9, set[int](), [])],
)
def test_the_newest_versions_and_the_aliased_ones_stay(
    keep: int, aliased: set[int], gone: list[int]
) -> None:
    versions = [visible(number) for number in range(1, 6)]

    assert numbers(removals(*versions, aliased=frozenset(aliased), keep=keep)) == gone


def test_withdrawn_versions_do_not_count_and_go_after_the_grace_time() -> None:
    versions = [visible(1), visible(2, OLD_MS), visible(3, YOUNG_MS), visible(4)]

    assert numbers(removals(*versions, keep=2)) == [2]
    assert numbers(removals(*versions, keep=0)) == [2]
    assert numbers(removals(*versions, keep=0, aliased=frozenset({2}))) == []


def test_a_version_goes_claim_first_and_its_folder_last() -> None:
    (found,) = removals(visible(1), visible(2), keep=1)

    folder = "t/models/m/1"
    names = ("claim", "manifest.json", "manifest.staged.json")
    assert found.keys == (*(f"{folder}/{name}" for name in names), folder)
    assert found.hides == ("m", 1)


def test_the_highest_number_keeps_its_folder_its_claim_and_its_withdrawal() -> None:
    (found,) = removals(visible(1), visible(2, OLD_MS), keep=0)

    folder = "t/models/m/2"
    assert found.keys == (
        f"{folder}/manifest.json",
        f"{folder}/manifest.staged.json",
        f"{folder}/graph.pb",
    )


ENDED = Ending(OLD_MS, "m", 7)


@pytest.mark.parametrize(
    ("version", "jobs", "is_gone"),
    [
        (hidden(1), (), True),
        (hidden(1, changed_ms=YOUNG_MS), (), False),
        (hidden(1, job=""), (), False),
        (hidden(1), (Job(id=J1),), False),
        (hidden(1), (Job(id=J1, ending=ENDED),), True),
        (hidden(1), (Job(id=J1, ending=Ending(OLD_MS)),), True),
        (hidden(1), (Job(id=J1, ending=Ending(OLD_MS, "m", 1)),), False),
        (hidden(1), (Job(id=J1, ending=Ending(OLD_MS, "other", 1)),), True),
        (hidden(1), (Job(id=J1, is_readable=False),), False),
        (Version(number=1, has_claim=False, changed_ms=OLD_MS), (), True),
        (Version(number=1, has_claim=False, changed_ms=YOUNG_MS), (), False),
    ],
    ids=[
        "its job is gone",
        "its job is gone, too young",
        "a claim that cannot be read",
        "its job lives",
        "its job published another",
        "its job failed",
        "decided on, to be completed",
        "its job published another model",
        "its job cannot be read",
        "no claim",
        "no claim yet",
    ],
)
def test_what_was_never_visible_goes_with_its_job(
    version: Version, jobs: tuple[Job, ...], *, is_gone: bool
) -> None:
    found = removals(version, visible(9), jobs=jobs, keep=0)

    assert numbers(found) == ([1] if is_gone else [])


def kinds(inventory: Inventory, kind: str, policy: Policy | None = None) -> list[str]:
    found = plan(inventory, policy or Policy(), NOW_MS)
    return [removal.name for removal in found if removal.kind == kind]


@pytest.mark.parametrize(
    ("job", "is_gone"),
    [
        (Job(id=J1, ending=Ending(OLD_MS)), True),
        (Job(id=J1, ending=Ending(NOW_MS - 29 * DAY_MS)), False),
        (Job(id=J1, ending=Ending(OLD_MS, "m", 1)), False),
        (Job(id=J1, ending=Ending(OLD_MS, "m", 2)), True),
        (Job(id=J1, ending=Ending(OLD_MS, "m", 3)), False),
        (Job(id=J1, ending=Ending(OLD_MS, "m", 4)), True),
        (Job(id=J1, ending=None, changed_ms=OLD_MS), False),
        (Job(id=J1, ending=Ending(OLD_MS), is_readable=False), False),
        (Job(id=J1, has_record=False, changed_ms=OLD_MS), True),
        (Job(id=J1, has_record=False, changed_ms=YOUNG_MS), False),
        (Job(id=J1, has_record=False, ending=Ending(YOUNG_MS), changed_ms=OLD_MS), False),
        (Job(id=J2, ending=Ending(OLD_MS)), False),
    ],
    ids=[
        "failed long ago",
        "failed lately",
        "its version is visible",
        "its version was removed",
        "its version is not completed yet",
        "its version's folder is gone",
        "live",
        "not readable",
        "no record",
        "no record yet",
        "no record, ended lately",
        "a binding names it",
    ],
)
def test_a_job_goes_long_after_its_end_unless_its_version_is_there(
    job: Job, *, is_gone: bool
) -> None:
    removed = Version(number=2, withdrawn_ms=OLD_MS, changed_ms=OLD_MS)
    model = Model("m", (visible(1), removed, hidden(3, job=J1)))
    request = Request("r", J2, YOUNG_MS)
    inventory = Inventory(tenant="t", models=(model,), jobs=(job,), requests=(request,))

    assert kinds(inventory, "job") == ([f"jobs/{job.id}"] if is_gone else [])


def test_a_job_loses_its_record_before_its_outcome() -> None:
    """Else a crash in between would leave a job that never ended, and would train again."""
    inventory = Inventory(tenant="t", jobs=(Job(id=J1, ending=Ending(OLD_MS)),))

    assert plan(inventory, Policy(), NOW_MS)[0].keys == (f"t/jobs/{J1}/spec.pb", f"t/jobs/{J1}")


def test_bindings_go_after_a_day_and_before_the_jobs_they_name() -> None:
    """Else a repeat would find the binding and make the job anew."""
    inventory = Inventory(
        tenant="t",
        jobs=(Job(id=J1, ending=Ending(OLD_MS)),),
        requests=(
            Request("old", J1, NOW_MS - REQUEST_LIFE_MS),
            Request("young", J2, NOW_MS - REQUEST_LIFE_MS + 1),
        ),
    )

    found = plan(inventory, Policy(), NOW_MS)
    assert [removal.name for removal in found] == ["requests/old", f"jobs/{J1}"]


def folders(changed_ms: int = OLD_MS) -> tuple[Folder, ...]:
    return (
        *(Folder("checkpoints", attempt, changed_ms) for attempt in (A1, A2, A3)),
        *(Folder("artifacts", attempt, changed_ms) for attempt in (A1, A2, A3)),
    )


def scratch(job: Job, attempts: dict[str, str]) -> list[str]:
    inventory = Inventory(tenant="t", jobs=(job,), attempts=attempts)
    return [name.removeprefix(f"jobs/{J1}/") for name in kinds(inventory, "scratch")]


def test_a_live_job_keeps_what_its_attempt_writes_and_its_newest_checkpoint() -> None:
    job = Job(id=J1, folders=folders(), newest_checkpoint=A2)

    assert scratch(job, {J1: A3}) == [
        f"checkpoints/{A1}",
        f"artifacts/{A1}",
        f"artifacts/{A2}",
    ]
    assert f"checkpoints/{A2}" not in scratch(job, {J1: ""})
    assert scratch(job, {}) == []


def test_scratch_goes_after_the_end_and_the_grace_time() -> None:
    ended = Ending(YOUNG_MS)

    assert len(scratch(Job(id=J1, folders=folders(), ending=ended), {})) == 6
    assert scratch(Job(id=J1, folders=folders(YOUNG_MS), ending=ended), {}) == []


def test_what_a_gate_refused_stays_as_long_as_its_job() -> None:
    job = Job(id=J1, folders=folders(), ending=Ending(YOUNG_MS, refused_attempt=A2))

    assert set(scratch(job, {})) == {
        *(f"checkpoints/{attempt}" for attempt in (A1, A2, A3)),
        f"artifacts/{A1}",
        f"artifacts/{A3}",
    }


def test_old_uploads_and_temporary_files_go() -> None:
    old, young = "a" * 64, "b" * 64
    inventory = Inventory(
        tenant="t",
        uploads=(Upload(old, OLD_MS), Upload(young, YOUNG_MS)),
        temporary={"old": OLD_MS, "young": YOUNG_MS},
    )

    assert kinds(inventory, "upload") == [f"uploads/{old}"]
    assert kinds(inventory, "temporary") == ["tmp/old"]


TIMES = st.integers(NOW_MS - 60 * DAY_MS, NOW_MS)
JOB_IDS = st.sampled_from([J1, J2, ""])
VERSIONS = st.lists(
    st.builds(
        Version,
        number=st.integers(1, 8),
        job=JOB_IDS,
        has_claim=st.booleans(),
        is_visible=st.booleans(),
        withdrawn_ms=st.none() | TIMES,
        files=st.sampled_from([(), FILES[:1], FILES]),
        changed_ms=TIMES,
    ),
    unique_by=lambda version: version.number,
)
JOBS = st.lists(
    st.builds(
        Job,
        id=st.sampled_from([J1, J2]),
        has_record=st.booleans(),
        ending=st.none() | st.builds(Ending, TIMES, st.just("m"), st.integers(0, 8)),
        folders=st.sampled_from([(), folders()]),
        newest_checkpoint=st.sampled_from(["", A1, A2, A3]),
        changed_ms=TIMES,
    ),
    unique_by=lambda job: job.id,
)


def make_inventory(
    versions: list[Version], aliased: set[int], jobs: list[Job], attempts: dict[str, str]
) -> Inventory:
    model = Model("m", tuple(versions), frozenset(aliased))
    return Inventory(tenant="t", models=(model,), jobs=tuple(jobs), attempts=attempts)


INVENTORIES = st.builds(
    make_inventory,
    VERSIONS,
    st.sets(st.integers(1, 8)),
    JOBS,
    st.dictionaries(st.sampled_from([J1, J2]), st.sampled_from(["", A1, A2, A3])),
)


@given(INVENTORIES, st.integers(0, 4))
def test_nothing_that_is_needed_ever_goes(inventory: Inventory, keep: int) -> None:
    found = plan(inventory, Policy(keep_versions=keep), NOW_MS)

    (model,) = inventory.models
    gone = {int(one.name.rpartition("/")[2]) for one in found if one.kind == "version"}
    top = max((version.number for version in model.versions), default=0)
    served = sorted(v.number for v in model.versions if v.is_visible and v.withdrawn_ms is None)
    keys = [key for removal in found for key in removal.keys]
    assert not gone & model.aliased & {version.number for version in model.versions}
    assert not gone & set(served[-keep:])
    assert f"t/models/m/{top}" not in keys
    assert f"t/models/m/{top}/claim" not in keys
    for job in inventory.jobs:
        if job.ending is None and job.has_record:
            assert f"t/jobs/{job.id}" not in keys
            assert f"t/jobs/{job.id}/checkpoints/{job.newest_checkpoint}" not in keys
            assert f"t/jobs/{job.id}/artifacts/{inventory.attempts.get(job.id)}" not in keys
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch(r"(t|tmp)/[\w./-]+", key) for key in keys)


def test_a_model_with_as_many_versions_as_jobs_is_planned_in_a_moment() -> None:
    """A look through all versions for each job took minutes of the event loop."""
    count = 20_000
    ids = [f"01J{number:023}" for number in range(count)]
    inventory = Inventory(
        tenant="t",
        models=(Model("m", tuple(visible(number + 1) for number in range(count))),),
        jobs=tuple(
            Job(id=job, ending=Ending(OLD_MS, "m", number + 1)) for number, job in enumerate(ids)
        ),
        requests=tuple(Request(f"r{number}", job, OLD_MS) for number, job in enumerate(ids)),
    )

    begin_s = time.process_time()
    found = plan(inventory, Policy(), NOW_MS)

    assert time.process_time() - begin_s < 2
    assert len(found) == count


def test_what_has_no_known_age_is_never_old() -> None:
    inventory = Inventory(
        tenant="t",
        models=(Model("m", (hidden(1, changed_ms=UNKNOWN_MS), visible(2))),),
        jobs=(Job(id=J1, has_record=False, changed_ms=UNKNOWN_MS),),
        requests=(Request("r", J2, UNKNOWN_MS),),
        uploads=(Upload("a" * 64, UNKNOWN_MS),),
        temporary={"a": UNKNOWN_MS},
    )

    assert plan(inventory, Policy(grace_ms=0), NOW_MS) == []


def test_a_job_without_a_record_is_removed_without_one() -> None:
    """One that comes meanwhile was acknowledged."""
    inventory = Inventory(tenant="t", jobs=(Job(id=J1, has_record=False, changed_ms=OLD_MS),))

    assert plan(inventory, Policy(), NOW_MS)[0].keys == (f"t/jobs/{J1}",)

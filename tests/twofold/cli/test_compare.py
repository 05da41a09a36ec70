"""`twofold jobs compare`."""

import json

import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.service import progress
from tests.twofold.client.serving import Servers
from twofold import errors
from twofold.cli.compare import is_job, text
from twofold.cli.comparing import Comparison, Facts
from twofold.v1 import training_pb2

GONE = "01HZZZZZZZZZZZZZZZZZZZZZZZ"


def add(servers: Servers, epochs: int, version: str = "") -> str:
    job = servers.training.add()
    job.spec.model = "digits"
    job.spec.training.epochs = epochs
    job.spec.data.dataset = "ab" * 32
    job.state = training_pb2.JOB_STATE_SUCCEEDED
    job.model_version = version
    job.progress.CopyFrom(progress(2))
    points = (
        training_pb2.MetricPoint(epoch=epoch, loss=1 / epoch, rows_per_second=100.0 * epoch)
        for epoch in range(1, 4)
    )
    servers.training.points[job.name] = list(points)
    return job.name.removeprefix("jobs/")


def test_jobs_stand_side_by_side(twofold: CommandLine, servers: Servers) -> None:
    first, second = add(servers, 3), add(servers, 5)

    result = twofold("jobs", "compare", first, f"jobs/{second}")

    lines = {line[:15].strip(): line[15:].split() for line in result.stdout.splitlines()}
    assert result.exit_code == 0
    assert lines[""] == ["A", "B"]
    assert lines["job"] == [first, second]
    assert lines["data set"] == ["ab" * 6, "ab" * 6]
    assert lines["training.epochs"] == ["3", "5"]
    assert lines["training loss"] == ["0.3333", "0.3333"]
    assert lines["rows/s"] == ["200", "200"]
    assert "version" not in lines


def test_a_version_brings_its_job_and_a_job_its_version(
    twofold: CommandLine, servers: Servers
) -> None:
    """The version's job is gone, the job's version is there."""
    job = add(servers, 3, version="models/digits/versions/2")

    found = json.loads(twofold("jobs", "compare", "digits@1", job, "--json").stdout)

    one, other = found["subjects"]
    assert (one["version"], one["job"], one["published_epoch"]) == ("digits@1", GONE, 42)
    assert (other["version"], other["job"]) == ("digits@2", job)
    assert other["metrics"] == {"accuracy": 0.97}
    assert "spec" not in one
    assert "a job is gone" in found["note"]


def test_a_removed_version_leaves_the_job(twofold: CommandLine, servers: Servers) -> None:
    job = add(servers, 3, version="models/other/versions/2")
    gone = [errors.NotFound("gone"), errors.NotFound("gone")]
    servers.script.failures["GetModelVersion"] = [*gone]

    found = json.loads(twofold("jobs", "compare", job, job, "--json").stdout)

    assert found["subjects"][0]["version"] == "other@2"
    assert found["subjects"][0]["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert found["differences"] == {}


def test_a_job_that_is_not_there_is_told(twofold: CommandLine, servers: Servers) -> None:
    result = twofold("jobs", "compare", add(servers, 3), GONE)

    assert result.exit_code == 1
    assert f"jobs/{GONE} does not exist" in result.stderr


@pytest.mark.parametrize("count", [1, 9])
def test_two_to_eight_can_be_compared(twofold: CommandLine, count: int) -> None:
    result = twofold("jobs", "compare", *[f"digits@{number + 1}" for number in range(count)])

    assert result.exit_code == 2
    assert "two to eight can be compared" in result.stderr


def test_jobs_and_models_are_told_apart() -> None:
    assert is_job(GONE)
    assert is_job(f"jobs/{GONE}")
    assert not is_job("digits@3")
    assert not is_job("digits")


def test_the_best_has_a_star_and_what_is_the_same_is_said() -> None:
    subjects = (
        Facts(job="J", metrics={"rmse": 0.5, "r2": 0.9}, duration_s=12.34, held_out_rows=20),
        Facts(job="K", metrics={"rmse": 0.25}, duration_s=125, training_rows=80, held_out_rows=20),
    )

    shown = text(Comparison(subjects, {}, {"rmse": (1,)}, "")).splitlines()

    assert [line.split() for line in shown] == [
        ["A", "B"],
        ["job", "J", "K"],
        ["rows", "80", "+", "20", "held", "out"],
        ["r2", "0.9"],
        ["rmse", "0.5", "0.25", "*"],
        ["duration", "12.3", "s", "2:05"],
        [],
        ["the", "specs", "are", "the", "same"],
    ]


def test_values_are_short() -> None:
    """A digest by its beginning, a long list cut, text without quotes, nothing as a dash."""
    differences = {
        "a": ("ab" * 32, None),
        "b": ([1, 2], list(range(100))),
        "c": ("relu", True),
    }

    shown = text(Comparison((Facts(job="J"), Facts(job="K")), differences, {}, "why"))

    _, _, first, second, third, *_ = shown.splitlines()
    assert first.split() == ["a", "ab" * 6, "-"]
    assert second.startswith("b    [1, 2]")
    assert second.endswith("...")
    assert third.split() == ["c", "relu", "true"]
    assert shown.endswith("\n\nwhy")

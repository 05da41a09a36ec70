"""`twofold jobs`."""

import json

import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.service import progress
from tests.twofold.client.serving import Servers
from twofold.v1 import spec_pb2, training_pb2


@pytest.fixture
def job(servers: Servers) -> str:
    return servers.training.add().name.removeprefix("jobs/")


def finish(servers: Servers, job: str) -> None:
    found = servers.training.jobs[f"jobs/{job}"]
    found.MergeFrom(servers.training.ending)
    found.spec.model = "digits"
    found.progress.CopyFrom(progress(3))


def test_list_shows_a_line_per_job(twofold: CommandLine, servers: Servers, job: str) -> None:
    finish(servers, job)
    waiting = servers.training.add()
    waiting.phase = training_pb2.JOB_PHASE_QUEUED

    result = twofold("jobs", "list")

    header, first, second = result.stdout.splitlines()
    assert header.split() == ["JOB", "STATE", "PHASE", "MODEL", "EPOCH", "VERSION", "CREATED"]
    assert first.split() == [
        waiting.name.removeprefix("jobs/"),
        "PENDING",
        "QUEUED",
        "2026-01-02T03:04:05Z",
    ]
    assert second.split() == [
        job,
        "SUCCEEDED",
        "digits",
        "3/3",
        "digits@7",
        "2026-01-02T03:04:05Z",
    ]


def test_list_is_filtered_and_limited(twofold: CommandLine, servers: Servers, job: str) -> None:
    finish(servers, job)
    for _ in range(3):
        servers.training.add()

    succeeded = twofold("jobs", "list", "--state", "succeeded", "--model", "digits", "--json")
    two = twofold("jobs", "list", "--limit", "2", "--json")

    assert [found["name"] for found in json.loads(succeeded.stdout)] == [f"jobs/{job}"]
    assert len(json.loads(two.stdout)) == 2


def test_unknown_state_is_a_usage_error(twofold: CommandLine) -> None:
    result = twofold("jobs", "list", "--state", "asleep")

    assert result.exit_code == 2
    assert "pending" in result.stderr


def test_get_shows_what_is_known(twofold: CommandLine, servers: Servers, job: str) -> None:
    finish(servers, job)

    text = twofold("jobs", "get", job).stdout
    found = json.loads(twofold("jobs", "get", f"jobs/{job}", "--json").stdout)

    assert f"job        {job}" in text
    assert "version    digits@7" in text
    assert "metrics    accuracy 1" in text
    assert "message" not in text
    assert found["state"] == "JOB_STATE_SUCCEEDED"
    assert found["progress"]["epoch"] == 3


def test_get_shows_what_was_picked(twofold: CommandLine, servers: Servers, job: str) -> None:
    finish(servers, job)
    found = servers.training.jobs[f"jobs/{job}"]
    found.spec.training.epochs = 3
    found.progress.choices.MergeFrom(
        spec_pb2.Choices(device="cpu", optimizer="adam, fused", warm_start="8 of 8 tensors of m@1")
    )

    trained = twofold("jobs", "get", job).stdout
    found.spec.training.epochs = 0
    as_it_came = twofold("jobs", "get", job).stdout

    assert "warm start  8 of 8 tensors of m@1" in trained
    assert "optimizer   adam, fused" in trained
    assert "device      cpu" in as_it_came
    assert "optimizer" not in as_it_came


def test_get_of_an_unknown_job_says_so(twofold: CommandLine) -> None:
    result = twofold("jobs", "get", "01K5V7Q2J8M4T6Z0X9C3B1N5RW")

    assert result.exit_code == 1
    assert result.stderr == ("error: NOT_FOUND: jobs/01K5V7Q2J8M4T6Z0X9C3B1N5RW does not exist\n")


def test_watch_ends_with_the_version(twofold: CommandLine, job: str) -> None:
    result = twofold("jobs", "watch", job)

    assert result.exit_code == 0
    assert result.stdout == "digits@7\n"


def test_logs_print_the_history_of_a_job(twofold: CommandLine, servers: Servers, job: str) -> None:
    finish(servers, job)

    lines = twofold("jobs", "logs", job).stdout.splitlines()
    events = twofold("jobs", "logs", job, "--json").stdout.splitlines()

    assert len(lines) == len(events) == 4
    assert lines[0].startswith("2026-01-02T03:04:05Z  training      epoch 1/3")
    assert lines[-1] == "2026-01-02T03:04:05Z  succeeded     digits@7"
    assert json.loads(events[1])["progress"]["epoch"] == 2


def test_logs_of_a_live_job_end_by_themselves(
    twofold: CommandLine, servers: Servers, job: str
) -> None:
    """The server never sends the third event; what it has kept comes at once."""
    held = servers.training.hold_after(2)

    result = twofold("jobs", "logs", job)
    held.set()

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2


def test_logs_can_follow_to_the_end(twofold: CommandLine, job: str) -> None:
    result = twofold("jobs", "logs", job, "--follow")

    assert len(result.stdout.splitlines()) == 4


def test_logs_of_an_unknown_job_say_so(twofold: CommandLine) -> None:
    assert twofold("jobs", "logs", "01K5V7Q2J8M4T6Z0X9C3B1N5RW").exit_code == 1


def test_cancel_prints_the_state(twofold: CommandLine, job: str) -> None:
    assert twofold("jobs", "cancel", job).stdout == "CANCELLED\n"


def test_retry_prints_the_new_identifier(twofold: CommandLine, servers: Servers, job: str) -> None:
    alone = twofold("jobs", "retry", job)
    watched = twofold("jobs", "retry", job, "--watch")

    retried = [
        found.name.removeprefix("jobs/")
        for found in servers.training.jobs.values()
        if found.retry_of == f"jobs/{job}"
    ]
    assert alone.stdout.splitlines() == retried[:1]
    assert watched.stdout.splitlines() == [retried[1], "digits@7"]

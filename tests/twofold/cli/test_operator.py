"""`twofold reconcile` and `twofold collect` on a real store and a real queue."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.twofold.samples import TENANT, export, sample_attempt, sample_record, trained_manifest
from tests.valkey import Valkey
from twofold import identity, keys, publish, versions
from twofold.cli.app import app
from twofold.names import ulid
from twofold.seams import SystemClock
from twofold.store import LocalStore

JOBS = [f"01J0000000000000000000000{number}" for number in range(4)]


@pytest.fixture
def folder(valkey: Valkey) -> Iterator[Path]:
    """The folder of a cluster whose server is `valkey`."""
    # Short: the socket's path must fit.
    path = Path(tempfile.mkdtemp(prefix="tf"))
    (path / "valkey.sock").symlink_to(valkey.socket)
    identity.make(LocalStore(path / "store"), ulid())
    yield path
    shutil.rmtree(path)


def add_job(store: LocalStore, job: str) -> None:
    record = sample_record()
    record.format_version = 1
    record.create_time.FromMilliseconds(SystemClock().time_ms())
    store.create(keys.job_spec(TENANT, job), record.SerializeToString())


def publish_job(store: LocalStore, job: str) -> None:
    add_job(store, job)
    attempt = sample_attempt(1, job)
    export(store, attempt)
    publish.publish(store, SystemClock(), attempt, trained_manifest(), may_decide=lambda: True)


def test_collect_removes_what_its_dry_run_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_KEEP_VERSIONS", "2")
    store = LocalStore(folder / "store")
    for job in JOBS:
        publish_job(store, job)
    command = ["collect", "--dir", str(folder)]

    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert "models/digits/versions/1" in dry.stdout
    assert dry.stdout.endswith("2 would go\n")
    assert len(versions.visible_versions(store, TENANT, "digits")) == 4

    done = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert [one["name"] for one in done] == [f"models/digits/versions/{n}" for n in (1, 2)]
    assert {one["kind"] for one in done} == {"version"}
    assert [one.number for one in versions.visible_versions(store, TENANT, "digits")] == [3, 4]
    assert CliRunner().invoke(app, command).stdout == "0 removed\n"


def test_reconcile_queues_what_redis_lost_and_nothing_that_has_ended(folder: Path) -> None:
    store = LocalStore(folder / "store")
    add_job(store, JOBS[1])
    publish_job(store, JOBS[2])
    command = ["reconcile", "--dir", str(folder), "--json"]

    first, second = (json.loads(CliRunner().invoke(app, command).stdout) for _ in range(2))

    assert (first["jobs"], first["enqueued"]) == (2, 1)
    assert (second["jobs"], second["enqueued"]) == (2, 0)


def test_reconcile_reads_the_environment_and_says_so_in_words(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("TWOFOLD_REDIS_URL", valkey.url)
    store = LocalStore(tmp_path / "store")
    identity.make(store, ulid())
    add_job(store, JOBS[1])

    result = CliRunner().invoke(app, ["reconcile"])

    assert result.stdout.splitlines() == ["jobs      1", "enqueued  1", "ended     0"]


@pytest.mark.parametrize("command", ["reconcile", "collect"])
def test_settings_that_cannot_be_used_are_named(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_COLLECT_GRACE_S", "1")

    result = CliRunner().invoke(app, [command])

    assert result.exit_code == 2
    assert "TWOFOLD_COLLECT_GRACE_S is '1'" in result.stderr


def test_a_queue_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    identity.make(LocalStore(tmp_path / "store"), ulid())

    result = CliRunner().invoke(app, ["reconcile", "--dir", str(tmp_path)])

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["reconcile", "collect"])
def test_a_folder_without_a_store_is_refused_and_left_alone(folder: Path, command: str) -> None:
    (folder / "store").rename(folder / "elsewhere")

    done = CliRunner().invoke(app, [command, "--dir", str(folder)])

    assert done.exit_code == 2
    assert "no trainer has a store there" in done.stderr
    assert not (folder / "store").exists()


@pytest.mark.parametrize("command", ["reconcile", "collect"])
def test_another_stores_queue_is_refused(folder: Path, command: str) -> None:
    CliRunner().invoke(app, ["reconcile", "--dir", str(folder)])
    (folder / "store").rename(folder / "elsewhere")
    identity.make(LocalStore(folder / "store"), ulid())

    done = CliRunner().invoke(app, [command, "--dir", str(folder)])

    assert done.exit_code == 2
    assert "the queue belongs to store" in done.stderr

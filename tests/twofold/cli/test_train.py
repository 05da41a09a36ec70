"""`twofold train`: what it sends, prints and exits with."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.twofold import losses
from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.serving import Servers
from twofold import errors
from twofold.v1 import spec_pb2, training_pb2

SPEC = 'model = "digits"\n[data]\ndataset = "xor"\n[network]\nfamily = "mlp"\n'


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "spec.toml"
    file.write_text(SPEC)
    return file


def created(servers: Servers) -> spec_pb2.TrainingSpec:
    (request,) = servers.training.requests
    return request.spec


def test_identifier_first_version_last_progress_on_standard_error(
    twofold: CommandLine, spec: Path
) -> None:
    result = twofold("train", str(spec))

    (job,) = twofold.servers.training.jobs
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [job.removeprefix("jobs/"), "digits@7"]
    lines = result.stderr.splitlines()
    assert lines[0] == "training epoch 1/3  loss 1  accuracy 0.3333  1,234 rows/s  ETA 0:02"
    assert lines[-1] == "succeeded digits@7"


def test_sets_and_model_override_the_spec(
    twofold: CommandLine, spec: Path, servers: Servers
) -> None:
    sets = ["--set", "training.epochs=200", "--set", "network.hidden=[8, 4]", "--set", "model=m"]

    twofold("train", str(spec), *sets, "--model", "named")

    assert created(servers).training.epochs == 200
    assert list(created(servers).network.hidden) == [8, 4]
    assert created(servers).model == "named"


def test_data_file_is_uploaded(
    twofold: CommandLine, spec: Path, servers: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,label\n1,x\n")

    result = twofold("train", str(spec), "--data", str(file))

    assert result.exit_code == 0
    assert created(servers).data.dataset in servers.datasets.contents


def test_spec_may_name_a_file_beside_itself(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.replace('"xor"', '"data/rows.csv"'))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("a,label\n1,x\n")

    result = twofold("train", str(spec))

    assert result.exit_code == 0
    assert created(servers).data.dataset in servers.datasets.contents


def test_a_file_that_is_not_there_is_said_to_be_missing(
    twofold: CommandLine, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.replace('"xor"', '"absent.csv"'))

    result = twofold("train", str(spec))

    assert result.exit_code == 1
    assert "data.dataset is absent.csv; allowed: a file beside the spec" in result.stderr


def test_a_name_that_is_no_file_is_for_the_server_to_judge(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.replace('"xor"', '"nand"'))

    twofold("train", str(spec))

    assert created(servers).data.dataset == "nand"


def test_no_watch_prints_the_identifier_alone(
    twofold: CommandLine, spec: Path, servers: Servers
) -> None:
    result = twofold("train", str(spec), "--no-watch")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert servers.script.count("WatchTrainingJob") == 0


def test_failed_job_exits_with_1_and_one_line(
    twofold: CommandLine, spec: Path, servers: Servers
) -> None:
    servers.training.ending = training_pb2.TrainingJob(
        state=training_pb2.JOB_STATE_FAILED,
        reason=training_pb2.JOB_REASON_DIVERGED,
        message="the loss became NaN\n\x1b[31merror: forged",
    )

    result = twofold("train", str(spec))

    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: WRONG_STATE: jobs/")
    assert last.endswith(r"FAILED (DIVERGED): the loss became NaN\n\x1b[31merror: forged")


def test_refused_spec_exits_with_1_and_names_the_field(
    twofold: CommandLine, spec: Path, servers: Servers
) -> None:
    refusal = errors.InvalidField.of("training.epochs", 0, "1 to 1,000,000")
    servers.script.failures["CreateTrainingJob"] = [refusal]

    result = twofold("train", str(spec))

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: INVALID_FIELD: training.epochs is 0; allowed: 1 to 1,000,000\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.epoch=1"], "training.epoch is not known"),
        (["--set", "epochs"], "KEY=VALUE"),
        (["--module-arg", "width=8"], "--module-arg is width=8; allowed: nothing without --module"),
        (["--data", "absent.csv"], "data is absent.csv; allowed: a file that exists"),
        (["--data", __file__], "data is test_train.py; allowed: a file named *.csv"),
    ],
)
def test_local_errors_are_told_the_same_way(
    twofold: CommandLine, spec: Path, arguments: list[str], message: str
) -> None:
    result = twofold("train", str(spec), *arguments)

    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["absent.toml"], ["absent.toml", "--nonsense"]])
def test_usage_errors_exit_with_2(twofold: CommandLine, arguments: list[str]) -> None:
    result = twofold("train", *arguments)

    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_unreachable_trainer_is_one_line(spec: Path) -> None:
    """In a process of its own: as users run it."""
    command = [sys.executable, "-m", "twofold.cli", "train", str(spec)]
    environment = {**os.environ, "TWOFOLD_TRAIN": "127.0.0.1:1"}

    run = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, env=environment, timeout=25, check=False
    )

    assert run.returncode == 1
    assert run.stderr.startswith("error: UNAVAILABLE: the trainer at 127.0.0.1:1 cannot be reached")
    assert len(run.stderr.splitlines()) == 1


@pytest.fixture
def unignored_interrupt() -> Iterator[None]:
    """Shells start background jobs with SIGINT ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("unignored_interrupt")
def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(spec: Path, servers: Servers) -> None:
    """The watch is interrupted while the server holds back the second event."""
    released = servers.training.hold_after(1)
    command = [sys.executable, "-m", "twofold.cli", "train", str(spec)]
    environment = {**os.environ, "TWOFOLD_TRAIN": servers.train}

    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        job = process.stdout.readline().strip()
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        code = process.wait(20)
    released.set()

    assert code == 130
    assert first.startswith("training epoch 1/3")
    assert f"twofold jobs watch {job}" in rest
    assert f"twofold jobs cancel {job}" in rest
    assert "Traceback" not in rest
    assert servers.script.count("CancelTrainingJob") == 0


def test_a_loss_of_the_users_is_sent_with_the_spec(
    twofold: CommandLine, servers: Servers, spec: Path, tmp_path: Path
) -> None:
    """What the file names was traced before: the tracer is not this test's matter."""
    file = tmp_path / "own_losses.py"
    file.write_text("from tests.twofold import losses\nown = losses.squared()\n")

    result = twofold("train", str(spec), "--loss", f"{file}:own", "--no-watch")

    assert result.exit_code == 0
    assert created(servers).training.loss_graph == losses.squared()
    missing = twofold("train", str(spec), "--loss", f"{file}:other", "--no-watch")
    assert "a name that own_losses.py defines" in missing.stderr

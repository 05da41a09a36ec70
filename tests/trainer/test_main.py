"""`python -m trainer` as a process: its log, its signals, its exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.valkey import Valkey
from trainer.__main__ import main, read_settings
from twofold.config import UnusableSettings

ROOT = Path(__file__).parents[2]


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "trainer", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def environment_for(tmp_path: Path, valkey: Valkey) -> dict[str, str]:
    return {
        "TWOFOLD_STORE": str(tmp_path / "store"),
        "TWOFOLD_REDIS_URL": valkey.url,
        "TWOFOLD_TRAIN_ADDRESS": "127.0.0.1:0",
        "TWOFOLD_METRICS_ADDRESS": "127.0.0.1:0",
        "TWOFOLD_DRAIN_S": "1",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_by_signal_with_0(
    tmp_path: Path, valkey: Valkey, number: signal.Signals
) -> None:
    process = start(environment_for(tmp_path, valkey), "--role", "api")
    assert process.stderr is not None
    with process, process.stderr as log:
        try:
            line = json.loads(log.readline())
            process.send_signal(number)
            process.wait(timeout=20)
        finally:
            process.kill()

    assert line["message"] == "listening"
    assert line["component"] == "trainer"
    for name in ("address", "metrics"):
        host, _, port = line[name].partition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TWOFOLD_LEASE_S", "-1"),
        ("TWOFOLD_TRAIN_ADDRESS", "0.0.0.0:50051"),
        ("TWOFOLD_ROLE", "boss"),
    ],
)
def test_unusable_settings_end_with_2_and_say_why(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)

    assert main([]) == 2
    assert f"{name} is {value!r}" in capsys.readouterr().err


def test_the_role_of_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_ROLE", "api")

    assert read_settings([]).role == "api"
    assert read_settings(["--role", "worker"]).role == "worker"


def test_settings_are_read_once_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_BEAT_S", "100")

    with pytest.raises(UnusableSettings, match="TWOFOLD_BEAT_S"):
        read_settings([])


def test_the_trainer_imports_no_torch() -> None:
    program = "import sys, trainer.app; sys.exit('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)  # noqa: S603 - ours

    assert done.returncode == 0

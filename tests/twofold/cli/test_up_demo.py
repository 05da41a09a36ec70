from pathlib import Path

import pytest
from typer.testing import CliRunner

from twofold import demo
from twofold.cli import group
from twofold.cli.app import app
from twofold.cluster import up
from twofold.cluster.up import Options


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the commands were asked to run; nothing runs."""
    asked: list[object] = []

    def run(what: object) -> int:
        asked.append(what)
        return 3

    monkeypatch.setattr(up, "run", run)
    monkeypatch.setattr(demo, "run", run)
    return asked


def test_up_has_the_documented_defaults(ran: list[object]) -> None:
    result = CliRunner().invoke(app, ["up"])

    assert result.exit_code == 3
    assert ran == [
        Options(
            Path(".twofold"), "127.0.0.1:50051", "127.0.0.1:8001", "127.0.0.1:8002", redis_url=None
        )
    ]


def test_up_passes_its_options_on(ran: list[object]) -> None:
    words = "up --dir d --train-address :1 --infer-address :2 --metrics-address :3 --redis-url r"
    CliRunner().invoke(app, words.split())

    assert ran == [Options(Path("d"), ":1", ":2", ":3", "r")]


def test_demo_passes_the_examples_on(ran: list[object]) -> None:
    assert CliRunner().invoke(app, ["demo", "--examples", "e"]).exit_code == 3
    assert CliRunner().invoke(app, ["demo"]).exit_code == 3
    assert ran == [Path("e"), None]


@pytest.mark.parametrize("command", ["up", "demo", "collect", "reconcile"])
def test_a_client_alone_is_told_what_to_install(
    ran: list[object], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(group, "_SERVER_PACKAGES", ("torch", "twofold_no_such_package"))
    result = CliRunner().invoke(app, [command])

    assert result.exit_code == 2
    assert "twofold_no_such_package is not installed: pip install 'twofold[embedded]'" in (
        result.stderr
    )
    assert ran == []


@pytest.mark.parametrize("command", ["up", "demo", "collect", "reconcile"])
def test_help_shows_a_working_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])

    assert result.exit_code == 0
    assert f"Example: twofold {command}" in result.stdout

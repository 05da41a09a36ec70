"""`twofold jobs plot`."""

import importlib.util
import json
from pathlib import Path

import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.points import metric_points
from tests.twofold.client.serving import Servers

GONE = "01HZZZZZZZZZZZZZZZZZZZZZZZ"


@pytest.fixture
def job(servers: Servers) -> str:
    name = servers.training.add().name
    servers.training.points[name] = metric_points(9)
    return name.removeprefix("jobs/")


def test_a_job_is_drawn_80_columns_wide_in_ascii(twofold: CommandLine, job: str) -> None:
    result = twofold("jobs", "plot", job)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert result.stdout.isascii()
    assert max(map(len, lines)) == 80
    assert lines[-2:] == [f"  a  {job} training loss", f"  b  {job} validation loss"]


def test_several_jobs_and_metrics_are_drawn(
    twofold: CommandLine, servers: Servers, job: str
) -> None:
    """A version stands for its job."""
    servers.training.points[f"jobs/{GONE}"] = metric_points(5)
    servers.training.jobs[f"jobs/{GONE}"] = servers.training.add()

    result = twofold("jobs", "plot", job, "digits@1", "--metric", "training_loss, accuracy")

    first, second = result.stdout.split("\n\naccuracy\n")
    assert first.splitlines()[-2:] == [f"  a  {job} training loss", "  b  digits@1 training loss"]
    assert second.splitlines()[-2:] == [f"  a  {job} accuracy", "  b  digits@1 accuracy"]


def test_curves_can_be_had_as_json(twofold: CommandLine, servers: Servers, job: str) -> None:
    """All points of them."""
    (chart,) = json.loads(twofold("jobs", "plot", job, "--metric", "accuracy", "--json").stdout)

    assert chart["metric"] == "accuracy"
    (curve,) = chart["curves"]
    assert curve["epochs"] == [2, 4, 6, 8]
    assert curve["values"][0] == 0.5
    assert set(servers.training.max_points) == {0}


def test_a_terminal_needs_not_every_point(twofold: CommandLine, servers: Servers, job: str) -> None:
    twofold("jobs", "plot", job)

    assert set(servers.training.max_points) == {1000}


def test_a_png_is_written_and_replaced(twofold: CommandLine, job: str, tmp_path: Path) -> None:
    out = tmp_path / "curves.png"
    out.write_bytes(b"old")

    result = twofold("jobs", "plot", job, "--out", str(out), "--metric", "loss,accuracy")

    data = out.read_bytes()
    assert result.stdout == f"{out}\n"
    assert data.startswith(b"\x89PNG")
    width, height = (int.from_bytes(data[start : start + 4]) for start in (16, 20))
    assert (width, height) == (1200, 1200)


def test_an_svg_holds_its_text_and_is_the_same_again(
    twofold: CommandLine, job: str, tmp_path: Path
) -> None:
    outs = [tmp_path / "a.svg", tmp_path / "b.SVG"]
    for out in outs:
        twofold("jobs", "plot", job, "--out", str(out), "--log")

    text = outs[0].read_text(encoding="utf-8")
    assert f"{job} validation loss" in text
    assert outs[1].read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "acuracy"], "--metric is acuracy; allowed: loss, learning_rate"),
        (["--metric", " ,"], "--metric is ' ,'; allowed: names such as loss,accuracy"),
        (["--metric", "", "--out", "a.png"], "--metric is ''; allowed: names such as loss,acc"),
        (["--out", "curves.gif"], "out is curves.gif; allowed: a file named .png or .svg"),
        (["--out", "/nowhere/curves.png"], "/nowhere/curves.png cannot be written: No such file"),
    ],
)
def test_what_is_wrong_is_one_line(
    twofold: CommandLine, job: str, arguments: list[str], message: str
) -> None:
    result = twofold("jobs", "plot", job, *arguments)

    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_job_that_has_not_trained_says_so(twofold: CommandLine, servers: Servers) -> None:
    result = twofold("jobs", "plot", servers.training.add().name)

    assert "allowed: nothing yet: no epoch has ended" in result.stderr


def test_files_need_an_extra_and_the_command_says_which(
    twofold: CommandLine, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)

    result = twofold("jobs", "plot", job, "--out", "curves.png")

    assert result.exit_code == 2
    assert "matplotlib is not installed: pip install 'twofold[plot]'" in result.stderr

"""The command line's surface, frozen: changing it takes a change here."""

import re
import shlex

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from twofold import __version__
from twofold.cli.app import app

SURFACE = {
    "": ["--train", "--infer", "--version"],
    "train": [
        "SPEC.toml",
        "--data",
        "--model",
        "--set",
        "--module",
        "--module-arg",
        "--loss",
        "--watch",
    ],
    "predict": ["MODEL[@VERSION|:ALIAS]", "--rows", "--out", "--format", "--batch-size"],
    "evaluate": ["MODEL[@VERSION|@ALIAS]", "--data", "--target", "--out", "--json"],
    "bench": [
        "MODEL",
        "--infer",
        "--version",
        "--concurrency",
        "--rate",
        "--connections",
        "--rows",
        "--shape",
        "--data",
        "--duration",
        "--warmup",
        "--timeout",
        "--arrivals",
        "--seed",
        "--server-pid",
        "--json",
    ],
    "catalogue": ["FAMILY", "--json"],
    "up": [
        "--dir",
        "--train-address",
        "--infer-address",
        "--metrics-address",
        "--redis-url",
        "--transport",
    ],
    "demo": ["--examples"],
    "reconcile": ["--dir", "--json"],
    "collect": ["--dir", "--dry-run", "--json"],
    "jobs": [],
    "jobs list": ["--state", "--model", "--limit", "--json"],
    "jobs get": ["JOB", "--json"],
    "jobs watch": ["JOB"],
    "jobs logs": ["JOB", "--follow", "--json"],
    "jobs compare": ["JOB|MODEL@VERSION...", "--json"],
    "jobs plot": ["JOB|MODEL@VERSION...", "--metric", "--out", "--log", "--json"],
    "jobs cancel": ["JOB"],
    "jobs retry": ["JOB", "--watch"],
    "datasets": [],
    "datasets put": ["FILE", "--quiet", "--json"],
    "datasets list": ["--limit", "--json"],
    "datasets get": ["DATASET", "--json"],
    "datasets rm": ["DATASET"],
    "models": [],
    "models list": ["--limit", "--json"],
    "models get": ["MODEL", "--json"],
    "models versions": ["MODEL", "--limit", "--json"],
    "models alias": ["MODEL@VERSION", "ALIAS"],
    "models lineage": ["MODEL[@VERSION|:ALIAS]", "--json"],
    "models push": [
        "MODEL",
        "--module",
        "--data",
        "--module-arg",
        "--weights",
        "--set",
        "--watch",
    ],
    "models pull": ["MODEL[@VERSION|@ALIAS]", "--out", "--json"],
    "models export": ["MODEL[@VERSION|@ALIAS]|DIR", "--out", "--format"],
    "models rollback": ["MODEL[@VERSION]", "--json"],
    "models rm": ["MODEL@VERSION"],
}


def surface() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}

    def visit(command: object, path: str) -> None:
        parameters = getattr(command, "params", [])
        found[path] = [
            parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
            for parameter in parameters
        ]
        for name, below in getattr(command, "commands", {}).items():
            visit(below, f"{path} {name}".strip())

    visit(typer.main.get_command(app), "")
    return found


def test_surface_is_frozen() -> None:
    assert surface() == SURFACE


def examples(command: str) -> list[list[str]]:
    """The command lines that a command's help shows, as words after "twofold"."""
    text = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    lines = [
        paragraph.removeprefix("Example: ").rpartition("| ")[2]
        for paragraph in paragraphs
        if paragraph.startswith("Example: ")
    ]
    return [shlex.split(re.sub(r"\$\(.*\)", "OUTPUT", line))[1:] for line in lines]


@pytest.mark.parametrize("command", [name for name in SURFACE if name])
def test_help_of_every_command_shows_examples_that_parse(command: str) -> None:
    """Files are those of the repository, so that a renamed one is noticed."""
    shown = examples(command)

    assert shown
    for words in shown:
        assert words[: len(command.split())] == command.split()
        found, rest = typer.main.get_command(app), words
        while isinstance(found, TyperGroup):
            found, rest = found.commands[rest[0]], rest[1:]
        found.make_context("twofold", rest)


def test_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{__version__}\n"


def test_addresses_come_from_the_environment() -> None:
    result = CliRunner().invoke(
        app, ["models", "list"], env={"TWOFOLD_TRAIN": "127.0.0.1:1", "TWOFOLD_INFER": "x:1"}
    )

    assert result.exit_code == 1
    assert "the trainer at 127.0.0.1:1" in result.stderr

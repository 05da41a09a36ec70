"""twofold catalogue: families and options, as the tables have them and a spec takes them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

from twofold import toml_spec
from twofold.cli.app import app
from twofold.nets import catalogue_options
from twofold.v1 import spec_pb2

_FAMILIES = [catalogue_options.family_word(family) for family in catalogue_options.FAMILIES]


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["catalogue", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_family_of_a_spec_is_listed_with_its_tasks_and_data() -> None:
    lines = run().splitlines()

    choices = [word for word in toml_spec.choices_of("network.family") if word != "module"]
    assert [line.split()[0] for line in lines[1:]] == choices
    [gru] = [line for line in lines if line.startswith("gru ")]
    assert "classification, regression, multilabel  one array [time steps, features]" in gru
    [perceptron] = [line for line in lines if line.startswith("perceptron ")]
    assert "regression" not in perceptron


def test_a_family_is_shown_with_losses_ranges_and_defaults() -> None:
    text = run("resnet")

    assert "regression      mse, l1, huber, quantile (the first by default)" in text
    assert (
        "network.channels, by default [16, 32, 64]\n"
        "  Channels of each stage; all but the first halve height and width.\n"
        "  list of whole number in [1, 65,536], at most 16\n"
    ) in text
    assert "network.normalization, by default batch\n" in text
    assert "\n  none, batch, group" in text
    assert "hidden" not in text


def test_a_family_without_options_says_so() -> None:
    assert run("linear").splitlines()[-1].split() == ["options", "none"]


@pytest.mark.parametrize("family", _FAMILIES)
def test_json_has_what_a_spec_takes(family: str) -> None:
    """Every choice and default that is told is accepted for that very family."""
    told = json.loads(run(family, "--json"))

    assert told["family"] == family
    assert told["tasks"]
    for option in cast("list[dict[str, str]]", told["options"]):
        assert all(option.values())
        for word in [*option["allowed"].split(", "), option["default"]]:
            name = option["name"].removeprefix("network.")
            if word not in _choices(name):
                continue
            tree = {"network": {"family": family, name: word}}
            catalogue_options.check(toml_spec.from_dict(tree).network)


def _choices(name: str) -> list[str]:
    """The choices of an option; none for a number."""
    is_choice = catalogue_options.OPTIONS[name].kind == "choice"
    return list(toml_spec.choices_of(f"network.{name}")) if is_choice else []


def test_all_families_in_json_are_those_one_by_one() -> None:
    told = json.loads(run("--json"))

    assert [one["family"] for one in told] == _FAMILIES
    assert told[-1] == json.loads(run("gru", "--json"))
    defaults = {option["name"]: option["default"] for option in told[-1]["options"]}
    filled = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_GRU)
    catalogue_options.fill(filled)
    assert defaults["network.width"] == str(filled.width)


def test_a_family_that_is_none_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["catalogue", "transformer"])

    assert result.exit_code == 2
    assert "'transformer' is none of neuron, perceptron" in " ".join(result.stderr.split())


@pytest.mark.parametrize("words", [[], ["cnn"]], ids=["all", "one"])
def test_the_documentation_shows_what_is_printed(words: list[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")

    command = " ".join(["twofold catalogue", *words])
    assert f"```\n$ {command}\n{run(*words)}```\n" in page


def test_it_needs_neither_torch_nor_a_server() -> None:
    code = (
        "import sys; from twofold.cli.app import app;"
        "app(['--train', '127.0.0.1:1', 'catalogue', 'mlp'], standalone_mode=False);"
        "assert 'torch' not in sys.modules"
    )

    done = subprocess.run(  # noqa: S603 - of this test
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "network.hidden, by default [64]" in done.stdout

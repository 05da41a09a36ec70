"""`twofold datasets` and `twofold models`."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.serving import Servers
from twofold import errors
from twofold.cli.models import lineage_of
from twofold.v1.model_pb2 import Lineage, ModelVersion


def test_put_prints_the_identifier_and_the_columns(twofold: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,label\n1,x\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    text = twofold("datasets", "put", str(file)).stdout
    quiet = twofold("datasets", "put", str(file), "-q").stdout
    found = json.loads(twofold("datasets", "put", str(file), "--json").stdout)

    assert text.splitlines()[0] == digest
    assert "a       real                0        1" in text
    assert quiet == f"{digest}\n"
    assert found["size_bytes"] == 12


def test_refused_data_name_row_and_column(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a\nx\n")
    refusal = errors.InvalidData("row 1, column a is 'x'", row=1, column="a")
    servers.script.failures["UploadDataset"] = [refusal]

    result = twofold("datasets", "put", str(file))

    assert result.exit_code == 1
    assert result.stderr == "error: INVALID_DATA: row 1, column a is 'x'\n"


def test_datasets_are_listed_shown_and_removed(twofold: CommandLine, servers: Servers) -> None:
    servers.datasets.add("a" * 64, "evil\x1b[31m\nname", 1536)

    listed = twofold("datasets", "list").stdout.splitlines()
    as_json = json.loads(twofold("datasets", "list", "--json").stdout)
    shown = twofold("datasets", "get", "a" * 64).stdout
    removed = twofold("datasets", "rm", "a" * 64)
    gone = twofold("datasets", "get", "a" * 64, "--json")

    assert len(listed) == 2
    assert r"evil\x1b[31m\nname" in listed[1]
    assert "1.5 KiB" in listed[1]
    assert as_json[0]["row_count"] == 3
    assert "rows     3" in shown
    assert removed.exit_code == 0
    assert gone.exit_code == 1


def test_models_are_listed_and_shown(twofold: CommandLine) -> None:
    header, line = twofold("models", "list").stdout.splitlines()

    assert header.split() == ["MODEL", "CURRENT", "VERSIONS", "ALIASES"]
    assert line.split() == ["digits", "3", "3", "stable=2"]
    assert json.loads(twofold("models", "list", "--json").stdout)[0]["current_version"] == 3
    assert "aliases   stable=2" in twofold("models", "get", "digits").stdout
    assert json.loads(twofold("models", "get", "digits", "--json").stdout)["aliases"] == {
        "stable": 2
    }


def test_versions_are_listed(twofold: CommandLine, servers: Servers) -> None:
    servers.models.withdrawn.add(3)

    lines = twofold("models", "versions", "digits").stdout.splitlines()
    as_json = json.loads(twofold("models", "versions", "digits", "--json").stdout)

    assert lines[1].split()[:2] == ["digits@3", "withdrawn"]
    assert lines[2].split()[:2] == ["digits@2", "stable"]
    assert [version["manifest"]["version"] for version in as_json] == [3, 2, 1]


def test_alias_is_moved(twofold: CommandLine, servers: Servers) -> None:
    result = twofold("models", "alias", "digits@1", "stable")

    assert result.exit_code == 0
    assert "stable=1" in result.stdout
    assert servers.models.model.aliases["stable"] == 1


@pytest.mark.parametrize(
    ("reference", "number"), [("digits", 3), ("digits@1", 1), ("digits:stable", 2)]
)
def test_lineage_of_a_version_alias_or_the_current_one(
    twofold: CommandLine, reference: str, number: int
) -> None:
    text = twofold("models", "lineage", reference).stdout
    found = json.loads(twofold("models", "lineage", reference, "--json").stdout)

    assert f"version   digits@{number}" in text
    assert "job       01HZZZZZZZZZZZZZZZZZZZZZZZ" in text
    assert "dataset   builtin/xor" in text
    assert found["manifest"]["lineage"]["epoch"] == 42


@pytest.mark.parametrize(
    ("lineage", "told"),
    [
        (Lineage(epoch=3, training_row_count=80, validation_row_count=20), "80 training, 20 held"),
        (Lineage(training_row_count=80), "80 measured, none trained on"),
        (Lineage(training_row_count=80, validation_row_count=20), "20 measured, none trained on"),
    ],
)
def test_lineage_of_weights_as_they_came_says_that_nothing_was_trained(
    lineage: Lineage, told: str
) -> None:
    version = ModelVersion()
    version.manifest.lineage.MergeFrom(lineage)

    assert str(lineage_of(version)["rows"]).startswith(told)


def test_lineage_names_the_version_that_training_began_from() -> None:
    version = ModelVersion()
    version.manifest.lineage.parent = "models/digits/versions/2"

    assert lineage_of(version)["parent"] == "digits@2"


def test_rm_withdraws_and_tells_what_is_served(twofold: CommandLine, servers: Servers) -> None:
    servers.models.model.current_version = 0

    result = twofold("models", "rm", "digits@3")

    assert result.stdout == "withdrawn; served by default: none\n"
    assert servers.models.withdrawn == {3}


def test_rollback_tells_what_went_and_what_serves(twofold: CommandLine, servers: Servers) -> None:
    result = twofold("models", "rollback", "digits")

    assert result.stdout == "digits@3 is withdrawn; digits@2 is served by default\n"
    assert (servers.models.rollbacks, servers.models.withdrawn) == ([0], {3})


def test_rollback_by_version_sends_it_and_tells_who_was_first(
    twofold: CommandLine, servers: Servers
) -> None:
    servers.models.withdrawn.add(3)
    told = "digits@3 was withdrawn before, 2026-01-02T03:04:05Z by local; digits@2 is served by"

    named = twofold("models", "rollback", "digits@3")
    asked = twofold("models", "rollback", "digits")
    found = json.loads(twofold("models", "rollback", "digits@3", "--json").stdout)

    assert named.stdout == f"{told} default\n"
    assert asked.stdout == "digits@2 is withdrawn; digits@1 is served by default\n"
    assert servers.models.rollbacks == [3, 0, 3]
    assert found["withdrawn"] == "models/digits/versions/3"


def test_rollback_without_a_version_says_how_to_go_on(
    twofold: CommandLine, servers: Servers
) -> None:
    servers.models.withdrawn |= {3}
    servers.models.model.current_version = 3  # another has just withdrawn it

    lines = twofold("models", "rollback", "digits").stdout.splitlines()

    assert lines[1] == "to withdraw that too: twofold models rollback digits@2"


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollback", "digits:stable"],
        ["rollback", "digits@stable"],
        ["rollback", "digits@0"],
        ["rm", "digits"],
        ["rm", "digits:stable"],
        ["alias", "digits", "stable"],
        ["lineage", "digits@x@y"],
        ["lineage", "digits@1:stable"],
        ["lineage", "@1"],
        ["lineage", "digits@" + "9" * 30],
        ["lineage", ""],
    ],
)
def test_wrong_references_are_usage_errors(twofold: CommandLine, arguments: list[str]) -> None:
    result = twofold("models", *arguments)

    assert result.exit_code == 2
    assert "is not MODEL" in result.stderr


def test_pull_tells_what_it_wrote_and_the_digests(twofold: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "out"

    first = twofold("models", "pull", "digits@stable", "--out", str(out))
    again = twofold("models", "pull", "digits@2", "--out", str(out))
    found = json.loads(twofold("models", "pull", "digits@2", "--out", str(out), "--json").stdout)

    assert first.stdout.startswith(f"digits@2 in {out}\n")
    assert again.stdout.startswith(f"digits@2 in {out} (there already, verified; nothing written)")
    own = hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest()
    assert own in first.stdout
    assert (found["manifest_sha256"], found["written"]) == (own, False)
    assert {file["name"] for file in found["files"]} == {path.name for path in out.iterdir()}


def test_pull_refuses_other_content(twofold: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    result = twofold("models", "pull", "digits", "--out", str(tmp_path))

    assert result.exit_code == 1
    assert "error: INVALID_FIELD: out is" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

"""`twofold predict`: rows in, answers out."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.serving import Servers

CSV = "label,b,extra,a\nyes,1,?,2\nno,2,?,1\n"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text(CSV)
    return file


def test_json_lines_name_label_probabilities_and_version(twofold: CommandLine, rows: Path) -> None:
    result = twofold("predict", "digits", "--rows", str(rows))

    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"row": 1, "label": "yes", "probabilities": {"no": 0.0, "yes": 1.0}, "version": 3},
        {"row": 2, "label": "no", "probabilities": {"no": 1.0, "yes": 0.0}, "version": 3},
    ]


def test_csv_has_a_column_per_label(twofold: CommandLine, rows: Path) -> None:
    result = twofold("predict", "digits@3", "--rows", str(rows), "--format", "csv")

    assert result.stdout.splitlines() == [
        "label,probabilities.no,probabilities.yes,version",
        "yes,0.0,1.0,3",
        "no,1.0,0.0,3",
    ]


def test_version_and_alias_are_asked_for(
    twofold: CommandLine, servers: Servers, rows: Path
) -> None:
    twofold("predict", "digits@3", "--rows", str(rows))
    twofold("predict", "digits:stable", "--rows", str(rows))

    asked = [request.model_version for request in servers.inferer.requests]
    assert asked == ["3", ":stable"]


def test_standard_input_is_csv_and_streams_in_batches(
    twofold: CommandLine, servers: Servers
) -> None:
    text = "a,b\n" + "".join(f"{number},4.5\n" for number in range(10))

    result = twofold("predict", "digits", "--rows", "-", "--batch-size", "4", text=text)

    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["row"] for answer in answers] == list(range(1, 11))
    assert [answer["label"] for answer in answers] == ["no"] * 5 + ["yes"] * 5
    assert [len(inputs["x"]) for inputs in servers.inferer.inputs] == [4, 4, 2]


def test_regression_answers_plain_numbers(
    twofold: CommandLine, servers: Servers, rows: Path
) -> None:
    servers.inferer.is_regression = True

    as_json = twofold("predict", "digits", "--rows", str(rows)).stdout.splitlines()
    as_csv = twofold("predict", "digits", "--rows", str(rows), "--format", "csv")

    assert json.loads(as_json[0]) == {"row": 1, "value": 3.0, "version": 3}
    assert as_csv.stdout.splitlines() == ["value,version", "3.0,3", "3.0,3"]


def test_npy_rows_are_taken_as_they_stand(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "rows.npy"
    np.save(file, np.array([[2, 1], [1, 2]], dtype=np.int16))

    result = twofold("predict", "digits", "--rows", str(file))

    assert result.exit_code == 0
    assert servers.inferer.inputs[0]["x"].tolist() == [[2.0, 1.0], [1.0, 2.0]]


def test_version_published_meanwhile_has_its_own_labels(
    twofold: CommandLine, servers: Servers, rows: Path
) -> None:
    """The second row is answered by a version with other labels."""

    def swap() -> None:
        if servers.inferer.requests:
            servers.inferer.version = 4
            servers.inferer.properties = {"labels": '["never", "always"]'}

    servers.inferer.on_infer = swap
    arguments = ["predict", "digits", "--rows", str(rows), "--batch-size", "1"]

    lines = twofold(*arguments).stdout.splitlines()

    assert list(json.loads(lines[0])["probabilities"]) == ["no", "yes"]
    assert list(json.loads(lines[1])["probabilities"]) == ["never", "always"]
    assert json.loads(lines[1])["version"] == 4


def test_csv_is_ended_where_its_header_would_lie(
    twofold: CommandLine, servers: Servers, rows: Path
) -> None:
    def swap() -> None:
        if servers.inferer.requests:
            servers.inferer.version = 4
            servers.inferer.properties = {"labels": '["never", "always"]'}

    servers.inferer.on_infer = swap
    arguments = ["--rows", str(rows), "--batch-size", "1", "--format", "csv"]

    result = twofold("predict", "digits", *arguments)

    assert result.exit_code == 1
    assert "name a version: digits@4" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_unknown_model_is_told_with_what_there_is(twofold: CommandLine, rows: Path) -> None:
    result = twofold("predict", "other", "--rows", str(rows))

    assert result.exit_code == 1
    assert result.stderr == ("error: NOT_FOUND: models/other does not exist; available: digits\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["digits"],
        ["digits", "--rows", "absent.csv"],
        ["digits", "--rows", __file__],
        ["digits@3:stable", "--rows", "-"],
        ["digits", "--rows", "-", "--format", "xml"],
        ["digits", "--rows", "-", "--batch-size", "0"],
    ],
)
def test_usage_errors_exit_with_2(twofold: CommandLine, arguments: list[str]) -> None:
    assert twofold("predict", *arguments).exit_code == 2


def test_bad_cell_is_named_by_row_and_column(twofold: CommandLine) -> None:
    result = twofold("predict", "digits", "--rows", "-", text="a,b\n1,2\n1,x\n")

    assert result.exit_code == 1
    assert result.stderr == ("error: INVALID_DATA: row 2, column b is 'x'; expected a number\n")

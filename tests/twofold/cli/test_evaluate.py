"""`twofold evaluate`: what is served, measured on rows with their truth."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.serving import Servers
from twofold import evaluation
from twofold.cli import reports

# pyarrow ships no types.
pa: Any = import_module("pyarrow")
pq: Any = import_module("pyarrow.parquet")
#: The fake answers yes where a > b, surely: the first two rows are right, the third is wrong.
CSV = "label,b,a\nyes,1,2\nno,2,1\nyes,2,1\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "truth.csv"
    file.write_text(CSV)
    return file


def test_a_classifier_is_measured(twofold: CommandLine, data: Path) -> None:
    result = twofold("evaluate", "digits", "--data", str(data))

    assert result.exit_code == 0
    summary, classes, confusion, bins = result.stdout.rstrip("\n").split("\n\n")
    assert summary.splitlines() == [
        "rows               3",
        "accuracy           0.6667",
        "F1                 macro 0.6667  micro 0.6667  weighted 0.6667",
        "log loss           11.51 nats",
        "Brier score        0.6667 of 2",
        "calibration error  0.3333 (expected, 15 bins)",
        "ROC AUC            0.7500",
    ]
    assert classes.splitlines()[1:] == [
        "no     0.5000     1.0000  0.6667  1",
        "yes    1.0000     0.5000  0.6667  2",
    ]
    assert confusion.splitlines() == [
        "truth \\ answer  no  yes",
        "no               1    .",
        "yes              1    1",
    ]
    assert bins.splitlines()[1:] == ["0.93-1.00    3     1.0000      0.6667    -0.333"]
    assert result.stderr.endswith("version 3\n")


def test_json_has_all_of_it_and_may_be_kept(
    twofold: CommandLine, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"

    text = twofold("evaluate", "digits", "--data", str(data), "--json", "--out", str(out)).stdout

    found = json.loads(text)
    assert json.loads(out.read_text()) == found
    assert (found["model"], found["version"]) == ("digits", 3)
    assert found["classification"]["confusion"] == [[1, 0], [1, 1]]
    assert len(found["classification"]["bins"]) == 15


def test_rows_go_to_the_served_version_in_batches(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "truth.parquet"
    count = 600
    columns = {"a": [2.0] * count, "b": [1.0] * count, "truth": pa.array([True] * count)}
    pq.write_table(pa.table(columns), file)
    servers.inferer.properties = {"labels": '["false", "true"]'}

    result = twofold("evaluate", "digits:stable", "--data", str(file), "--target", "truth")

    # The fake's own labels are others: told, not counted as wrong.
    assert result.exit_code == 1
    assert "row 1, the model's answer is 'yes'; the model's labels: false, true" in result.stderr
    assert {request.model_version for request in servers.inferer.requests} == {"3"}
    assert max(len(inputs["x"]) for inputs in servers.inferer.inputs) == 256


def test_a_regression_is_measured(twofold: CommandLine, servers: Servers, data: Path) -> None:
    """The fake answers a + b, which is 3 in each row."""
    servers.inferer.is_regression = True
    data.write_text("label,b,a\n3,1,2\n5,2,1\n4,2,1\n")

    result = twofold("evaluate", "digits", "--data", str(data))

    assert result.stdout.splitlines() == [
        "target          label",
        "rows            3",
        "RMSE            1.291",
        "MAE             1",
        "median |error|  1",
        "R2              -1.5",
        "answer - truth  0% -2  5% -1.9  25% -1.5  50% -1  75% -0.5  95% -0.1  100% 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,b,a\nmaybe,1,2\n", "row 1, column label is 'maybe'; the model's labels: no, yes"),
        ("label,b,a\n", "there are no rows to measure"),
        ("b,a\n1,2\n", "column label is missing; it is what answers are compared with, name ano"),
        ("label,b,a\nyes,1,x\n", "row 1, column a is 'x'; expected a number"),
    ],
)
def test_bad_rows_are_named(twofold: CommandLine, data: Path, text: str, message: str) -> None:
    data.write_text(text)

    result = twofold("evaluate", "digits", "--data", str(data))

    assert result.exit_code == 1
    assert message in result.stderr


def test_as_many_targets_as_the_model_has(
    twofold: CommandLine, servers: Servers, data: Path
) -> None:
    two = ["evaluate", "digits", "--data", str(data), "--target", "a", "--target", "b"]
    assert twofold(*two).exit_code == 2

    servers.inferer.is_regression = True
    result = twofold(*two)

    assert result.exit_code == 1
    assert "target is a, b; allowed: 1 columns, as the model has targets" in result.stderr


def test_a_model_that_names_no_target_asks_for_it(
    twofold: CommandLine, servers: Servers, data: Path
) -> None:
    servers.inferer.properties = {"target": ""}

    assert "--target COLUMN" in twofold("evaluate", "digits", "--data", str(data)).stderr


def scores(count: int) -> evaluation.Classification:
    import numpy as np  # noqa: PLC0415 - for this helper alone

    truth = np.arange(count)
    answer = np.roll(truth, 1)
    return evaluation.classification(
        np.eye(count)[answer], answer, truth, [f"a rather long label {n}" for n in range(count)]
    )


@pytest.mark.parametrize("count", [2, 12, 13, 200])
def test_reports_are_no_wider_than_a_terminal(count: int) -> None:
    text = reports.text(scores(count))

    assert max(map(len, text.splitlines())) <= 150
    assert ("most confused of" in text) == (count > 12)


def test_several_labels_are_measured_each(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    """The fake says yes where a > b, else no: of the third row it says yes, which is not there."""
    servers.inferer.is_multilabel = True
    servers.inferer.properties = {"task": "multilabel", "targets": '["no", "yes"]'}
    file = tmp_path / "truth.csv"
    file.write_text("a,b,no,yes\n2,1,0,1\n1,2,true,FALSE\n2,1,0,0\n")

    result = twofold("evaluate", "digits", "--data", str(file))

    assert result.exit_code == 0
    summary, labels = result.stdout.rstrip("\n").split("\n\n")
    assert summary.splitlines() == [
        "rows          3",
        "accuracy      0.6667 (every label right)",
        "Hamming loss  0.1667",
        "F1            macro 0.8333  micro 0.8000",
        "log loss      5.756 nats",
    ]
    assert labels.splitlines()[1:] == [
        "no     1.0000     1.0000  1.0000  1",
        "yes    0.5000     1.0000  0.6667  1",
    ]
    found = json.loads(twofold("evaluate", "digits", "--data", str(file), "--json").stdout)
    assert found["multilabel"]["labels"][1]["precision"] == 0.5


def test_a_label_that_is_no_flag_is_named(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    servers.inferer.is_multilabel = True
    servers.inferer.properties = {"task": "multilabel", "targets": '["no", "yes"]'}
    file = tmp_path / "truth.csv"
    file.write_text("a,b,no,yes\n2,1,0,1\n1,2,0,maybe\n")

    result = twofold("evaluate", "digits", "--data", str(file))
    assert "row 2, column yes is 'maybe'; needed are 0 and 1" in result.stderr
    result = twofold("evaluate", "digits", "--data", str(file), "--target", "yes")
    assert "needed for each of its labels: no, yes" in " ".join(result.stderr.split())

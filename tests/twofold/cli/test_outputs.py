"""`twofold predict --out`: whole files or none."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.serving import Servers
from twofold.cli import outputs
from twofold.cli.answers import Format
from twofold.client import Prediction, Signature
from twofold.errors import Conflict

pq: Any = import_module("pyarrow.parquet")  # pyarrow ships no types
CSV = "label,b,extra,a\n" + "yes,1,?,2\nno,2,?,1\n" * 5


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "in" / "rows.csv"
    file.parent.mkdir()
    file.write_text(CSV)
    return file


def test_parquet_has_a_column_per_label_and_the_version(
    twofold: CommandLine, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.parquet"

    result = twofold(
        "predict", "digits", "--rows", str(rows), "--out", str(out), "--batch-size", "3"
    )

    assert (result.exit_code, result.stdout) == (0, "")
    table = pq.read_table(out)
    assert {field.name: str(field.type) for field in table.schema} == {
        "label": "string",
        "probabilities.no": "float",
        "probabilities.yes": "float",
        "version": "int64",
    }
    assert table.column("label").to_pylist() == ["yes", "no"] * 5
    assert table.column("probabilities.yes").to_pylist() == [1.0, 0.0] * 5
    assert set(table.column("version").to_pylist()) == {3}
    assert pq.ParquetFile(out).num_row_groups == 1


def test_what_is_ignored_and_done_is_told_on_standard_error(
    twofold: CommandLine, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.csv"

    lines = twofold("predict", "digits", "--rows", str(rows), "--out", str(out)).stderr.splitlines()

    assert lines[0] == "ignored, as the model does not ask for them: label, extra"
    assert lines[1].startswith("10 rows in ")
    assert lines[1].endswith(" rows/s), version 3")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_is_what_standard_output_would_have(
    twofold: CommandLine, rows: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"answers.{suffix}"

    twofold("predict", "digits", "--rows", str(rows), "--out", str(out))
    shown = twofold("predict", "digits", "--rows", str(rows), "--format", suffix).stdout

    assert out.read_text() == shown
    if suffix == "jsonl":
        assert json.loads(shown.splitlines()[9])["row"] == 10


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_failure_leaves_what_was_there(
    twofold: CommandLine, rows: Path, tmp_path: Path, suffix: str
) -> None:
    rows.write_text(CSV + "no,x,?,1\n")
    out = tmp_path / f"answers.{suffix}"
    out.write_text("of yesterday")

    result = twofold(
        "predict", "digits", "--rows", str(rows), "--out", str(out), "--batch-size", "2"
    )

    assert result.exit_code == 1
    assert "row 11, column b is 'x'; expected a number" in result.stderr
    assert out.read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "in"]


def test_missing_columns_are_named(twofold: CommandLine, rows: Path, tmp_path: Path) -> None:
    rows.write_text("a,c\n1,2\n")

    result = twofold("predict", "digits", "--rows", str(rows), "--out", str(tmp_path / "a.csv"))

    assert result.exit_code == 1
    assert "column b is missing; the model needs it once" in result.stderr


def test_all_of_a_file_is_by_the_version_served_at_first(
    twofold: CommandLine, servers: Servers, rows: Path, tmp_path: Path
) -> None:
    twofold(
        "predict", "digits:stable", "--rows", str(rows), "--out", str(tmp_path / "a.csv"),
        "--batch-size", "2",
    )  # fmt: skip

    assert [request.model_version for request in servers.inferer.requests] == ["3"] * 5


def test_other_suffixes_are_usage_errors(twofold: CommandLine, rows: Path, tmp_path: Path) -> None:
    result = twofold("predict", "digits", "--rows", str(rows), "--out", str(tmp_path / "a.xlsx"))

    assert result.exit_code == 2
    assert "is not .jsonl, .csv or .parquet" in result.stderr


def test_a_folder_that_is_not_there_is_named(
    twofold: CommandLine, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "no" / "a.csv"

    result = twofold("predict", "digits", "--rows", str(rows), "--out", str(out))

    assert result.exit_code == 1
    assert f"{out} cannot be written: No such file or directory" in result.stderr


SIGNATURE = Signature("m", 1, ("a",), (), (), "y")


def values(count: int, width: int = 1) -> Prediction:
    return Prediction("m", 1, {"value": np.zeros((count, width), np.float32)}, {})


def test_row_groups_are_large_and_columns_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "GROUP_ROWS", 10)
    out = tmp_path / "a.parquet"
    with outputs.opened(out, Format.CSV) as writer:
        for _ in range(7):
            writer.write(values(4), SIGNATURE)
        with pytest.raises(Conflict, match="other outputs"):
            writer.write(values(4, width=2), SIGNATURE)

    file = pq.ParquetFile(out)
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert sizes == [12, 12, 4]


def test_no_rows_are_an_empty_table(twofold: CommandLine, rows: Path, tmp_path: Path) -> None:
    rows.write_text("a,b\n")

    result = twofold("predict", "digits", "--rows", str(rows), "--out", str(tmp_path / "a.parquet"))

    assert result.exit_code == 0
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from twofold import demo
from twofold.errors import Unavailable
from twofold.v1 import model_pb2, training_pb2


def test_without_examples_it_says_where_it_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run(tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().out


def test_the_loop_notes_each_change_of_version_once() -> None:
    answers = iter([1, 1, 2, 2, 2])
    last = threading.Event()

    def ask() -> int:
        number = next(answers, None)
        if number is None:
            last.set()
        return number or 2

    with demo.PredictionLoop(ask) as loop:
        loop.wait_for(2, timeout_s=10)
        assert last.wait(10)

    assert [version for version, _ in loop.changes] == [1, 2]
    assert loop.started_s <= loop.changes[0][1] <= loop.changes[1][1]
    assert loop.count >= 5
    assert loop.failures == []


def test_the_loop_counts_failures_and_goes_on() -> None:
    calls = iter([None, 1])

    def ask() -> int:
        number = next(calls, 1)
        if number is None:
            raise Unavailable("draining")
        return number

    with demo.PredictionLoop(ask) as loop:
        loop.wait_for(1, timeout_s=10)

    assert loop.failures == ["Unavailable: draining"]


def test_a_version_that_never_answers_fails_the_demo() -> None:
    with (
        demo.PredictionLoop(lambda: 1) as loop,
        pytest.raises(demo.DemoFailed, match="no answer by version 2"),
    ):
        loop.wait_for(2, timeout_s=0.05)


def test_latencies_are_of_single_rows_after_a_warm_up() -> None:
    asked: list[int] = []

    p50, p99 = demo.latencies_ms(asked.append, row_count=7)

    assert set(asked) == set(range(7))
    assert len(asked) == 520
    assert 0 <= p50 <= p99 < 1_000


def test_held_out_rows_are_put_in_the_models_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"b": [3, 4], "digit": [7, 8], "a": [1, 2]})
    parquet.write_table(table, path)

    held_out = demo.read_held_out(path, "digit")

    assert held_out.labels.tolist() == ["7", "8"]
    assert held_out.matrix(["a", "b"]).tolist() == [[1, 3], [2, 4]]
    assert held_out.matrix(["a"]).dtype == np.float32


@pytest.mark.parametrize(("gap_ms", "text"), [(12.3, "12 ms after"), (-8.6, "9 ms before")])
def test_a_gap_is_before_or_after(gap_ms: float, text: str) -> None:
    assert demo.describe_gap(gap_ms) == text


def test_a_line_of_progress_has_what_there_is() -> None:
    progress = training_pb2.Progress(
        epoch=5, epoch_count=60, loss=0.5, metrics={"accuracy": 0.75}, rows_per_second=12_345
    )

    line = demo.progress_line(progress)
    assert line == "epoch    5/60  loss 0.5000  accuracy 0.7500  12,345 rows/s"
    progress.validation_loss = 0.25
    assert "validation loss 0.2500" in demo.progress_line(progress)


def test_the_lineage_of_a_version_names_job_data_and_digests() -> None:
    version = model_pb2.ModelVersion(name="models/digits/versions/1", manifest_sha256="ab" * 32)
    lineage = version.manifest.lineage
    lineage.job, lineage.attempt = "jobs/01J", "01K"
    lineage.dataset, lineage.spec_sha256 = "datasets/" + "cd" * 32, "ef" * 32
    lineage.torch_version, lineage.training_row_count = "2.13.0", 1_437
    version.manifest.files.add(name="graph.pb", sha256="12" * 32)

    text = "\n".join(demo.lineage_lines(version))

    for part in (
        "models/digits/versions/1",
        "jobs/01J",
        "01K",
        "datasets/cdcdcdcdcdcd...",
        "1,437 rows",
        "efefefefefef...",
        "torch 2.13.0",
        "graph.pb 12121212...",
    ):
        assert part in text

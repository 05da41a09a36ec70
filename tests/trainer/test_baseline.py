"""A published version is judged on the rows that judge the new one."""

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.jobs import BOUNDS, FakeReporter, request_for
from trainer import baseline, scores
from trainer.gates import NotBlessed
from trainer.prepared import Prepared, prepare
from trainer.reading.table import Table, summarize
from trainer.session import Session
from twofold import keys, manifest, spec, toml_spec, versions
from twofold.internal.v1 import child_pb2
from twofold.principal import Principal
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.toml_spec import Value
from twofold.v1 import dataset_pb2, model_pb2, spec_pb2

TENANT = "local"


def flowers(count: int = 120, *, without: str = "") -> Table:
    """Two numbers and a colour from which the label follows, and in another order of columns."""
    draw = np.random.default_rng(3)
    length, width = draw.normal(size=count), draw.normal(size=count)
    colour = np.where(draw.random(count) < 0.5, "red", "blue").astype(object)
    label = np.where(length + (colour == "red") > 0.5, "rose", "daisy").astype(object)
    columns = {"colour": colour, "width": width, "length": length, "label": label}
    return Table({name: one for name, one in columns.items() if name != without}, count)


def completed(table: Table, **tables: dict[str, Value]) -> spec_pb2.TrainingSpec:
    tree = {"model": "m", "data": {"dataset": "a" * 64}, "network": {"family": "mlp"}, **tables}
    columns = summarize(table).columns
    return spec.complete(toml_spec.from_dict(tree), columns, table.row_count, BOUNDS)


def _read_flowers(*_: object) -> Table:
    return flowers()


def publish(
    monkeypatch: pytest.MonkeyPatch, folder: Path, store: LocalStore, number: int, **options: Value
) -> model_pb2.Manifest:
    """Trains on flowers and puts the result where a published version stands."""
    monkeypatch.setattr("trainer.data.read", _read_flowers)
    asked = completed(flowers(), training=dict(options))
    request = request_for(asked, folder, f"v{number}")
    request.data_format = dataset_pb2.DATASET_FORMAT_CSV
    return put(store, request, number)


def put(store: LocalStore, request: child_pb2.TrainRequest, number: int) -> model_pb2.Manifest:
    """Trains a request and puts the result where a published version stands."""
    made = Session(request, FakeReporter()).run()
    made.version = number
    place = keys.version(TENANT, "m", number)
    for file in made.files:
        store.create(f"{place}/{file.name}", (Path(request.artifact_path) / file.name).read_bytes())
    store.create(keys.version_manifest(TENANT, "m", number), manifest.encode(made))
    return made


def shuffled(table: Table) -> tuple[spec_pb2.TrainingSpec, Prepared]:
    """A job on the same data with its columns in another order."""
    data = {"features": ["length", "colour", "width"], "target": "label", "dataset": "a" * 64}
    asked = completed(table, data=dict(data), gates={"not_worse_than": "production"})
    return asked, prepare(table, asked)


def test_a_version_is_scored_on_these_rows_whatever_the_order_of_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    made = publish(monkeypatch, tmp_path, store, 1, epochs=60, learning_rate=0.01)
    versions.set_alias(store, SystemClock(), Principal(TENANT, "p"), "m", "production", 1)

    measured = baseline.measure(store, TENANT, *shuffled(flowers()))

    # The same rows are held out, since seed and labels are the same: the same figures.
    assert measured is not None
    assert measured.version == 1
    for name in ("accuracy", "macro_f1"):
        assert measured.metrics[name] == pytest.approx(made.metrics[name])
    assert 0.5 < measured.metrics["accuracy"] <= 1


def test_no_such_alias_is_nothing_to_compare_with(tmp_path: Path) -> None:
    assert baseline.measure(LocalStore(tmp_path), TENANT, *shuffled(flowers())) is None


def test_what_cannot_be_compared_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    publish(monkeypatch, tmp_path, store, 1, epochs=1)
    table = flowers(without="width")
    asked = completed(table, gates={"not_worse_than": "1"})

    with pytest.raises(NotBlessed, match=r"version 1, 1, cannot be compared: .*no column width"):
        baseline.measure(store, TENANT, asked, prepare(table, asked))
    asked.gates.not_worse_than = "2"
    with pytest.raises(NotBlessed, match="m@2 is gone"):
        baseline.measure(store, TENANT, asked, prepare(table, asked))
    weights = store.path(f"{keys.version(TENANT, 'm', 1)}/weights.safetensors")
    weights.write_bytes(b"x" * weights.stat().st_size)
    asked.gates.not_worse_than = "1"
    with pytest.raises(NotBlessed, match=r"weights\.safetensors differs"):
        baseline.measure(store, TENANT, asked, prepare(table, asked))


def test_a_label_that_this_data_lacks_counts_as_wrong() -> None:
    best, label = np.array([0, 2, 1]), np.array([0, 1, 1])

    assert scores.classification(best, label, 3)["accuracy"] == pytest.approx(2 / 3)


def test_a_session_refuses_what_is_worse_and_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    good = publish(monkeypatch, tmp_path, store, 1, epochs=60, learning_rate=0.01)
    versions.set_alias(store, SystemClock(), Principal(TENANT, "p"), "m", "production", 1)
    worse = {"epochs": 1, "learning_rate": 1e-6}
    asked = completed(flowers(), training=dict(worse), gates={"not_worse_than": "production"})
    request = request_for(asked, tmp_path, "worse")
    request.store_path, request.tenant = str(tmp_path / "store"), TENANT
    request.data_format = dataset_pb2.DATASET_FORMAT_CSV

    with pytest.raises(NotBlessed, match=f"has {good.metrics['accuracy']:.6g} on the same rows"):
        Session(request, FakeReporter()).run()
    assert (Path(request.artifact_path) / "weights.safetensors").stat().st_size > 0

    asked = completed(
        flowers(),
        training={"epochs": 60, "learning_rate": 0.01},
        gates={"not_worse_than": "production", "min_metric": 0.5},
    )
    request = request_for(asked, tmp_path, "good")
    request.store_path, request.tenant = str(tmp_path / "store"), TENANT
    request.data_format = dataset_pb2.DATASET_FORMAT_CSV
    passed = Session(request, FakeReporter()).run()
    assert [result.baseline_version for result in passed.gates] == [0, 1]


PLANE: dict[str, Value] = {"features": ["length", "width"]}


def plane() -> Table:
    """Flowers whose sides decide of two flags and make two numbers."""
    columns = dict(flowers().columns)
    length, width = columns["length"], columns["width"]
    columns |= {"long": length > 0, "wide": width > 0, "sum": length + width}
    return Table(columns, 120)


def _read_plane(*_: object) -> Table:
    return plane()


def measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, targets: list[str], others: list[str]
) -> tuple[model_pb2.Manifest, baseline.Baseline | None]:
    """A version that predicts `targets`, and what it is worth for a job that predicts `others`."""
    monkeypatch.setattr("trainer.data.read", _read_plane)
    store = LocalStore(folder / "store")

    def asked(names: list[str]) -> spec_pb2.TrainingSpec:
        data = {**PLANE, "targets": names, "dataset": "a" * 64}
        options = {"epochs": 30, "learning_rate": 0.05}
        return completed(
            plane(), data=dict(data), training=dict(options), gates={"not_worse_than": "1"}
        )

    first = asked(targets)
    first.ClearField("gates")
    request = request_for(first, folder, "v1")
    request.data_format = dataset_pb2.DATASET_FORMAT_CSV
    made = put(store, request, 1)
    second = asked(others)
    return made, baseline.measure(store, TENANT, second, prepare(plane(), second))


@pytest.mark.parametrize("targets", [["long", "wide"], ["sum", "width"]])
def test_several_answers_are_scored_as_those_of_the_new_model(
    targets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANE, "features", ["length", "colour"])
    made, found = measured(tmp_path, monkeypatch, targets, targets)

    assert found is not None
    for name, value in found.metrics.items():
        assert made.metrics[name] == pytest.approx(value, rel=1e-5)
    assert {"hamming_loss"} <= set(found.metrics) or {"r2", "rmse"} <= set(found.metrics)


def test_versions_that_predict_other_columns_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotBlessed, match="cannot be compared: it predicts other columns"):
        measured(tmp_path, monkeypatch, ["long", "wide"], ["wide", "long"])


def test_a_version_that_does_not_run_on_these_rows_is_a_reason_and_no_defect_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    publish(monkeypatch, tmp_path, store, 1, epochs=1)
    asked, prepared = shuffled(flowers())
    asked.gates.not_worse_than = "1"
    errors = iter([IndexError("index out of range in self"), MemoryError()])

    def fail(*_: object) -> None:
        raise next(errors)

    monkeypatch.setattr(baseline.registry, "answers", fail)

    with pytest.raises(NotBlessed, match="does not run on these rows: index out of range in self"):
        baseline.measure(store, TENANT, asked, prepared)
    with pytest.raises(MemoryError):
        baseline.measure(store, TENANT, asked, prepared)


def test_an_alias_that_cannot_be_read_is_a_reason_too(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create(keys.alias(TENANT, "m", "production", 1), b"junk")

    with pytest.raises(NotBlessed, match="is production, and an alias of models/m cannot be read"):
        baseline.measure(store, TENANT, *shuffled(flowers()))

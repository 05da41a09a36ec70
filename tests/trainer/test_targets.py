"""Several targets, several labels and weights of rows, from a file to a version's figures."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.trainer.jobs import FakeReporter, points, table_request
from trainer import targets
from trainer.reading.table import Table
from trainer.session import Session
from twofold import toml_spec
from twofold.errors import InvalidData, InvalidField
from twofold.internal.v1 import child_pb2
from twofold.v1 import model_pb2, spec_pb2

FAST: dict[str, toml_spec.Value] = {"epochs": 40, "learning_rate": 0.1}
LABELS = spec_pb2.TASK_MULTILABEL


def trained(request: child_pb2.TrainRequest) -> model_pb2.Manifest:
    return Session(request, FakeReporter()).run()


def golden(request: child_pb2.TrainRequest) -> dict[str, NDArray[Any]]:
    return load_file(Path(request.artifact_path) / "golden.safetensors")


def outputs(manifest: model_pb2.Manifest) -> list[tuple[str, list[int]]]:
    return [(spec.name, list(spec.shape)) for spec in manifest.outputs]


def test_a_regression_of_several_targets_learns_each(tmp_path: Path) -> None:
    request = table_request(
        points(),
        {
            "data": {"features": ["a", "b"], "targets": ["difference", "sum"]},
            "network": {"family": "linear"},
            "training": {**FAST, "epochs": 150},
        },
        tmp_path,
    )

    made = trained(request)

    assert outputs(made) == [("value", [-1, 2])]
    assert list(made.features.targets) == ["difference", "sum"]
    assert (made.features.target, list(made.features.labels)) == ("difference", [])
    assert made.metrics["r2"] > 0.99
    assert made.metrics["r2.difference"] > 0.99
    assert made.metrics["r2.sum"] > 0.99
    rows = golden(request)
    a, b = rows["input.x"].T
    assert np.abs(rows["output.value"] - np.stack([a - 2 * b, a + b], 1)).max() < 0.2


def test_one_target_has_no_figures_of_its_own(tmp_path: Path) -> None:
    tree = {"data": {"target": "sum"}, "network": {"family": "linear"}, "training": {"epochs": 1}}

    made = trained(table_request(points(), tree, tmp_path))

    assert set(made.metrics) == {"loss", "r2", "rmse", "mae"}
    assert list(made.features.targets) == []


@pytest.mark.parametrize("family", ["logistic", "mlp"])
def test_several_labels_are_learnt_at_once(family: str, tmp_path: Path) -> None:
    request = table_request(
        points(),
        {
            "data": {"features": ["a", "b"], "targets": ["up", "right"]},
            "network": {"family": family},
            "training": FAST,
            "gates": {"metric": "hamming_loss", "max_metric": 0.1},
        },
        tmp_path,
    )

    made = trained(request)

    assert outputs(made) == [("probabilities", [-1, 2]), ("label", [-1, 2])]
    assert list(made.features.labels) == ["up", "right"]
    assert set(made.metrics) == {"loss", "accuracy", "macro_f1", "hamming_loss"}
    assert made.metrics["accuracy"] > 0.85
    rows = golden(request)
    assert rows["output.label"].dtype == np.bool_
    assert (rows["output.label"] == (rows["output.probabilities"] >= 0.5)).all()
    a, b = rows["input.x"].T
    right = rows["output.label"] == np.stack([a + b > 0, a - 2 * b > 0], 1)
    assert right.mean() > 0.85


def halves(count: int = 120) -> dict[str, NDArray[Any]]:
    """Images, whether they are bright, and whether there is an edge in them."""
    draw = np.random.default_rng(0)
    shown = draw.normal(0, 0.3, size=(count, 1, 8, 8)).astype(np.float32)
    bright, edge = draw.choice([False, True], size=(2, count))
    shown += bright[:, None, None, None]
    shown[..., 4:] += 2 * edge[:, None, None, None]
    return {"image": shown, "bright": bright, "edge": edge}


def test_an_image_has_several_labels(tmp_path: Path) -> None:
    network: toml_spec.Tree = {"family": "cnn", "channels": [8], "normalization": "group"}
    tree: toml_spec.Tree = {
        "data": {"targets": ["bright", "edge"]},
        "network": network,
        "training": {"epochs": 12, "learning_rate": 0.03, "batch_size": 16},
    }
    request = table_request(halves(), tree, tmp_path)

    made = trained(request)

    assert list(request.spec.data.features) == ["image"]
    assert outputs(made) == [("probabilities", [-1, 2]), ("label", [-1, 2])]
    assert made.metrics["accuracy"] > 0.8
    rows = golden(request)
    assert rows["input.image"].shape[1:] == (1, 8, 8)
    assert (rows["output.label"] == (rows["output.probabilities"] >= 0.5)).all()


def test_a_deep_family_predicts_several_targets_of_the_rows_that_count(tmp_path: Path) -> None:
    """Half of the rows are wrong by 100, and weigh nothing."""
    columns = points(160)
    columns["weight"] = np.tile([0, 2], 80)
    wrong = np.where(columns["weight"] > 0, 0, 100)
    columns |= {name: columns[name] + wrong for name in ("sum", "difference")}
    tree: toml_spec.Tree = {
        "data": {
            "features": ["a", "b"],
            "targets": ["sum", "difference"],
            "weight": "weight",
        },
        "network": {"family": "residual_mlp", "width": 16, "blocks": 1},
        "training": {"epochs": 40, "learning_rate": 0.03, "batch_size": 32},
    }

    made = trained(table_request(columns, tree, tmp_path))

    assert outputs(made) == [("value", [-1, 2])]
    assert made.metrics["loss"] < 0.5
    assert made.metrics["rmse"] > 50
    assert {"r2", "r2.sum", "r2.difference"} <= set(made.metrics)


def test_a_label_that_is_no_flag_is_refused_by_its_cell() -> None:
    data = spec_pb2.DataSpec(targets=["a", "b"], task=LABELS)
    columns = [np.array([True, False]), np.array([1.0, 0.5], np.float32)]

    with pytest.raises(InvalidData, match=r"row 2, column b: the value is 0\.5") as caught:
        targets.numbers(columns, data)
    assert (caught.value.fields["row"], caught.value.fields["column"]) == ("2", "b")
    data.task = spec_pb2.TASK_REGRESSION
    assert targets.numbers(columns, data).tolist() == [[1, 1], [0, 0.5]]


ROWS = (np.array([0, 1]), np.array([2]))


def weights(*given: float) -> list[float]:
    table = Table({"w": np.array(given, np.float32)}, len(given))
    found = targets.weights(table, spec_pb2.DataSpec(weight="w"), ROWS)
    return [] if found is None else found.tolist()


def test_only_the_ratios_of_weights_matter() -> None:
    assert weights(1, 2, 4) == weights(2.5e30, 5e30, 1e31) == [0.25, 0.5, 1]
    assert targets.weights(Table({}, 3), spec_pb2.DataSpec(), ROWS) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((1, -0.5, 1), "row 2, column w: the weight is -0.5"),
        ((0, 0, 1), "column w: all training rows weigh 0"),
        ((1, 1, 0), "column w: all held-out rows weigh 0"),
        ((0, 0, 0), "column w: all training rows weigh 0"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(given: tuple[float, ...], words: str) -> None:
    with pytest.raises(InvalidData, match=words):
        weights(*given)


def test_a_column_that_is_gone_is_refused_by_its_field() -> None:
    table = Table({"a": np.zeros(3)}, 3)

    with pytest.raises(InvalidField, match=r"data\.targets\[1\] is b; allowed: a column: a"):
        targets.columns(table, spec_pb2.DataSpec(targets=["a", "b"]))
    with pytest.raises(InvalidField, match=r"data\.weight is w"):
        targets.weights(table, spec_pb2.DataSpec(weight="w"), ROWS)


def line(folder: Path, columns: dict[str, NDArray[Any]], **data: toml_spec.Value) -> float:
    """The slope of a line through the origin that training finds for column y."""
    request = table_request(
        columns,
        {
            "data": {"features": ["x"], "target": "y", "standardize": False, **data},
            "network": {"family": "linear"},
            "training": {"optimizer": "lbfgs", "epochs": 5},
        },
        folder,
    )
    trained(request)
    state = load_file(Path(request.artifact_path) / "weights.safetensors")
    return float(state["output.weight"][0, 0])


def test_a_row_counts_by_its_weight_and_not_at_all_by_0(tmp_path: Path) -> None:
    """Two lines in one table: weights choose between them."""
    x = np.array([-1.0, 1, -1, 1])
    columns = {"x": x, "y": np.array([-1.0, 1, -3, 3]), "w": np.array([3.0, 3, 1, 1])}
    (tmp_path / "none").mkdir()
    (tmp_path / "zero").mkdir()

    assert line(tmp_path, columns, weight="w") == pytest.approx(1.5, rel=1e-4)
    assert line(tmp_path / "none", columns) == pytest.approx(2.0, rel=1e-4)
    columns["w"][:2] = 0
    assert line(tmp_path / "zero", columns, weight="w") == pytest.approx(3.0, rel=1e-4)


def test_metrics_count_all_rows_alike(tmp_path: Path) -> None:
    """Training on the rows that count leaves the others wrong, which accuracy shows."""
    x = np.linspace(-1, 1, 40).round(3)
    columns = {"x": x, "y": x > 0, "w": (x > -0.5).astype(np.float64)}
    columns["y"][:10] = True
    request = table_request(
        columns,
        {
            "data": {"features": ["x"], "target": "y", "weight": "w", "validation_fraction": 0},
            "network": {"family": "logistic"},
            "training": {**FAST, "epochs": 200},
        },
        tmp_path,
    )

    assert trained(request).metrics["accuracy"] == pytest.approx(0.75, abs=0.051)

"""Every loss and every weight of labels trains; so does a loss of the user's."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from safetensors.torch import save_file

from tests.trainer.jobs import (
    BOUNDS,
    FakeReporter,
    points,
    request_for,
    table_request,
    truth_data,
)
from tests.twofold import losses
from tests.twofold.modules import graph_of
from trainer import loop, recipe
from trainer.child import check_graphs
from trainer.loop import Diverged
from trainer.session import Session
from twofold import spec, toml_spec
from twofold.errors import InvalidField
from twofold.internal.v1 import child_pb2
from twofold.nets import values
from twofold.nets.net import init
from twofold.v1 import graph_pb2, model_pb2

Weights = dict[str, NDArray[Any]]
SUM: Mapping[str, object] = {"features": ["a", "b"], "target": "sum"}
UP: Mapping[str, object] = {"features": ["a", "b"], "target": "up"}


def run(request: child_pb2.TrainRequest) -> tuple[model_pb2.Manifest, Weights]:
    made = Session(request, FakeReporter()).run()
    return made, load_file(Path(request.artifact_path) / "weights.safetensors")


def train(
    folder: Path,
    data: Mapping[str, object],
    family: str = "linear",
    own: graph_pb2.Graph | None = None,
    training: Mapping[str, toml_spec.Value] | None = None,
) -> tuple[model_pb2.Manifest, Weights]:
    folder.mkdir(exist_ok=True)
    options = {"epochs": 40, "learning_rate": 0.1, **(training or {})}
    tree = {"data": data, "network": {"family": family}, "training": options}
    return run(table_request(points(), tree, folder, loss=own))


def constant(folder: Path, **training: toml_spec.Value) -> float:
    """What is answered for 100 rows of 0 whose target is 0 to 99, all alike to the network."""
    columns = {"x": np.zeros(100), "y": np.arange(100.0)}
    data = {"features": ["x"], "target": "y", "validation_fraction": 0}
    options = {"epochs": 400, "optimizer": "rmsprop", "learning_rate": 0.5, **training}
    tree = {"data": data, "network": {"family": "linear"}, "training": options}
    _, weights = run(table_request(columns, tree, folder))
    return float(weights["output.bias"][0])


def test_the_median_and_other_quantiles_are_learnt(tmp_path: Path) -> None:
    (tmp_path / "high").mkdir()

    assert constant(tmp_path, loss="quantile") == pytest.approx(49.5, abs=2)
    high = constant(tmp_path / "high", loss="quantile", quantile=0.9)
    assert high == pytest.approx(89.5, abs=2)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({"loss": "l1"}, 1.0),  # the median of nine 1 and one 11
        ({"loss": "huber"}, 1 + 1 / 9),  # 9 (v - 1) = 1, where the far one pulls by delta
        ({"loss": "huber", "huber_delta": 100}, 2.0),  # half the square: the mean
        ({"loss": "mse"}, 2.0),
    ],
)
def test_robust_losses_follow_the_many(
    loss: dict[str, toml_spec.Value], expected: float, tmp_path: Path
) -> None:
    columns = {"x": np.zeros(10), "y": np.array([1.0] * 9 + [11.0])}
    data = {"features": ["x"], "target": "y", "validation_fraction": 0}
    options = {"epochs": 400, "optimizer": "sgd", "learning_rate": 0.05, **loss}
    tree = {"data": data, "network": {"family": "linear"}, "training": options}

    _, weights = run(table_request(columns, tree, tmp_path))

    assert weights["output.bias"][0] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("softmax", {"label_smoothing": 0.2}),
        ("logistic", {"label_smoothing": 0.2}),
        ("softmax", {"loss": "focal"}),
        ("softmax", {"loss": "focal", "focal_gamma": 5}),
    ],
)
def test_smoothed_and_focal_losses_are_less_sure(
    family: str, options: dict[str, toml_spec.Value], tmp_path: Path
) -> None:
    plain, sure = train(tmp_path / "plain", UP, family)
    made, weights = train(tmp_path / "other", UP, family, training=options)

    assert made.metrics["accuracy"] > 0.85
    assert plain.metrics["accuracy"] > 0.85
    largest = np.abs(weights["output.weight"]).max()
    assert largest < 0.95 * np.abs(sure["output.weight"]).max()


def share(folder: Path, **training: toml_spec.Value) -> float:
    """Of rows that are all alike to the network, and of which a fifth is 1: the answer for 1."""
    columns = {"x": np.zeros(100), "y": (np.arange(100) < 20).astype(np.int64)}
    data = {"features": ["x"], "target": "y", "validation_fraction": 0}
    folder.mkdir(exist_ok=True)
    options = {"epochs": 300, "learning_rate": 0.05, **training}
    tree = {"data": data, "network": {"family": "logistic"}, "training": options}
    _, weights = run(table_request(columns, tree, folder))
    return float(1 / (1 + np.exp(-weights["output.bias"][0])))


def test_labels_count_by_their_weights(tmp_path: Path) -> None:
    assert share(tmp_path / "plain") == pytest.approx(0.2, abs=0.01)
    balanced = share(tmp_path / "balanced", balance_classes=True)
    assert balanced == pytest.approx(0.5, abs=0.01)
    heavy = share(tmp_path / "heavy", class_weights={"1": 12})
    assert heavy == pytest.approx(0.75, abs=0.01)


def shares(folder: Path, **training: toml_spec.Value) -> list[float]:
    """As `share`, of two labels at once: a fifth has the first, a half the second."""
    rows = np.arange(100)
    columns = {"x": np.zeros(100), "one": rows < 20, "two": rows % 2 == 0}
    data = {"features": ["x"], "targets": ["one", "two"], "validation_fraction": 0}
    folder.mkdir(exist_ok=True)
    options = {"epochs": 300, "learning_rate": 0.05, **training}
    tree = {"data": data, "network": {"family": "logistic"}, "training": options}
    _, weights = run(table_request(columns, tree, folder))
    return (1 / (1 + np.exp(-weights["output.bias"]))).tolist()


def test_several_labels_count_by_their_weights(tmp_path: Path) -> None:
    assert shares(tmp_path / "plain") == pytest.approx([0.2, 0.5], abs=0.01)
    assert shares(tmp_path / "balanced", balance_classes=True) == pytest.approx(
        [0.5, 0.5], abs=0.01
    )
    heavy = shares(tmp_path / "heavy", class_weights={"two": 3})
    assert heavy == pytest.approx([0.2, 0.75], abs=0.01)
    smooth = shares(tmp_path / "smooth", label_smoothing=0.5)
    assert smooth == pytest.approx([0.35, 0.5], abs=0.01)


@pytest.mark.parametrize(
    ("data", "family", "named", "loss"),
    [
        (SUM, "mlp", "mse", losses.squared()),
        (SUM, "mlp", "mse", losses.squared(has_rows=False)),
        ({**SUM, "weight": "weight"}, "linear", "mse", losses.squared()),
        (UP, "softmax", "cross_entropy", losses.cross_entropy(2)),
        ({**UP, "weight": "weight"}, "mlp", "cross_entropy", losses.cross_entropy(2)),
    ],
)
def test_a_loss_of_the_users_trains_as_the_built_in_one_that_it_is(
    data: Mapping[str, object],
    family: str,
    named: str,
    loss: graph_pb2.Graph,
    tmp_path: Path,
) -> None:
    options: dict[str, toml_spec.Value] = {"epochs": 5, "batch_size": 32, "micro_batch_size": 20}
    expected, theirs = train(tmp_path / "theirs", data, family, training={**options, "loss": named})
    made, ours = train(tmp_path / "ours", data, family, loss, options)

    assert dict(made.metrics) == pytest.approx(dict(expected.metrics), rel=1e-4)
    assert list(made.outputs) == list(expected.outputs)
    for name, tensor in theirs.items():
        assert np.allclose(ours[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_no_number_is_divergence(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="the training loss became nan in epoch 1"):
        train(tmp_path, SUM, own=losses.of_logarithm())


def test_a_loss_without_a_gradient_is_refused(tmp_path: Path) -> None:
    loss = losses.without_gradient()

    with pytest.raises(InvalidField, match="a loss without a gradient"):
        train(tmp_path, SUM, own=loss)


def of_two_outputs() -> graph_pb2.Graph:
    """FP32 x [-1, 2] to two outputs, each of one column, of one layer each."""
    graph = graph_of(2, 1, width=8)
    graph.outputs[0].name = "output_0"
    graph.outputs.add(name="output_1", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 1])
    last = graph.nodes[-1].name
    graph.nodes.add(
        name="twice", function=graph_pb2.FUNCTION_ADD, arguments=[values.node(last)] * 2
    )
    graph.results.extend([last, "twice"])
    return graph


def module_request(
    graph: graph_pb2.Graph, loss: graph_pb2.Graph, folder: Path
) -> child_pb2.TrainRequest:
    table = spec.truth_table("xor")
    asked = toml_spec.from_dict(
        {
            "model": "own",
            "data": {"dataset": "xor", "task": "regression"},
            "training": {"epochs": 300, "learning_rate": 0.05},
        }
    )
    asked.network.graph.CopyFrom(graph)
    asked.network.weights = "ab" * 32
    asked.training.loss_graph.CopyFrom(loss)
    done = spec.complete(asked, table.columns, table.row_count, BOUNDS)
    request = request_for(done, folder)
    whole = done.network.graph
    save_file(init(whole, 3).weights(), folder / "weights")
    request.weights_path = str(folder / "weights")
    return request


def test_a_loss_may_look_at_every_output_and_all_of_them_are_served(tmp_path: Path) -> None:
    """x + 2 x is to be the truth, so that the first output is a third of it."""
    request = module_request(of_two_outputs(), losses.of_two(), tmp_path)

    made, _ = run(request)

    assert made.metrics["loss"] < 0.01
    assert [spec.name for spec in made.outputs] == ["output_0", "output_1"]
    rows = load_file(Path(request.artifact_path) / "golden.safetensors")
    a, b = rows["input.x"].T.round()
    truth = (a != b).astype(np.float32)
    assert np.allclose(rows["output.output_0"][:, 0], truth / 3, atol=0.1)
    assert np.array_equal(rows["output.output_1"], 2 * rows["output.output_0"])


def test_an_output_that_says_nothing_of_the_task_has_no_metrics(tmp_path: Path) -> None:
    loss = losses.squared(3)
    loss.inputs[1].shape[1] = 1

    made, _ = run(module_request(graph_of(2, 3), loss, tmp_path))

    assert set(made.metrics) == {"loss"}
    assert [spec.name for spec in made.outputs] == ["output"]


def raw(graph: graph_pb2.Graph) -> graph_pb2.Graph:
    graph.head = graph_pb2.HEAD_RAW
    return graph


def test_a_loss_is_measured_with_its_network() -> None:
    network, loss = raw(of_two_outputs()), losses.of_two()
    alone, both = check_graphs(None, loss), check_graphs(network, loss)

    assert alone.refusal == both.refusal == ""
    assert both.row_elements == alone.row_elements + check_graphs(network, None).row_elements
    assert check_graphs(None, None).refusal


def test_a_loss_that_does_not_fit_is_refused_by_its_field() -> None:
    wide = losses.squared(2)
    checked = check_graphs(raw(graph_of(2, 1)), wide)
    assert checked.field == "training.loss_graph.inputs[0]"
    assert "which the network computes in training mode" in checked.refusal

    broken = losses.squared()
    del broken.nodes[4:]
    checked = check_graphs(None, broken)
    assert checked.field.startswith("training.loss_graph.outputs")
    assert checked.refusal.startswith("training.loss_graph.outputs")


def test_several_labels_of_a_module_may_be_served_as_logits(tmp_path: Path) -> None:
    """Metrics are those of the labels all the same."""
    columns = points()
    tree = {
        "data": {"features": ["a", "b"], "targets": ["up", "right"]},
        "network": {"family": "logistic"},
        "training": {"epochs": 60, "learning_rate": 0.05},
    }
    request = table_request(columns, tree, tmp_path)
    spec_ = request.spec
    spec_.network.Clear()
    spec_.network.graph.CopyFrom(raw(graph_of(2, 2, width=8)))
    spec_.network.head, spec_.network.weights = graph_pb2.HEAD_RAW, "ab" * 32
    spec_.data.standardize = False
    save_file(init(spec_.network.graph, 3).weights(), tmp_path / "weights")
    request.weights_path = str(tmp_path / "weights")

    made, _ = run(request)

    assert [output.name for output in made.outputs] == ["output"]
    assert made.metrics["accuracy"] > 0.85
    assert made.metrics["hamming_loss"] < 0.1


def test_every_output_is_computed_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = module_request(of_two_outputs(), losses.of_two(), tmp_path)
    device = torch.device("cpu")
    made = recipe.make(request.spec, truth_data("xor", request.spec), device, 1)
    whole = loop.forward(made, made.training)
    monkeypatch.setattr(loop, "EVALUATION_ROWS", 3)
    pieces = loop.forward(made, made.training)

    assert len(whole) == len(pieces) == 2
    for one, other in zip(whole, pieces, strict=True):
        assert torch.equal(one, other)

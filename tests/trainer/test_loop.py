# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import math

import numpy as np
import pytest
import torch

from tests.trainer.jobs import loop_over, truth_data, truth_spec
from trainer import loop as training
from trainer.loop import Diverged, Interrupted, Loop
from trainer.prepared import prepare
from trainer.reading.table import Table
from trainer.recipe import Recipe
from trainer.rows import Rows
from twofold import spec, toml_spec
from twofold.nets.losses import Results, first_of
from twofold.nets.net import Net
from twofold.v1 import dataset_pb2, spec_pb2


def run_to_end(loop: Loop) -> Loop:
    while not loop.is_done:
        loop.run_epoch(lambda: False)
    return loop


def truth_loop(name: str, **tables: dict[str, toml_spec.Value]) -> Loop:
    asked = truth_spec(name, **tables)
    return loop_over(asked, truth_data(name, asked))


def accuracy(loop: Loop) -> float:
    loop.recipe.net.load_state_dict(loop.best)
    rows = loop.recipe.evaluation
    return training.metrics(loop.recipe, rows, training.forward(loop.recipe, rows))["accuracy"]


@pytest.mark.parametrize("name", ["and", "or"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_perceptron_learns_what_a_line_can_part(name: str, batch_size: int) -> None:
    loop = truth_loop(
        name, network={"family": "perceptron"}, training={"epochs": 50, "batch_size": batch_size}
    )

    assert accuracy(run_to_end(loop)) == 1.0


@pytest.mark.parametrize("family", ["perceptron", "logistic", "softmax", "neuron"])
def test_no_single_layer_gets_more_than_three_of_four_of_xor(family: str) -> None:
    loop = truth_loop("xor", network={"family": family}, training={"epochs": 200})

    assert accuracy(run_to_end(loop)) <= 0.75


def test_a_hidden_layer_learns_xor_exactly() -> None:
    loop = truth_loop(
        "xor",
        network={"family": "mlp", "hidden": [8], "activation": "tanh"},
        training={"epochs": 400, "learning_rate": 0.05},
    )

    assert accuracy(run_to_end(loop)) == 1.0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_lowers_the_loss(optimizer: str) -> None:
    loop = truth_loop(
        "and",
        network={"family": "logistic"},
        training={"epochs": 60, "optimizer": optimizer, "learning_rate": 0.1},
    )
    loop.run_epoch(lambda: False)
    first = loop.position.loss

    assert run_to_end(loop).position.loss < first * 0.9


def test_training_ends_after_its_epochs() -> None:
    loop = run_to_end(truth_loop("xor", network={"family": "mlp"}, training={"epochs": 7}))

    assert (loop.position.epoch, loop.position.step_count) == (7, 7)


def test_training_ends_when_the_loss_stops_changing() -> None:
    loop = run_to_end(
        truth_loop(
            "and", network={"family": "perceptron"}, training={"epochs": 5_000, "tolerance": 1e-9}
        )
    )

    assert loop.position.has_converged
    assert loop.position.epoch < 5_000


def test_training_ends_early_and_publishes_the_best_epoch() -> None:
    loop = truth_loop(
        "xor",
        network={"family": "mlp"},
        training={"epochs": 500, "patience": 3, "optimizer": "sgd", "learning_rate": 1e-9},
    )
    position = loop.position
    loop.run_epoch(lambda: False)
    best = {name: tensor.clone() for name, tensor in loop.best.items()}
    with torch.no_grad():
        for parameter in loop.recipe.net.parameters():
            parameter.add_(5)  # from here on everything is worse
    run_to_end(loop)

    assert (position.best_epoch, position.epoch) == (1, 4)
    assert all(torch.equal(loop.best[name], kept) for name, kept in best.items())


@pytest.mark.parametrize("family", ["mlp", "linear"])
def test_a_loss_without_end_is_divergence_and_names_the_epoch(family: str) -> None:
    loop = plane_loop(family, {"optimizer": "sgd", "learning_rate": 900.0, "epochs": 400})

    with pytest.raises(Diverged, match=r"loss became (nan|inf|-inf) in epoch \d+"):
        run_to_end(loop)


def plane_loop(
    family: str, options: dict[str, toml_spec.Value], row_count: int = 60, dropout: float = 0.0
) -> Loop:
    generator = np.random.default_rng(0)
    arrays = {name: generator.normal(size=row_count) for name in ("a", "b")}
    arrays["y"] = 3 * arrays["a"] - 2 * arrays["b"] + 1
    columns = [dataset_pb2.Column(name=name, kind=dataset_pb2.COLUMN_KIND_REAL) for name in arrays]
    tree: dict[str, toml_spec.Value] = {
        "model": "plane",
        "data": {"dataset": "0" * 64, "target": "y"},
        "network": {"family": family, **({"dropout": dropout} if dropout else {})},
        "training": options,
    }
    bounds = spec.Bounds(1_000_000, 1 << 30)
    asked = spec.complete(toml_spec.from_dict(tree), columns, row_count, bounds)
    return loop_over(asked, prepare(Table(arrays, row_count), asked))


def test_linear_regression_finds_the_plane() -> None:
    loop = run_to_end(plane_loop("linear", {"epochs": 300, "learning_rate": 0.05}))

    assert loop.position.validation_loss < 1e-3


def test_every_row_is_seen_once_an_epoch_in_an_order_that_changes() -> None:
    loop = plane_loop("linear", {"epochs": 2, "batch_size": 7})
    count = len(loop.recipe.training)
    orders: list[list[int]] = []
    for _ in range(2):
        batches = loop._batches()
        orders.append([row for rows in batches if rows is not None for row in rows.tolist()])
        assert [len(rows) for rows in batches if rows is not None] == [7] * (count // 7) + (
            [count % 7] if count % 7 else []
        )
        loop.run_epoch(lambda: False)

    assert sorted(orders[0]) == sorted(orders[1]) == list(range(count))
    assert orders[0] != orders[1]


def test_the_same_seed_trains_the_same_weights_and_another_others() -> None:
    states = [
        run_to_end(plane_loop("mlp", {"epochs": 3, "batch_size": 16, "seed": seed})).best
        for seed in (1, 1, 2)
    ]

    same, other = states[1], states[2]
    assert all(torch.equal(states[0][name], same[name]) for name in same)
    assert any(not torch.equal(states[0][name], other[name]) for name in other)


def test_a_stop_is_taken_between_two_steps() -> None:
    loop = plane_loop("linear", {"epochs": 5, "batch_size": 8})
    loop.run_epoch(lambda: False)
    steps = loop.position.step_count

    with pytest.raises(Interrupted):
        loop.run_epoch(lambda: True)

    assert (loop.position.step, loop.position.step_count) == (1, steps + 1)


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows() -> None:
    loop = plane_loop("linear", {"epochs": 1, "batch_size": 7, "learning_rate": 1e-9})
    rows = loop.recipe.training
    with torch.no_grad():
        expected = loop.recipe.loss(loop.recipe.net(*rows.inputs), rows.target).item()
    loop.run_epoch(lambda: False)

    assert loop.position.loss == pytest.approx(expected, rel=1e-5)


def test_evaluation_in_pieces_is_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = plane_loop("mlp", {"epochs": 1})
    rows: Rows = loop.recipe.training
    whole = first_of(training.forward(loop.recipe, rows))
    monkeypatch.setattr(training, "EVALUATION_ROWS", 7)

    assert torch.allclose(first_of(training.forward(loop.recipe, rows)), whole, atol=1e-6)


def test_evaluation_of_a_large_network_has_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = plane_loop("mlp", {"epochs": 1})
    sizes: list[int] = []
    results_of = Recipe.results_of

    def counted(recipe: Recipe, net: Net, rows: Rows) -> Results:
        sizes.append(len(rows))
        return results_of(recipe, net, rows)

    monkeypatch.setattr(Recipe, "results_of", counted)
    loop.recipe.net.row_elements = 1 << 24
    training.forward(loop.recipe, loop.recipe.training)

    assert set(sizes[:-1]) == {16}
    assert sum(sizes) == len(loop.recipe.training)


def test_standardised_inputs_are_in_the_artifact_not_in_the_rows() -> None:
    loop = plane_loop("linear", {"epochs": 1})
    (x,) = loop.recipe.training.inputs
    state = loop.recipe.net.state_dict()
    mean = next(state[name] for name in state if name.endswith("mean"))

    assert torch.allclose(mean, x.mean(dim=0), atol=1e-6)
    assert loop.recipe.spec.data.standardize


def test_the_perceptron_is_judged_by_its_mistakes() -> None:
    loop = truth_loop("xor", network={"family": "perceptron"}, training={"epochs": 20})
    run_to_end(loop)

    assert loop.recipe.spec.training.loss == spec_pb2.LOSS_PERCEPTRON
    assert loop.position.best_score in (0.25, 0.5)
    assert math.isfinite(loop.position.loss)

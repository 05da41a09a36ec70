"""A step's batch is the spec's, however much of it goes through the network at once."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.trainer.test_loop import plane_loop, run_to_end, truth_loop
from trainer.average import decay_at
from trainer.loop import Loop
from trainer.recipe import Recipe
from trainer.rows import Rows
from trainer.steps import HALVINGS, EagerStep
from twofold.toml_spec import Value


def gradients(recipe: Recipe, rows: Tensor | None) -> tuple[list[Tensor], float]:
    step = EagerStep(recipe, torch.zeros((), dtype=torch.float64))
    loss = step.gradients(rows)
    found = [parameter.grad for parameter in recipe.optimizer.parameters]
    return [grad.clone() for grad in found if grad is not None], loss.item()


def weighted(loop: Loop) -> Recipe:
    """The loop's recipe with weights from 0 to 2."""
    rows = loop.recipe.training
    weight = torch.linspace(0, 2, len(rows))
    return replace(loop.recipe, training=replace(rows, weight=weight))


@pytest.mark.parametrize("micro", [1, 4, 5, 16, 17, 1000])
@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("rows", [None, torch.arange(40, 6, -2)])
def test_pieces_add_up_to_the_batch(micro: int, has_weights: bool, rows: Tensor | None) -> None:  # noqa: FBT001
    """The last, smaller piece counts by its rows, and by their weights."""
    loop = plane_loop("mlp", {"batch_size": 17})
    whole = weighted(loop) if has_weights else loop.recipe
    expected, loss = gradients(whole, rows)
    found, same_loss = gradients(replace(whole, micro_batch_size=micro), rows)

    assert same_loss == pytest.approx(loss, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_accumulation_trains_as_the_whole_batch_does() -> None:
    options: dict[str, Value] = {"epochs": 5, "batch_size": 20, "optimizer": "adamw"}
    whole = run_to_end(plane_loop("mlp", options))
    pieces = run_to_end(plane_loop("mlp", {**options, "micro_batch_size": 3}))

    assert pieces.position.loss == pytest.approx(whole.position.loss, rel=1e-4)
    for name, tensor in whole.best.items():
        assert torch.allclose(tensor, pieces.best[name], rtol=1e-3, atol=1e-4), name


def test_the_loss_of_an_epoch_is_the_weighted_mean() -> None:
    loop = plane_loop("linear", {"epochs": 1, "batch_size": 7, "learning_rate": 1e-9})
    recipe = weighted(loop)
    loop = Loop(recipe)
    rows = recipe.training
    assert rows.weight is not None
    with torch.no_grad():
        error = (recipe.net(*rows.inputs) - rows.target).square()[:, 0]
    expected = (error * rows.weight).sum().item() / rows.weight.sum().item()
    loop.run_epoch(lambda: False)

    assert loop.position.loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("micro", [2, 5])
def test_rows_that_weigh_nothing_have_no_loss(micro: int) -> None:
    """Neither at once nor piece by piece, where their weights are divided by each other."""
    loop = plane_loop("linear", {"batch_size": 7})
    rows = loop.recipe.training
    nothing = replace(rows, weight=torch.zeros(len(rows)))
    recipe = replace(loop.recipe, training=nothing, micro_batch_size=micro)
    found, loss = gradients(recipe, torch.arange(5))

    assert loss == 0
    assert all(not grad.any() for grad in found)


def test_gradients_are_clipped_by_value_and_then_by_norm() -> None:
    loop = plane_loop("mlp", {"clip_value": 0.01, "clip_norm": 0.02})
    step = EagerStep(loop.recipe, loop.total)
    step.gradients(None)
    unclipped = [
        parameter.grad.clone()
        for parameter in loop.recipe.optimizer.parameters
        if parameter.grad is not None
    ]
    step.clip()

    bounded = [grad.clamp(-0.01, 0.01) for grad in unclipped]
    norm = torch.cat([grad.flatten() for grad in bounded]).square().sum().sqrt()
    assert norm > 0.02
    for parameter, grad in zip(loop.recipe.optimizer.parameters, bounded, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, grad * (0.02 / norm), rtol=1e-3)


def test_the_average_follows_its_recurrence_and_is_what_is_judged() -> None:
    loop = plane_loop("mlp", {"epochs": 3, "batch_size": 16, "ema_decay": 0.5})
    name = "output.weight"
    expected = loop.recipe.net.state_dict()[name].clone()
    count = 0
    while not loop.is_done:
        for rows in loop._batches():
            loop._follow_schedule()
            loop.step(rows)
            loop.position.step_count += 1
            count += 1
            decay = decay_at(0.5, count)
            expected += (1 - decay) * (loop.recipe.net.state_dict()[name] - expected)
        loop.position.epoch += 1

    found = loop.recipe.judged.state_dict()[name]
    assert count > 5
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.equal(found, loop.recipe.net.state_dict()[name])


def test_the_published_weights_are_the_average_s() -> None:
    loop = run_to_end(plane_loop("mlp", {"epochs": 4, "batch_size": 16, "ema_decay": 0.9}))

    assert loop.position.best_epoch == 4
    for name, tensor in loop.recipe.judged.state_dict().items():
        assert torch.equal(loop.best[name], tensor)
    assert not torch.equal(
        loop.best["output.weight"], loop.recipe.net.state_dict()["output.weight"]
    )


def test_lbfgs_finds_the_plane_in_a_few_steps() -> None:
    loop = run_to_end(plane_loop("linear", {"optimizer": "lbfgs", "epochs": 5}))

    assert loop.position.validation_loss < 1e-8


GPU_IS_FULL = torch.OutOfMemoryError("CUDA out of memory, artificially")
CPU_IS_FULL = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate")


def fail_above(recipe: Recipe, limit: int, error: Exception) -> Callable[[Rows], Tensor]:
    """A loss for which more than `limit` rows at once are too many, as on a full device."""

    def loss_of(rows: Rows) -> Tensor:
        if len(rows) > limit:
            raise error
        return recipe.loss(recipe.net(*rows.inputs), rows.target, rows.weight)

    return loss_of


@pytest.mark.parametrize("error", [GPU_IS_FULL, CPU_IS_FULL])
def test_without_memory_the_pieces_are_halved_and_the_batch_stays(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Value] = {"epochs": 2, "batch_size": 40}
    whole = run_to_end(plane_loop("mlp", options))

    def loss_of(recipe: Recipe, rows: Rows) -> Tensor:
        return fail_above(recipe, 10, error)(rows)

    monkeypatch.setattr(Recipe, "loss_of", loss_of)
    loop = run_to_end(plane_loop("mlp", options))

    assert loop.choices.micro_batch_size == 10
    assert loop.position.step_count == whole.position.step_count
    assert loop.position.loss == pytest.approx(whole.position.loss, rel=1e-4)


@pytest.mark.parametrize("batch_size", [4, 4096])
def test_memory_that_never_suffices_ends_the_attempt(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def loss_of(_: Recipe, rows: Rows) -> Tensor:
        tries.append(len(rows))
        raise torch.OutOfMemoryError("CUDA out of memory, artificially")

    monkeypatch.setattr(Recipe, "loss_of", loss_of)
    loop = plane_loop("linear", {"epochs": 1, "batch_size": batch_size}, row_count=4096)
    with pytest.raises(torch.OutOfMemoryError):
        loop.run_epoch(lambda: False)

    assert tries == [tries[0] >> index for index in range(len(tries))]
    assert len(tries) == (3 if batch_size == 4 else HALVINGS + 1)


def test_another_failure_of_a_step_is_no_reason_to_halve(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def loss_of(_: Recipe, rows: Rows) -> Tensor:
        tries.append(len(rows))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Recipe, "loss_of", loss_of)
    with pytest.raises(RuntimeError, match="mat1"):
        plane_loop("linear", {"epochs": 1, "batch_size": 8}).run_epoch(lambda: False)

    assert tries == [8]


def test_weights_of_labels_reach_the_loss() -> None:
    loop = truth_loop("and", network={"family": "mlp"}, training={"balance_classes": True})

    assert loop.recipe.training.weight is not None
    # Three rows are 0, one is 1: 4 / (2 * 3) and 4 / (2 * 1).
    assert loop.recipe.training.weight.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


def test_lbfgs_too_takes_smaller_pieces_where_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Value] = {"optimizer": "lbfgs", "epochs": 3}
    whole = run_to_end(plane_loop("linear", options))

    def loss_of(recipe: Recipe, rows: Rows) -> Tensor:
        return fail_above(recipe, 15, CPU_IS_FULL)(rows)

    monkeypatch.setattr(Recipe, "loss_of", loss_of)
    loop = run_to_end(plane_loop("linear", options))

    assert loop.choices.micro_batch_size == 12
    assert loop.position.loss == pytest.approx(whole.position.loss, abs=1e-6)

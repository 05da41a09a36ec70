"""How a training's steps are run: eagerly, compiled, or as one CUDA graph. Says why."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from trainer import compiled
from trainer.cuda_step import CudaRecorder, GraphStep, Recorder, obstacle
from trainer.recipe import Recipe
from trainer.steps import EagerStep, Step

logger = logging.getLogger(__name__)


def make_step(
    recipe: Recipe, total: Tensor, recorder_on: Callable[[torch.device], Recorder] = CudaRecorder
) -> Step:
    """The step of a recipe; notes in its choices what was picked and why.

    Args:
        recipe: what to train.
        total: 0-D float64 on the device, to which steps add their losses.
        recorder_on: what records CUDA graphs.
    """
    choices = recipe.choices
    eager, compile_reason = _compiled_or_eager(recipe, total)
    is_compiled = not compile_reason
    against_graph = obstacle(recipe.device.type, recipe.spec.training)
    if not against_graph:
        choices.execution = "cuda graph, compiled" if is_compiled else "cuda graph"
        reasons = ["steps are recorded once and replayed", compile_reason]
        choices.execution_reason = "; ".join(filter(None, reasons))
        return GraphStep(eager, choices.batch_size, recorder_on(recipe.device), choices)
    choices.execution = "compiled" if is_compiled else "eager"
    choices.execution_reason = f"{compile_reason or 'asked for'}; {against_graph}"
    return eager


def _compiled_or_eager(recipe: Recipe, total: Tensor) -> tuple[EagerStep, str]:
    """The step, and why it is not compiled; empty where it is."""
    if not recipe.spec.training.compile:
        return EagerStep(recipe, total), "training.compile is off"
    sample = recipe.training.piece(0, recipe.micro_batch_size)
    try:
        folder = compiled.cache_folder(compiled.home())
        loss_of = compiled.compile_loss(recipe.loss_of, recipe.net, sample, folder)
    except compiled.CannotCompile as error:
        return EagerStep(recipe, total), str(error)
    return EagerStep(recipe, total, loss_of), ""

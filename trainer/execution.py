"""How a training's steps are run: eagerly, compiled, or as one CUDA graph. Says why."""

import logging
from pathlib import Path

from torch import Tensor

from trainer import compiled
from trainer.recipe import Recipe
from trainer.steps import EagerStep, Step

logger = logging.getLogger(__name__)


def make_step(recipe: Recipe, total: Tensor) -> Step:
    """The step of a recipe; notes in its choices what was picked and why."""
    choices = recipe.choices
    choices.execution = "eager"
    if not recipe.spec.training.compile:
        choices.execution_reason = "training.compile is off"
        return EagerStep(recipe, total)
    sample = recipe.training.piece(0, recipe.micro_batch_size)
    try:
        folder = compiled.cache_folder(Path.home())
        loss_of = compiled.compile_loss(recipe.loss_of, recipe.net, sample, folder)
    except compiled.CannotCompile as error:
        choices.execution_reason = str(error)
        return EagerStep(recipe, total)
    choices.execution = "compiled"
    choices.execution_reason = "asked for"
    return EagerStep(recipe, total, loss_of)

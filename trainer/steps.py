"""One step of training: gradients of a batch, piece by piece, then clip, update and average.

A step is a callable of row indices (None: all rows as they are). The global batch is what the spec
says; how many rows go through the network at once is a matter of memory alone.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from trainer import memory
from trainer.recipe import Recipe, no_such_row
from trainer.rows import Rows
from twofold.errors import InvalidField
from twofold.nets.losses import Loss

#: How often a step that found no memory is tried again with half the rows at once.
HALVINGS = 5

logger = logging.getLogger(__name__)


class Step(Protocol):
    """A training step; adds the batch's loss, times its weight, to a total on the device."""

    @property
    def micro_batch_size(self) -> int:
        """Rows that go through the network at once; halved when memory runs out."""
        ...

    def shrink_to(self, rows: int) -> None:
        """Takes at most this many rows through the network at once, as before a resume."""
        ...

    def __call__(self, rows: Tensor | None) -> None:
        """Trains on these rows, int64 [B]; None: on all."""
        ...


def is_out_of_memory(error: Exception) -> bool:
    """Whether a smaller piece may help: memory of the device is at its end."""
    return isinstance(error, torch.OutOfMemoryError) or memory.is_exhausted(error)


class EagerStep:
    """The step as torch runs it, operation by operation."""

    def __init__(
        self, recipe: Recipe, total: Tensor, loss_of: Callable[[Rows], Tensor] | None = None
    ) -> None:
        self._recipe = recipe
        self._loss_of = loss_of or recipe.loss_of
        self._total = total
        self._micro_batch_size = recipe.micro_batch_size
        self._halvings_left = HALVINGS

    @property
    def micro_batch_size(self) -> int:
        """See Step."""
        return self._micro_batch_size

    def shrink_to(self, rows: int) -> None:
        """See Step."""
        self._micro_batch_size = min(self._micro_batch_size, rows)

    def __call__(self, rows: Tensor | None) -> None:
        """See Step.

        Raises what `is_out_of_memory` knows where even pieces do not fit.
        """
        optimizer = self._recipe.optimizer
        if optimizer.needs_closure:
            self._finish(rows, optimizer.search(lambda: self._gradients_that_fit(rows)))
        else:
            self._update(rows, self._gradients_that_fit(rows))

    def run(self, rows: Tensor | None) -> None:
        """The step for a recorder: never tried again, nothing of it looks at a result."""
        self._update(rows, self.gradients(rows))

    def _update(self, rows: Tensor | None, loss: Tensor) -> None:
        self.clip()
        self._recipe.optimizer.step()
        self._finish(rows, loss)

    def _finish(self, rows: Tensor | None, loss: Tensor) -> None:
        if self._recipe.average is not None:
            self._recipe.average.update()
        weight = self._weight(rows)
        if isinstance(weight, int):
            self._total.add_(loss.detach(), alpha=weight)  # one kernel instead of two
        else:
            self._total += loss.detach() * weight

    def gradients(self, rows: Tensor | None) -> Tensor:
        """Puts the gradients of the batch's mean loss into the parameters; that loss, 0-D.

        The same, up to rounding, however the batch is cut: each piece counts by its weight.

        Raises InvalidField where the loss depends on no trained parameter, InvalidData where the
        network looks up what it does not have.
        """
        recipe = self._recipe
        recipe.optimizer.zero_grad()
        whole = self._weight(rows)
        losses: list[Tensor] = []
        for piece in self._pieces(rows):
            try:
                part = self._loss_of(piece)
            except IndexError as error:
                raise no_such_row(error) from error
            if len(piece) < self._count(rows):
                weight = len(piece) if piece.weight is None else piece.weight.sum()
                part = part * _share(weight, whole)
            if not part.requires_grad:
                raise _learns_nothing(recipe.loss)
            part.backward()
            losses.append(part.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def clip(self) -> None:
        """Bounds the gradients as the spec says, by value before by norm."""
        options, parameters = self._recipe.spec.training, self._recipe.optimizer.parameters
        if options.HasField("clip_value"):
            torch.nn.utils.clip_grad_value_(parameters, options.clip_value)
        if options.HasField("clip_norm"):
            torch.nn.utils.clip_grad_norm_(parameters, options.clip_norm)

    def _gradients_that_fit(self, rows: Tensor | None) -> Tensor:
        """As `gradients`, with ever smaller pieces while memory runs out."""
        while True:
            try:
                return self.gradients(rows)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                size = min(self._micro_batch_size, self._count(rows)) // 2
                if not size or not self._halvings_left:
                    raise
            # Outside of the handler: the error holds on to what the failed pass had made.
            self._halvings_left -= 1
            self._micro_batch_size = size
            self._recipe.optimizer.zero_grad()
            if self._recipe.device.type == "cuda":
                torch.cuda.empty_cache()
            logger.warning("out of memory, going on with smaller pieces", extra={"rows": size})

    def _count(self, rows: Tensor | None) -> int:
        return len(self._recipe.training) if rows is None else rows.shape[0]

    def _weight(self, rows: Tensor | None) -> Tensor | int:
        weight = self._recipe.training.weight
        if weight is None:
            return self._count(rows)
        return (weight if rows is None else weight.index_select(0, rows)).sum()

    def _pieces(self, rows: Tensor | None) -> Iterator[Rows]:
        training, count, size = self._recipe.training, self._count(rows), self._micro_batch_size
        for start in range(0, count, size):
            if rows is None:
                yield training if size >= count else training.piece(start, size)
            else:
                yield training.take(rows if size >= count else rows[start : start + size])


def _learns_nothing(loss: Loss) -> InvalidField:
    if loss.takes_all:
        allowed = "one that changes with the network's outputs, so that there is a gradient"
        return InvalidField.of("training.loss_graph", "a loss without a gradient", allowed)
    allowed = "one whose first output depends on a trained parameter"
    return InvalidField.of("network.graph", "a module that learns nothing", allowed)


def _share(weight: Tensor | int, whole: Tensor | int) -> Tensor | float:
    """What part of a batch a piece is; of rows that together weigh nothing it is none."""
    if isinstance(whole, Tensor):
        return weight / whole.clamp(min=torch.finfo(whole.dtype).tiny)
    return weight / whole

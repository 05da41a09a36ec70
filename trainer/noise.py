"""The gradient noise scale of a training, estimated now and then without disturbing it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer import batches
from trainer.recipe import Recipe

#: Pieces that a batch is cut into: their gradients are compared with their mean's.
_PIECES = 8


@dataclass(slots=True)
class NoiseScale:
    """The estimate so far: sums over measurements, whose ratio has less bias than a mean of ratios.

    Draws its own rows: the order of training, its random states and buffers stay what they are.
    """

    recipe: Recipe
    small_square: float = 0.0
    big_square: float = 0.0
    count: int = 0
    _order: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._order = torch.Generator().manual_seed(self.recipe.spec.training.seed)

    @property
    def rows(self) -> float | None:
        """The noise scale; None before any measurement."""
        small, big = self._sizes()
        if not self.count or small == big:
            return None
        return batches.noise_scale(
            self.small_square / self.count, self.big_square / self.count, small, big
        )

    def measure(self, rows_at_once: int) -> None:
        """Takes one more batch into account; costs about one step, in time and in memory.

        At most `rows_at_once` go through the network together, as a step's do.
        """
        recipe, (small, big) = self.recipe, self._sizes()
        if small == big:
            return
        order = torch.randperm(len(recipe.training), generator=self._order)[:big]
        state = {name: value.clone() for name, value in recipe.net.named_buffers()}
        device = recipe.device
        devices = [device.index or 0] if device.type == "cuda" else []
        recipe.net.train()
        with torch.random.fork_rng(devices=devices):
            pieces: list[Tensor] = list(order.to(device).split(small))
            total, square = torch.zeros((), dtype=torch.float64, device=device), 0.0
            for rows in pieces:
                gradient = self._gradient(rows, rows_at_once)
                square += gradient.square().sum().item()
                total = gradient.add_(total)
        for name, value in recipe.net.named_buffers():
            value.copy_(state[name])
        self.small_square += square / len(pieces)
        self.big_square += (total / len(pieces)).square().sum().item()
        self.count += 1

    def _sizes(self) -> tuple[int, int]:
        """Rows of a piece and of a batch of whole pieces."""
        batch = self.recipe.choices.batch_size
        small = max(1, batch // _PIECES)
        return small, small * min(_PIECES, batch)

    def _gradient(self, rows: Tensor, rows_at_once: int) -> Tensor:
        """That of the mean loss of rows, float64, piece by piece."""
        recipe, whole = self.recipe, self.recipe.training.take(rows)
        weight = whole.total_weight() or 1.0
        total = torch.zeros((), dtype=torch.float64, device=recipe.device)
        for start in range(0, len(whole), rows_at_once):
            piece = whole.piece(start, rows_at_once)
            loss = recipe.loss_of(piece) * (piece.total_weight() / weight)
            gradients = torch.autograd.grad(
                loss, recipe.optimizer.parameters, allow_unused=True, materialize_grads=True
            )
            total = torch.cat([gradient.flatten().double() for gradient in gradients]).add_(total)
        return total

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

    def measure(self) -> None:
        """Takes one more batch into account; costs about one step."""
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
            found = [self._gradient(rows) for rows in pieces]
        for name, value in recipe.net.named_buffers():
            value.copy_(state[name])
        self.small_square += sum(gradient.square().sum().item() for gradient in found) / len(found)
        self.big_square += torch.stack(found).mean(dim=0).square().sum().item()
        self.count += 1

    def _sizes(self) -> tuple[int, int]:
        """Rows of a piece and of a batch of whole pieces."""
        batch = self.recipe.choices.batch_size
        small = max(1, batch // _PIECES)
        return small, small * min(_PIECES, batch)

    def _gradient(self, rows: Tensor) -> Tensor:
        recipe = self.recipe
        loss = recipe.loss_of(recipe.training.take(rows))
        gradients = torch.autograd.grad(
            loss, recipe.optimizer.parameters, allow_unused=True, materialize_grads=True
        )
        return torch.cat([gradient.flatten().double() for gradient in gradients])

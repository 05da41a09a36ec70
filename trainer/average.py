"""A moving average of the weights, which is what is evaluated and published where it is asked for.

Averages of the steps' weights generalise better than the last ones (Polyak and Juditsky 1992);
the decay of the first steps is lower so that the initial weights are forgotten.
"""
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass, field

import torch
from torch import Tensor

from twofold.nets.net import Net


def decay_at(decay: float, step_count: int) -> float:
    """The decay of the update after `step_count` steps."""
    return min(decay, (1 + step_count) / (10 + step_count))


@dataclass(slots=True)
class Average:
    """The average of `source`'s parameters in `net`, a net of the same graph on its device."""

    net: Net
    source: Net
    decay: float
    #: What the newest weights count, on the device: a captured step reads it at every replay.
    _share: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.net.load_state_dict(self.source.state_dict())
        (device,) = {parameter.device for parameter in self.net.parameters()}
        self._share = torch.zeros((), device=device)

    def prepare(self, step_count: int) -> None:
        """Sets how the next update counts, which is the one after `step_count` steps."""
        self._share.fill_(1 - decay_at(self.decay, step_count))

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the newest weights; buffers are copied."""
        for kept, newest in zip(self.net.parameters(), self.source.parameters(), strict=True):
            kept.lerp_(newest, self._share)
        for buffer, live in zip(self.net.buffers(), self.source.buffers(), strict=True):
            buffer.copy_(live)

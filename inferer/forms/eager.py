"""The net as it is, on the CPU or another device: the form that every other one must equal."""
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from inferer.forms.form import Columns
from twofold.features import Scores
from twofold.nets import pieces, registry
from twofold.nets.net import Net
from twofold.tensors import Array


class EagerForm:
    """See Form."""

    name = "eager"
    most_rows = None

    def __init__(self, net: Net, device: torch.device) -> None:
        self.net = net
        self._device = device

    def put(self, columns: Columns, rows: int) -> list[Tensor]:
        """See Form."""
        del rows
        return [torch.from_numpy(joined(column)).to(self._device) for column in columns]

    @torch.inference_mode()
    def compute(self, batch: Sequence[Tensor]) -> Scores:
        """See Form."""
        return registry.arrays_of(self.net.head(pieces.run(self.net, batch)))


def joined(column: Sequence[Array]) -> Array:
    """The rows of all requests, always copied: torch wants no read-only arrays."""
    return np.concatenate(column)

"""Rows that are resident on the device."""
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass

from torch import Tensor

#: Dimensions of a batch of images, which stand channels last.
IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class Rows:
    """The network's inputs, the target and perhaps a weight of each row, indexed alike."""

    inputs: tuple[Tensor, ...]
    target: Tensor
    #: float32 [N]; None: every row weighs 1.
    weight: Tensor | None = None

    def __len__(self) -> int:
        return self.target.shape[0]  # len() of a tensor is a call in Python

    def take(self, rows: Tensor) -> "Rows":
        """These rows, gathered on the device; `rows` is int64 [B].

        Measured against a copy of all data in the epoch's order, on a CPU: as fast (253k rows/s
        each, batches of 8192 of 28 features), without holding the data twice.
        """
        weight = None if self.weight is None else self.weight.index_select(0, rows)
        inputs = tuple(_gather(tensor, rows) for tensor in self.inputs)
        return Rows(inputs, self.target.index_select(0, rows), weight)

    def piece(self, start: int, count: int) -> "Rows":
        """Views of at most `count` rows from `start`."""
        part = slice(start, start + count)
        weight = None if self.weight is None else self.weight[part]
        return Rows(tuple(tensor[part] for tensor in self.inputs), self.target[part], weight)

    def total_weight(self) -> float:
        """Sum of the weights, in double precision."""
        return len(self) if self.weight is None else self.weight.double().sum().item()


def _gather(tensor: Tensor, rows: Tensor) -> Tensor:
    """Rows of a tensor, in its layout: index_select itself would put channels first."""
    if tensor.dim() != IMAGE_RANK:
        return tensor.index_select(0, rows)
    return tensor.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)

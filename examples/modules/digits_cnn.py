"""A network of one's own: a small residual CNN on the 8 x 8 digits, which stand as 64 columns.

twofold train examples/modules/digits_cnn.toml --module examples/modules/digits_cnn.py:DigitsCnn
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two convolutions with a way around them (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, 8, 8] to the same."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(y)))


class DigitsCnn(nn.Module):
    """Ten scores for a digit."""

    def __init__(self, width: int = 16, depth: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """FP32 [B, 64], pixels 0 to 16, to FP32 [B, 10]."""
        image = x.reshape(len(x), 1, 8, 8) / 16
        features = self.blocks(functional.relu(self.stem(image)))
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return self.scores(self.dropout(pooled))

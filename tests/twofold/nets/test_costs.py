"""Multiply-adds of a row, as counted by hand."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import pytest
import torch
from torch import nn

from twofold.nets import meta
from twofold.nets.tracing import trace


class Gru(nn.Module):
    """A GRU over a sequence, of which the last state goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 8, batch_first=True)
        self.last = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.gru(x)[0][:, -1])


CASES = {
    "linear": (nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), (5,), 5 * 7 + 7 * 3),
    "convolution": (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), (3, 6, 6), 8 * 36 * 27),
    "groups": (nn.Sequential(nn.Conv2d(4, 8, 3, groups=2)), (4, 6, 6), 8 * 16 * 18),
    "transposed": (nn.Sequential(nn.ConvTranspose1d(3, 5, 2)), (3, 7), 3 * 7 * 5 * 2),
    "attention": (
        nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)),
        (5, 16),
        5 * 16 * (48 + 16 + 32 + 32) + 2 * 2 * 5 * 5 * 8,
    ),
    "gru": (Gru(), (10, 4), 10 * (4 * 24 + 8 * 24) + 8 * 2),
}


@pytest.mark.parametrize(("module", "shape", "expected"), CASES.values(), ids=CASES)
def test_a_rows_cost_is_its_multiply_adds(
    module: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert meta.measure(trace(module, torch.zeros(2, *shape)).graph).row_cost == expected

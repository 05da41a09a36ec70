"""What is folded, what is fused, and what must not be."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import pytest
import torch
from torch import Tensor, nn

from inferer.forms.folding import Dense
from inferer.forms.fused import FusedForm
from tests.inferer.forms.nets import (
    assert_equal,
    eager,
    folded_of,
    net_of,
    operations,
    scores,
)

ROWS, IMAGES = torch.randn(3, 4), torch.randn(3, 2, 6, 6)


def trained(module: nn.Module, *inputs: Tensor) -> nn.Module:
    """With running statistics that are not the first ones."""
    with torch.no_grad():
        for _ in range(3):
            module.train()(*[tensor * 3 + 1 for tensor in inputs])
    return module.eval()


class Scaled(nn.Module):
    """Standardised by buffers, as the catalogue does."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((4,), offset))
        self.register_buffer("deviation", torch.full((4,), 0.5))
        self.layer = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x - self.mean) / self.deviation)


class Twice(nn.Module):
    """A layer whose result is read by an activation and by a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return torch.relu(y) + y


class Positions(nn.Module):
    """Adds what is known before any row comes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 4)
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        known = self.table(torch.arange(4)).sum(0).tanh()
        return self.layer(x + known)


class Noisy(nn.Module):
    """Answers otherwise each time, though it reads no row's values."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(torch.zeros(4))


CASES: list[tuple[nn.Module, Tensor, list[str]]] = [
    (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 2)), ROWS, ["Dense"] * 2),
    (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh()), ROWS, ["Dense"]),
    (nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), ROWS, ["Dense"]),
    (nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()), IMAGES, ["Convolve"]),
    (Scaled(1.0), ROWS, ["Dense"]),
    (Scaled(100.0), ROWS, ["Affine", "Dense"]),
    (Twice(), ROWS, ["Dense", "Activate", "Other"]),
    (Positions(), ROWS, ["Dense"]),
    (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm2d(2)), IMAGES, ["Dense", "Other"]),
]


@pytest.mark.parametrize(
    ("module", "inputs", "wanted"), CASES, ids=lambda each: type(each).__name__
)
def test_a_net_becomes_these_operations_with_its_answers(
    module: nn.Module, inputs: Tensor, wanted: list[str]
) -> None:
    net = net_of(trained(module, inputs), inputs)

    assert operations(net, inputs) == wanted
    other = torch.randn_like(inputs) * 2
    assert_equal(scores(FusedForm(net, folded_of(net, inputs)), other), eager(net, other))


@pytest.mark.parametrize(("offset", "most"), [(1.0, 1e-5), (100.0, 1e-5), (1e5, 1e-2)])
def test_a_mean_far_from_zero_keeps_its_digits(offset: float, most: float) -> None:
    """Standardised after the product, numbers near 1e5 would be off by far more than 1 %."""
    module = Scaled(offset)
    net = net_of(module, ROWS)
    near = offset + torch.randn(50, 4)
    wanted = module.double()(near.double()).detach().numpy()

    (found,) = scores(FusedForm(net, folded_of(net, ROWS)), near)

    assert abs(found - wanted).max() < most


def test_what_is_random_is_no_constant() -> None:
    net = net_of(Noisy(), ROWS)

    assert "Other" in operations(net, ROWS)
    first, second = eager(net, ROWS)[0], eager(net, ROWS)[0]
    assert (first != second).any()


def test_constants_are_worked_out_once() -> None:
    net = net_of(Positions(), ROWS)

    folded = folded_of(net, ROWS)

    assert len(folded.operations) == 1
    (dense,) = folded.operations.values()
    assert isinstance(dense, Dense)
    assert dense.source == 0


def test_a_norm_after_an_activation_is_not_folded_into_the_layer_before_it() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3))
    net = net_of(trained(module, IMAGES), IMAGES)

    assert operations(net, IMAGES) == ["Convolve", "Other"]


def test_the_rows_of_a_request_are_left_as_they_are() -> None:
    net = net_of(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), ROWS)
    rows = torch.randn(2, 4)
    before = rows.clone()

    scores(FusedForm(net, folded_of(net, ROWS)), rows)

    torch.testing.assert_close(rows, before, rtol=0, atol=0)

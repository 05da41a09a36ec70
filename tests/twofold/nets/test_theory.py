"""What theory says about these networks, checked: derivatives, and what one layer can learn."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.twofold.nets import graphs
from twofold.nets import catalogue, losses, tables, values
from twofold.nets.net import Net, init
from twofold.truth_tables import truth_table
from twofold.v1 import graph_pb2, spec_pb2

ACTIVATIONS = list(tables.ACTIVATIONS)
SMOOTH = [activation for activation in ACTIVATIONS if activation != spec_pb2.ACTIVATION_STEP]
#: |x| is PReLU with the slope -1, which it may learn: the one neuron here that can learn XOR.
HALF_PLANES = [activation for activation in ACTIVATIONS if activation != spec_pb2.ACTIVATION_PRELU]


def _name(activation: spec_pb2.Activation) -> str:
    return spec_pb2.Activation.Name(activation)


def _table(name: str) -> tuple[Tensor, Tensor]:
    arrays = truth_table(name).arrays
    x = torch.tensor(list(zip(arrays["a"].tolist(), arrays["b"].tolist(), strict=True)))
    return x, torch.from_numpy(arrays["label"])


def _right(net: Net, x: Tensor, label: Tensor) -> int:
    """How many rows a net labels right."""
    with torch.no_grad():
        scores = net.eval().head(net(x))
    net.train()
    return int((scores.argmax(1) == label).sum())


def _difference(function: Callable[[Tensor], Tensor], at: Tensor, h: float) -> Tensor:
    """(f(z + h) - f(z - h)) / 2h, whose limit for h to 0 is the derivative."""
    return (function(at + h) - function(at - h)) / (2 * h)


def _points() -> Tensor:
    """Points from -8 to 8, away from the kinks, all of which are multiples of 1/2."""
    grid = torch.linspace(-7.93, 7.91, 193, dtype=torch.float64)
    return grid[((grid * 2) - (grid * 2).round()).abs() > 0.1]


@pytest.mark.parametrize("activation", SMOOTH, ids=_name)
def test_autograd_is_the_limit_of_difference_quotients(activation: spec_pb2.Activation) -> None:
    """The error of the central difference shrinks with h squared down to rounding."""
    module = init(graphs.of_module(tables.ACTIVATIONS[activation]), 0).double().eval()
    z = _points().unsqueeze(1).expand(-1, 3).requires_grad_()
    (derivative,) = torch.autograd.grad(module(z).sum(), z)

    errors = {
        h: (_difference(module, z.detach(), h) - derivative).abs().max().item()
        for h in (1e-2, 1e-3, 1e-4)
    }

    for h, error in errors.items():
        # A third of h^2 times the third derivative, below 2 everywhere here, and rounding over h.
        assert error <= h * h + 1e-14 / h


CASES = [
    (spec_pb2.FAMILY_LINEAR, spec_pb2.LOSS_MSE, ()),
    (spec_pb2.FAMILY_NEURON, spec_pb2.LOSS_MSE, ("0", "1")),
    (spec_pb2.FAMILY_LOGISTIC, spec_pb2.LOSS_BCE, ("0", "1")),
    (spec_pb2.FAMILY_SOFTMAX, spec_pb2.LOSS_CROSS_ENTROPY, ("0", "1", "2")),
    (spec_pb2.FAMILY_PERCEPTRON, spec_pb2.LOSS_PERCEPTRON, ("0", "1")),
    (spec_pb2.FAMILY_MLP, spec_pb2.LOSS_MSE, ()),
    (spec_pb2.FAMILY_LINEAR, spec_pb2.LOSS_L1, ()),
    (spec_pb2.FAMILY_LINEAR, spec_pb2.LOSS_HUBER, ()),
    (spec_pb2.FAMILY_MLP, spec_pb2.LOSS_QUANTILE, ()),
    (spec_pb2.FAMILY_MLP, spec_pb2.LOSS_FOCAL, ("0", "1", "2")),
    (spec_pb2.FAMILY_MLP, spec_pb2.LOSS_BCE, ("0", "1")),
    (spec_pb2.FAMILY_MLP, spec_pb2.LOSS_CROSS_ENTROPY, ("0", "1", "2")),
]


def test_every_loss_is_among_the_cases() -> None:
    own = {spec_pb2.LOSS_UNSPECIFIED, spec_pb2.LOSS_CUSTOM}
    assert {loss for _, loss, _ in CASES} == set(spec_pb2.Loss.values()) - own


@pytest.mark.parametrize(("family", "loss", "labels"), CASES)
def test_gradients_of_losses_are_difference_quotients(
    family: spec_pb2.Family, loss: spec_pb2.Loss, labels: tuple[str, ...]
) -> None:
    """Through the whole network, by every single parameter."""
    hidden = (4, 3) if family == spec_pb2.FAMILY_MLP else ()
    chooses = family in (spec_pb2.FAMILY_MLP, spec_pb2.FAMILY_NEURON)
    activation = spec_pb2.ACTIVATION_TANH if chooses else spec_pb2.ACTIVATION_UNSPECIFIED
    data = graphs.features(labels=labels)
    graph = graphs.built(family, loss, data=data, activation=activation, hidden=hidden)
    options = spec_pb2.TrainingOptions(
        label_smoothing=0.1, focal_gamma=2, huber_delta=0.7, quantile=0.8
    )
    net, function = init(graph, 4).double(), losses.loss_function(loss, graph, options)
    generator = torch.Generator().manual_seed(9)
    x = torch.randn((12, 2), generator=generator, dtype=torch.float64)
    drawn = torch.randint(max(len(labels), 2), (12,), generator=generator)
    target = drawn if labels else drawn.double().unsqueeze(1)
    gradients = torch.autograd.grad(function(net(x), target), list(net.parameters()))
    h = 1e-6

    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        flat = parameter.data.view(-1)
        for index, expected in enumerate(gradient.view(-1).tolist()):
            flat[index] += h
            above = function(net(x), target).item()
            flat[index] -= 2 * h
            below = function(net(x), target).item()
            flat[index] += h

            assert (above - below) / (2 * h) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("activation", HALF_PLANES, ids=_name)
def test_a_neuron_says_class_1_on_a_half_plane(activation: spec_pb2.Activation) -> None:
    """Also where the activation is not monotone (GELU, SiLU, Mish, Hardswish).

    Once its value has reached the threshold it stays there, so {w.x + b: class 1} is a half-line,
    and what a neuron can tell apart is exactly what a line can.
    """
    graph = graphs.of_nodes(width=1)
    kind = tables.ACTIVATIONS[activation]
    graph.modules.add(path="m", kind=kind, arguments=tables.arguments(kind))
    graph.nodes.add(name="m", module="m", arguments=[values.node("x")])
    graph.head = graph_pb2.HEAD_THRESHOLD
    graph.head_threshold = catalogue.threshold(activation)
    net = init(graph, 0).eval()
    z = torch.linspace(-50, 50, 100_001).unsqueeze(1)

    is_one = net.head(net(z))[:, 1]

    assert (is_one.diff() >= 0).all()
    assert is_one[0] == 0
    assert is_one[-1] == 1


def test_no_line_separates_xor() -> None:
    """The two rows of each class have one sum, so the scores of the classes have one sum too.

    A line would need s(0,1), s(1,0) >= t > s(0,0), s(1,1) for s(x) = w.x + b: their sums differ.
    """
    x, label = _table("xor")

    assert torch.equal(x[label == 0].sum(0), x[label == 1].sum(0))
    assert (label == 0).sum() == (label == 1).sum()


@pytest.mark.parametrize(("name", "best"), [("and", 4), ("or", 4), ("xor", 3)])
def test_lines_on_a_grid_get_3_of_4_of_xor_and_all_of_and_and_or(name: str, best: int) -> None:
    x, label = _table(name)
    weights = torch.cartesian_prod(*[torch.linspace(-2, 2, 33)] * 3)

    is_one = weights[:, :2] @ x.T + weights[:, 2:] >= 0

    assert (is_one == label.bool()).sum(1).max().item() == best


def test_prelu_is_the_exception_that_learns_xor() -> None:
    """|x1 - x2| is XOR; PReLU is |x| at the slope -1."""
    graph = graphs.built(spec_pb2.FAMILY_NEURON, activation=spec_pb2.ACTIVATION_PRELU)
    net = init(graph, 0)
    net.load_state_dict(
        {
            "output.weight": torch.tensor([[1.0, -1.0]]),
            "output.bias": torch.tensor([0.0]),
            "activation.weight": torch.tensor([-1.0]),
        }
    )

    assert _right(net, *_table("xor")) == 4


def _train(graph: graph_pb2.Graph, name: str, steps: int, seed: int) -> tuple[Net, int]:
    """The net after full-batch Adam, and the most rows it had right at any time."""
    x, label = _table(name)
    net = init(graph, seed)
    loss = losses.loss_function(_LOSS_OF_HEAD[graph.head], graph)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    most = 0
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net(x), label).backward()
        optimizer.step()
        most = max(most, _right(net, x, label))
    return net, most


_LOSS_OF_HEAD = {
    graph_pb2.HEAD_SIGMOID: spec_pb2.LOSS_BCE,
    graph_pb2.HEAD_SOFTMAX: spec_pb2.LOSS_CROSS_ENTROPY,
    graph_pb2.HEAD_STEP: spec_pb2.LOSS_PERCEPTRON,
    graph_pb2.HEAD_THRESHOLD: spec_pb2.LOSS_MSE,
}
_SINGLE = [
    (family, spec_pb2.ACTIVATION_UNSPECIFIED)
    for family in (spec_pb2.FAMILY_PERCEPTRON, spec_pb2.FAMILY_LOGISTIC, spec_pb2.FAMILY_SOFTMAX)
] + [(spec_pb2.FAMILY_NEURON, activation) for activation in HALF_PLANES]


@pytest.mark.parametrize(("family", "activation"), _SINGLE)
def test_training_one_layer_never_gets_more_than_3_of_4_of_xor(
    family: spec_pb2.Family, activation: spec_pb2.Activation
) -> None:
    graph = graphs.built(family, activation=activation)

    _, most = _train(graph, "xor", steps=60, seed=1)

    assert most <= 3


def test_linear_regression_of_xor_is_one_half_everywhere() -> None:
    """The least-squares line through XOR is constant, so no threshold gets more than 2 of 4."""
    x, label = _table("xor")
    design = torch.cat([x, torch.ones(4, 1)], dim=1)

    solution = torch.linalg.lstsq(design, label.float().unsqueeze(1)).solution

    torch.testing.assert_close(design @ solution, torch.full((4, 1), 0.5))


@pytest.mark.parametrize("name", ["and", "or"])
@pytest.mark.parametrize("seed", range(3))
def test_the_perceptron_rule_learns_and_and_or(name: str, seed: int) -> None:
    """Row after row, rate 1: Novikoff's theorem says that the mistakes come to an end."""
    x, label = _table(name)
    graph = graphs.built(spec_pb2.FAMILY_PERCEPTRON)
    net = init(graph, seed)
    loss = losses.loss_function(spec_pb2.LOSS_PERCEPTRON, graph)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)

    for _, row in itertools.product(range(25), range(4)):
        optimizer.zero_grad()
        loss(net(x[row : row + 1]), label[row : row + 1]).backward()
        optimizer.step()

    assert _right(net, x, label) == 4


@pytest.mark.parametrize("seed", range(3))
def test_an_mlp_2_8_1_learns_xor_exactly(seed: int) -> None:
    graph = graphs.built(
        spec_pb2.FAMILY_MLP,
        spec_pb2.LOSS_BCE,
        activation=spec_pb2.ACTIVATION_TANH,
        hidden=[8],
    )

    net, _ = _train(graph, "xor", steps=200, seed=seed)

    assert _right(net, *_table("xor")) == 4

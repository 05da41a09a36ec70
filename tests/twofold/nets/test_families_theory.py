"""What the deep families compute, held against theory and against torch's own modules."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.twofold.nets import families
from twofold.nets import bounds, catalogue
from twofold.nets.net import Net, init
from twofold.v1 import graph_pb2, spec_pb2


def _answers(net: Net, graph: graph_pb2.Graph) -> tuple[tuple[Tensor, ...], Tensor]:
    inputs = families.rows(graph, 6)
    with torch.no_grad():
        answers = net.eval()(*inputs)
    assert isinstance(answers, Tensor)
    return inputs, answers


def _zero(net: Net, *endings: str) -> None:
    with torch.no_grad():
        for path, parameter in net.named_parameters():
            if path.rpartition(".")[0].endswith(endings):
                parameter.zero_()


def _take(layers: nn.Sequential, net: Net, *paths: str) -> None:
    """Gives each layer what the net has at a path."""
    state = net.state_dict()
    found = {
        key: state[paths[int(key.partition(".")[0])] + "." + key.partition(".")[2]]
        for key in layers.state_dict()
    }
    layers.load_state_dict(found)


def test_residual_blocks_that_add_nothing_are_not_there() -> None:
    """He et al. 2016: a block learns what to add; adding 0 leaves the identity."""
    network = families.NETWORKS[spec_pb2.FAMILY_RESIDUAL_MLP]
    graph = families.built(network, catalogue.Sizes(3, (), 3), scaling=False).graph
    net = init(graph, 1)
    _zero(net, ".second")

    (x,), answers = _answers(net, graph)

    state = net.state_dict()
    stem = functional.linear(x, state["stem.weight"], state["stem.bias"])
    hidden = functional.layer_norm(stem, (8,), state["norm.weight"], state["norm.bias"]).relu()
    expected = functional.linear(hidden, state["output.weight"], state["output.bias"])
    torch.testing.assert_close(answers, expected)
    assert len([path for path in state if path.endswith(".second.weight")]) == 2


def test_basic_blocks_that_add_nothing_are_not_there() -> None:
    """Goyal et al. 2017: with the last norm of each block at 0, a ResNet is its stem.

    What passes an activation passes the next ones unchanged, as ReLU does not change what it gave.
    """
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESNET, channels=[4], blocks=3)
    graph = families.built(network, scaling=False).graph
    net = init(graph, 1)
    _zero(net, ".norm2")

    (x,), answers = _answers(net, graph)

    state = net.state_dict()
    stem = functional.conv2d(x, state["stem.conv.weight"], padding=1)
    stem = functional.batch_norm(
        stem, state["stem.norm.running_mean"], state["stem.norm.running_var"]
    )
    pooled = stem.relu().mean((2, 3))
    expected = functional.linear(pooled, state["output.weight"], state["output.bias"])
    torch.testing.assert_close(answers, expected)


def test_a_resnet_has_two_layers_in_each_block_and_projects_where_sizes_differ() -> None:
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESNET, channels=[16, 32, 64], blocks=3)
    graph = families.built(network, catalogue.Sizes(0, (), 10, (3, 32, 32), "a")).graph
    paths = [module.path for module in graph.modules]

    # He et al. 2016, table 6: 20 layers, 0.27 million parameters; two projections more.
    layers = [path for path in paths if path.endswith((".conv1", ".conv2", "stem.conv", "output"))]
    assert len(layers) == 6 * 3 + 2
    shortcuts = [path for path in paths if path.endswith("shortcut.conv")]
    assert shortcuts == ["stages.1.0.shortcut.conv", "stages.2.0.shortcut.conv"]
    assert bounds.parameter_count(graph) == 269_722 + (16 * 32 + 64) + (32 * 64 + 128)


def test_a_cnn_is_what_torch_makes_of_the_same_layers() -> None:
    network = spec_pb2.NetworkSpec(
        family=spec_pb2.FAMILY_CNN,
        channels=[4, 6],
        kernel_size=5,
        activation=spec_pb2.ACTIVATION_TANH,
        pooling=spec_pb2.POOLING_MEAN,
        normalization=spec_pb2.NORMALIZATION_GROUP,
    )
    graph = families.built(network, scaling=False).graph
    net = init(graph, 1)
    layers = nn.Sequential(
        *[nn.Conv2d(2, 4, 5, padding="same", bias=False), nn.GroupNorm(2, 4)],
        *[nn.Tanh(), nn.AvgPool2d(2)],
        *[nn.Conv2d(4, 6, 5, padding="same", bias=False), nn.GroupNorm(1, 6)],
        *[nn.Tanh(), nn.AvgPool2d(2)],
        *[nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)],
    )
    _take(layers, net, "conv.0", "norm.0", "", "", "conv.1", "norm.1", "", "", "", "", "output")

    (x,), answers = _answers(net, graph)

    torch.testing.assert_close(answers, layers(x))


def test_a_cnn1d_convolves_over_time() -> None:
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN1D, channels=[4], kernel_size=3)
    graph = families.built(network, scaling=False).graph
    net = init(graph, 1)
    layers = nn.Sequential(
        *[nn.Conv1d(2, 4, 3, padding=1, bias=False), nn.BatchNorm1d(4), nn.ReLU()],
        *[nn.AvgPool1d(2), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(4, 3)],
    ).eval()
    _take(layers, net, "conv.0", "norm.0", "", "", "", "", "output")

    (x,), answers = _answers(net, graph)

    torch.testing.assert_close(answers, layers(x.transpose(1, 2)))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "pooling", [spec_pb2.POOLING_LAST, spec_pb2.POOLING_MEAN, spec_pb2.POOLING_MAX]
)
def test_a_gru_gives_its_last_states_or_pools_its_answers(
    pooling: spec_pb2.Pooling,
    bidirectional: bool,  # noqa: FBT001 - a parameter
) -> None:
    network = spec_pb2.NetworkSpec(
        family=spec_pb2.FAMILY_GRU,
        width=5,
        layers=2,
        pooling=pooling,
        bidirectional=bidirectional,
    )
    graph = families.built(network, scaling=False).graph
    net = init(graph, 1)
    state = net.state_dict()
    gru = nn.GRU(2, 5, 2, batch_first=True, bidirectional=bidirectional)
    gru.load_state_dict({path: state[f"gru.{path}"] for path in gru.state_dict()})

    (x,), answers = _answers(net, graph)

    outputs, ends = gru(x)
    last = torch.cat([ends[2], ends[3]], dim=1) if bidirectional else ends[1]
    pooled = {
        spec_pb2.POOLING_LAST: last,
        spec_pb2.POOLING_MEAN: outputs.mean(1),
        spec_pb2.POOLING_MAX: outputs.amax(1),
    }[pooling]
    expected = functional.linear(pooled, state["output.weight"], state["output.bias"])
    torch.testing.assert_close(answers, expected)


def test_an_unknown_category_has_a_row_of_its_own_that_stays_zero() -> None:
    network = families.NETWORKS[spec_pb2.FAMILY_EMBEDDING_MLP]
    graph = families.built(network, scaling=False).graph
    net = init(graph, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    x = torch.zeros(4, 3)
    for _ in range(3):
        optimizer.zero_grad()
        index = torch.tensor([[-1, 8], [0, -1], [3, 0], [2, 5]])
        net(x, index).square().sum().backward()  # pyright: ignore[reportAttributeAccessIssue] - one output
        optimizer.step()
    state = net.state_dict()

    unknown = net.eval()(x[:1], torch.tensor([[-1, -1]]))

    assert state["embedding.0.weight"].shape == (5, 3)
    assert state["embedding.1.weight"].shape == (10, 5)
    for place in (0, 1):
        table = state[f"embedding.{place}.weight"]
        assert not table[0].any()
        assert table[1:].any(dim=1).all()
    hidden = state["hidden.0.bias"].relu()
    expected = functional.linear(hidden, state["output.weight"], state["output.bias"])
    torch.testing.assert_close(unknown, expected.unsqueeze(0))


def test_a_category_reads_the_row_behind_its_index() -> None:
    network = spec_pb2.NetworkSpec(
        family=spec_pb2.FAMILY_EMBEDDING_MLP, hidden=[6], embedding_dim=2
    )
    graph = families.built(network, catalogue.Sizes(0, (3, 4), 3)).graph
    net = init(graph, 1)
    state = net.state_dict()

    answers = net.eval()(torch.tensor([[2, 0]]))

    first, second = state["embedding.0.weight"][3], state["embedding.1.weight"][1]
    features = torch.cat([first, second])
    hidden = functional.linear(features, state["hidden.0.weight"], state["hidden.0.bias"]).relu()
    expected = functional.linear(hidden, state["output.weight"], state["output.bias"])
    torch.testing.assert_close(answers, expected.unsqueeze(0))


@pytest.mark.parametrize(
    "family", [spec_pb2.FAMILY_RESNET, spec_pb2.FAMILY_EMBEDDING_MLP], ids=spec_pb2.Family.Name
)
def test_a_pass_is_one_graph_for_torch_compile(family: spec_pb2.Family) -> None:
    graph = families.built(families.NETWORKS[family]).graph
    net = init(graph, 0).eval()
    inputs = families.rows(graph, 4)

    compiled = torch.compile(net, backend="eager", fullgraph=True)

    assert torch.equal(compiled(*inputs), net(*inputs))

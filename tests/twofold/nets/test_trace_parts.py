"""Parts of modules that are used in other ways than by calling each once."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import checkpoint
from torch.utils.checkpoint import checkpoint as by_name

from twofold.nets import InvalidModule, trace
from twofold.nets.net import Net, load


def behind(module: nn.Module, x: Tensor) -> Net:
    traced = trace(module, x)
    return load(traced.graph, traced.state)


def check_alike(module: nn.Module, net: Net, x: Tensor) -> None:
    """Answers and gradients in training mode."""
    wanted, found = module.train()(x), net.train()(x)
    torch.testing.assert_close(found, wanted)
    wanted.square().sum().backward()
    found.square().sum().backward()
    theirs = {name: each.grad for name, each in module.named_parameters()}
    torch.testing.assert_close({name: each.grad for name, each in net.named_parameters()}, theirs)
    assert net.state_dict().keys() == module.state_dict().keys()


class Sliced(nn.Module):
    """Slices of a Sequential are modules that nobody registered; one part is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.norm(self.layers[:2](x)) + self.layers[2:](x))


def test_slices_and_repeated_calls_keep_their_parameters() -> None:
    module, x = Sliced(), torch.randn(5, 4)
    net = behind(module, x)

    check_alike(module, net, x)
    assert net.state_dict()["norm.num_batches_tracked"] == 2


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = by_name(self.one, x, use_reentrant=False)  # pyright: ignore[reportAssignmentType]
        return checkpoint.checkpoint(self.other, x, use_reentrant=False)  # pyright: ignore[reportReturnType]


def test_checkpoints_of_activations_are_gone_through() -> None:
    module, x = Checkpointed(), torch.randn(5, 4)

    check_alike(module, behind(module, x), x)
    assert checkpoint.checkpoint is by_name
    assert by_name.__name__ == "checkpoint"


class Shared(nn.Module):
    """One matrix at three places, two of them within a recurrent module."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 4, num_layers=2, batch_first=True)
        self.first = self.rnn.weight_hh_l0
        self.rnn.weight_hh_l1 = self.rnn.weight_hh_l0
        self.conv = nn.Conv1d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.conv.forward(states.mT) + self.first[0, 0]  # pyright: ignore[reportIndexIssue]


def test_one_parameter_at_many_places_stays_one() -> None:
    module, x = Shared(), torch.randn(5, 3, 4)
    net = behind(module, x)

    check_alike(module, net, x)
    assert net.rnn.weight_hh_l0 is net.rnn.weight_hh_l1  # pyright: ignore[reportAttributeAccessIssue]
    assert len(list(net.parameters())) == len(list(module.parameters()))


class Positions(nn.Module):
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(1, 10, 4))
        self.bag = nn.EmbeddingBag(12, 4, mode="sum")

    def forward(self, x: Tensor) -> Tensor:
        x = copy.copy(x) + self.table[:, : x.size(1)].requires_grad_(False)  # noqa: FBT003 - as people do
        ids = x.long().abs().clamp(max=11)[..., 0]
        starts = torch.arange(0, ids.numel(), ids.size(1))
        return x.mean(1) + self.bag(ids.reshape(-1), starts)


def test_offsets_of_bags_follow_the_batch() -> None:
    module, x = Positions(), torch.randn(5, 3, 4)

    check_alike(module, behind(module, x), x)


class Few(nn.Module):
    """Sizes that only small batches change."""

    def forward(self, x: Tensor) -> Tensor:
        first = x[:4]
        return first.sum(0).expand(x.shape[0], -1) / first.shape[0]


def test_a_size_that_only_small_batches_change_is_still_a_node() -> None:
    """Whatever the example's own size is."""
    net = behind(Few(), torch.randn(64, 3))

    for rows in (1, 3, 4, 9):
        x = torch.randn(rows, 3)
        torch.testing.assert_close(net(x), Few()(x))


class Constants(nn.Module):
    """Names that a constant of a trace would have."""

    def __init__(self) -> None:
        super().__init__()
        self.constant_0 = nn.Parameter(torch.ones(3))
        self.constant_1 = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        shifted = self.constant_1(x * self.constant_0) + torch.tensor([1.0, 2.0, 3.0])
        return shifted * torch.tensor([3.0, 2.0, 1.0])


def test_constants_keep_apart_from_names_of_the_module() -> None:
    module, x = Constants(), torch.randn(5, 3)

    check_alike(module, behind(module, x), x)


class Unread(nn.Module):
    """Draws and counts what nothing reads, before what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.spare, self.drop, self.idle = nn.Linear(4, 9), nn.Dropout(0.5), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        functional.dropout(x, 0.3, training=self.training)
        self.norm(x)
        self.idle(x)
        self.spare(x)
        return self.drop(self.linear(x))


def test_draws_and_counts_happen_also_where_nothing_reads_them() -> None:
    """Else another part of the random numbers would follow, or a running mean stand still."""
    module, x = Unread(), torch.randn(5, 4)
    net = behind(module, x)

    torch.manual_seed(3)
    wanted = module.train()(x)
    torch.manual_seed(3)
    torch.testing.assert_close(net.train()(x), wanted)
    torch.testing.assert_close(net.state_dict(), module.state_dict())
    called = [node.module for node in net.graph.nodes if node.module]
    assert called == ["norm", "idle", "linear", "drop"]
    eval_nodes = net.graph.eval_nodes or net.graph.nodes
    assert [node.module for node in eval_nodes if node.module] == ["linear", "drop"]


class TwoNames(nn.Module):
    """One part under two names."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.first = self.second = part

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def test_a_norm_of_two_names_is_refused_as_only_one_would_be_kept() -> None:
    """What has no figures that training moves may be shared: its parameters are tied."""
    with pytest.raises(InvalidModule, match=r"figures of one norm stand at first\.\w+ and second"):
        trace(TwoNames(nn.BatchNorm1d(4)), torch.randn(3, 4))

    module = TwoNames(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    check_alike(module, behind(module, torch.randn(3, 4)), torch.randn(5, 4))

"""Examples of families for arrays train to a good score: their networks, by torch alone."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from twofold import spec_fields, toml_spec
from twofold.nets import catalogue, losses, tables
from twofold.nets.net import Net, init
from twofold.v1 import spec_pb2

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the trainer chooses for steps as small as these: others would wait for each other."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def _data(asked: spec_pb2.TrainingSpec, name: str) -> tuple[Tensor, Tensor]:
    """Rows and labels of an example's file, in an order of their own."""
    with np.load(EXAMPLES / asked.data.dataset) as arrays:
        x = torch.from_numpy(arrays[name])
        _, label = np.unique(arrays[asked.data.target], return_inverse=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order], torch.from_numpy(label)[order]


def _standardise(net: Net, x: Tensor) -> None:
    """As training does: by all but the one dimension that the states have."""
    state = net.state_dict()
    mean = state[tables.SCALE_MEAN]
    over = [0, *[place + 1 for place, size in enumerate(mean.shape) if size == 1]]
    mean.copy_(x.mean(over).view(mean.shape))
    state[tables.SCALE_DEVIATION].copy_(x.std(over).view(mean.shape))


def _train(net: Net, x: Tensor, label: Tensor, asked: spec_pb2.TrainingSpec, epochs: int) -> None:
    loss = losses.loss_function(spec_pb2.LOSS_CROSS_ENTROPY, net.graph)
    optimizer = torch.optim.Adam(net.parameters(), lr=asked.training.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(asked.training.batch_size):
            optimizer.zero_grad()
            logits = net(x[rows])
            assert isinstance(logits, Tensor)
            loss(logits, label[rows]).backward()
            optimizer.step()


@pytest.mark.parametrize(
    ("name", "array", "epochs"),
    [("cnn", "image", 4), ("resnet", "image", 3), ("cnn1d", "wave", 8), ("gru", "wave", 12)],
)
def test_an_example_learns_in_few_epochs(name: str, array: str, epochs: int) -> None:
    asked = toml_spec.from_dict(toml_spec.read(EXAMPLES / f"{name}.toml"))
    spec_fields.check(asked)
    x, label = _data(asked, array)
    count = int(label.max()) + 1
    sizes = catalogue.Sizes(0, (), count, tuple(x.shape[1:]), array)
    built = catalogue.build_sized(
        asked.network,
        sizes,
        spec_pb2.TASK_CLASSIFICATION,
        scaling=True,
        loss=spec_pb2.LOSS_UNSPECIFIED,
    )
    net = init(built.graph, 0)
    held_out = len(x) // 5
    _standardise(net, x[held_out:])

    _train(net, x[held_out:], label[held_out:], asked, epochs)

    with torch.no_grad():
        answers = net.eval()(x[:held_out])
    assert isinstance(answers, Tensor)
    accuracy = (answers.argmax(1) == label[:held_out]).float().mean().item()
    assert accuracy > 0.93

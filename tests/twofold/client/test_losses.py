"""A loss of the user's is traced for what its network computes, and sent as a graph."""
# pyright: reportUnknownMemberType=false

import asyncio
from types import SimpleNamespace

import pytest
from torch import Tensor
from torch.nn import functional

from tests.twofold import losses as made
from tests.twofold.client.serving import Servers
from tests.twofold.modules import network_of
from tests.twofold.specs import COLUMNS, make_spec
from twofold import nets, toml_spec
from twofold.client import AsyncClient, Client, losses
from twofold.errors import InvalidField
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

FP32, INT64 = graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_INT64
DATASET = dataset_pb2.Dataset(columns=COLUMNS, row_count=100)
XOR = {
    "model": "digits",
    "data": {"dataset": "xor", "task": "regression"},
    "network": {"family": "mlp"},
}


def loss(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean(dim=1)


def inputs(graph: graph_pb2.Graph) -> list[tuple[str, int, list[int]]]:
    return [(each.name, each.data_type, list(each.shape)) for each in graph.inputs]


def test_a_loss_is_traced_for_what_the_network_computes_and_the_target() -> None:
    found = losses.trace(functional.cross_entropy, make_spec(data__target="species"), DATASET)

    assert inputs(found) == [("output", FP32, [-1, 3]), ("target", INT64, [-1])]
    assert [list(each.shape) for each in found.outputs] == [[]]


def test_every_output_of_a_module_is_an_argument() -> None:
    spec = make_spec(data__target="price", data__features=["real", "whole"])
    spec.network.CopyFrom(network_of(2, 4))
    spec.network.graph.outputs.add(name="output_1", data_type=FP32, shape=[-1, 4])
    spec.network.graph.results.extend([spec.network.graph.nodes[-1].name] * 2)

    def both(mean: Tensor, spread: Tensor, target: Tensor) -> Tensor:
        return (mean - target).square().mean(dim=1) + spread.square().mean(dim=1)

    found = losses.trace(both, spec, DATASET)

    assert inputs(found) == [
        ("output_0", FP32, [-1, 4]),
        ("output_1", FP32, [-1, 4]),
        ("target", FP32, [-1, 1]),
    ]
    with pytest.raises(nets.InvalidModule, match="let it take output_0, output_1, target"):
        losses.trace(loss, spec, DATASET)


def test_a_spec_that_does_not_fit_the_data_is_refused_before_tracing() -> None:
    with pytest.raises(InvalidField, match=r"data\.target is gone"):
        losses.trace("no loss", make_spec(data__target="gone"), DATASET)


def created(servers: Servers) -> spec_pb2.TrainingSpec:
    return servers.training.requests[-1].spec


@pytest.mark.parametrize("own", [made.squared(), SimpleNamespace(graph=made.squared())])
def test_what_was_traced_before_is_sent_as_it_is(servers: Servers, own: object) -> None:
    with Client(servers.train, servers.infer) as client:
        client.train(XOR, loss=own)

    assert created(servers).training.loss_graph == made.squared()
    assert servers.script.count("GetDataset") == 0


def test_a_function_is_traced_over_a_truth_table(servers: Servers) -> None:
    with Client(servers.train, servers.infer) as client:
        client.train(XOR, loss=loss)

    assert inputs(created(servers).training.loss_graph) == [
        ("output", FP32, [-1, 1]),
        ("target", FP32, [-1, 1]),
    ]


def test_the_asyncio_client_traces_alike(servers: Servers) -> None:
    async def train() -> None:
        async with AsyncClient(servers.train, servers.infer) as client:
            await client.train(XOR, loss=loss)

    asyncio.run(train())

    assert len(created(servers).training.loss_graph.inputs) == 2
    assert toml_spec.to_dict(created(servers)) == {**XOR, "training": {}}

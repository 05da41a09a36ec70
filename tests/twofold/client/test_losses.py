"""A loss of the user's is traced for what its network computes, and sent as a graph."""
# pyright: reportUnknownMemberType=false

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from torch import Tensor

from tests.twofold import losses as made
from tests.twofold.client.serving import Servers
from tests.twofold.modules import network_of
from tests.twofold.specs import COLUMNS, make_spec
from twofold import nets, toml_spec
from twofold.client import AsyncClient, Client, losses
from twofold.errors import InvalidField
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

DATASET = dataset_pb2.Dataset(columns=COLUMNS, row_count=100)
XOR = {
    "model": "digits",
    "data": {"dataset": "xor", "task": "regression"},
    "network": {"family": "mlp"},
}


@dataclass
class Tracer:
    """Stands for twofold.nets.trace_loss: remembers what it is shown."""

    shapes: list[list[int]] = field(default_factory=list[list[int]])
    graph: graph_pb2.Graph = field(default_factory=made.squared)

    def trace_loss(
        self, function: Callable[..., object], outputs: Sequence[Tensor] | Tensor, target: Tensor
    ) -> SimpleNamespace:
        assert callable(function)
        found = [outputs] if isinstance(outputs, Tensor) else outputs
        self.shapes += [list(each.shape) for each in (*found, target)]
        return SimpleNamespace(graph=self.graph)


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    found = Tracer()
    monkeypatch.setattr(nets, "trace_loss", found.trace_loss, raising=False)
    return found


def loss(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean(dim=1)


def test_examples_have_the_shapes_of_the_network_and_the_target(tracer: Tracer) -> None:
    assert losses.trace(loss, make_spec(data__target="species"), DATASET) == tracer.graph
    assert tracer.shapes == [[3, 3], [3]]


def test_every_output_of_a_module_is_an_example(tracer: Tracer) -> None:
    spec = make_spec(data__target="price", data__features=["real", "whole"])
    spec.network.CopyFrom(network_of(2, 4))
    spec.network.graph.outputs.add(name="output_1", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1])
    spec.network.graph.results.extend([spec.network.graph.nodes[-1].name] * 2)

    losses.trace(loss, spec, DATASET)

    assert tracer.shapes == [[3, 4], [3], [3, 1]]


def test_a_spec_that_does_not_fit_the_data_is_refused_before_tracing(tracer: Tracer) -> None:
    with pytest.raises(InvalidField, match=r"data\.target is gone"):
        losses.trace(loss, make_spec(data__target="gone"), DATASET)
    assert tracer.shapes == []


def created(servers: Servers) -> spec_pb2.TrainingSpec:
    return servers.training.requests[-1].spec


@pytest.mark.parametrize("own", [made.squared(), SimpleNamespace(graph=made.squared())])
def test_what_was_traced_before_is_sent_as_it_is(servers: Servers, own: object) -> None:
    with Client(servers.train, servers.infer) as client:
        client.train(XOR, loss=own)

    assert created(servers).training.loss_graph == made.squared()
    assert servers.script.count("GetDataset") == 0


def test_a_function_is_traced_over_a_truth_table(servers: Servers, tracer: Tracer) -> None:
    with Client(servers.train, servers.infer) as client:
        client.train(XOR, loss=loss)

    assert created(servers).training.loss_graph == tracer.graph
    assert tracer.shapes == [[3, 1], [3, 1]]


def test_the_asyncio_client_traces_alike(servers: Servers, tracer: Tracer) -> None:
    async def train() -> None:
        async with AsyncClient(servers.train, servers.infer) as client:
            await client.train(XOR, loss=loss)

    asyncio.run(train())

    assert created(servers).training.loss_graph == tracer.graph
    assert toml_spec.to_dict(created(servers)) == {**XOR, "training": {}}

"""What graphs of format 2 add: ties, frozen parameters, several outputs, buffers of all kinds."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import copy
import gc
import weakref
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tests.twofold.nets import graphs
from twofold.errors import Corrupt
from twofold.nets import bounds, tables
from twofold.nets.net import Net, init, load
from twofold.nets.values import literal, node
from twofold.v1 import graph_pb2, spec_pb2

LINEAR = graph_pb2.MODULE_KIND_LINEAR


def _add(
    graph: graph_pb2.Graph, path: str, source: str, kind: graph_pb2.ModuleKind, **given: int
) -> None:
    graph.modules.add(path=path, kind=kind, arguments=tables.arguments(kind, **given))
    graph.nodes.add(name=path, module=path, arguments=[node(source)])


def _tied() -> graph_pb2.Graph:
    """An embedding whose table is also the weight of the output layer, as in language models."""
    graph = graphs.raw((2,))
    graph.inputs[0].data_type = graphs.INT64
    _add(graph, "embed", "x", graph_pb2.MODULE_KIND_EMBEDDING, num_embeddings=5, embedding_dim=3)
    _add(graph, "out", "embed", LINEAR, in_features=3, out_features=5)
    graph.ties.add(path="out.weight", source="embed.weight")
    return graphs.finished(graph)


class Tied(nn.Module):
    """What a user would write for it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.out(self.embed(x))


def _weights(module: Tied) -> dict[str, Tensor]:
    return {"embed.weight": module.embed.weight, "out.bias": module.out.bias}


def _is_tied(net: nn.Module) -> bool:
    found = dict(net.named_parameters(remove_duplicate=False))
    return found["out.weight"] is found["embed.weight"]


def test_tied_parameters_are_one_and_are_stored_once() -> None:
    module = Tied()
    x = torch.tensor([[0, 4], [3, 3]])

    net = load(_tied(), _weights(module))

    assert torch.equal(net(x), module(x))
    assert list(net.state_dict()) == list(module.state_dict())
    assert (
        list(bounds.state_shapes(net.graph)) == list(net.weights()) == ["embed.weight", "out.bias"]
    )
    assert bounds.parameter_count(net.graph) == 15 + 5 == sum(p.numel() for p in net.parameters())
    assert safetensors.torch.save(net.weights())  # refuses tensors that share memory
    for found in (net, copy.deepcopy(net), copy.deepcopy(net).to(torch.float64), init(_tied(), 0)):
        assert _is_tied(found)


def test_tied_parameters_stay_one_through_training_and_loading() -> None:
    net = init(_tied(), 0)
    other = init(_tied(), 1)
    x = torch.tensor([[0, 4], [3, 3]])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(x).square().sum().backward()
    optimizer.step()

    other.load_state_dict(net.state_dict())
    third = init(_tied(), 2)
    third.load_weights(net.weights())

    for found in (net, other, third):
        assert _is_tied(found)
        assert torch.equal(found.eval()(x), net.eval()(x))


def test_tied_weights_of_a_recurrent_module_are_those_it_computes_with() -> None:
    """It lists its weights beside its parameters."""
    kind = graph_pb2.MODULE_KIND_GRU
    graph = graphs.raw((4, 3))
    for path, source in (("one", "x"), ("two", "one0")):
        _add(graph, path, source, kind, input_size=3, hidden_size=3, batch_first=True)
        graphs.call(graph, f"{path}0", graph_pb2.FUNCTION_GETITEM, node(path), literal(0))
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        graph.ties.add(path=f"two.{name}", source=f"one.{name}")
    graph = graphs.finished(graph)
    torch.manual_seed(0)
    gru = nn.GRU(3, 3, batch_first=True)
    x = torch.randn(2, 4, 3)

    net = load(graph, {f"one.{name}": tensor for name, tensor in gru.state_dict().items()})

    assert torch.equal(net(x), gru(gru(x)[0])[0])


def test_a_state_may_be_tied_and_a_parameter_of_a_module_read() -> None:
    graph = graphs.raw((3,))
    _add(graph, "a.b", "x", LINEAR, in_features=3, out_features=3)
    graph.nodes.add(name="w", state="a.b.weight")
    graph.states.add(path="gain", data_type=graphs.FP32, shape=[3, 3], trainable=True)
    graph.nodes.add(name="gain", state="gain")
    graph.ties.add(path="gain", source="a.b.weight")
    for name, operands in (("p", ("a.b", "w")), ("q", ("p", "gain"))):
        graphs.call(graph, name, graph_pb2.FUNCTION_MATMUL, *map(node, operands))
    graph = graphs.finished(graph)
    weight, x = torch.randn(3, 3), torch.randn(2, 3)

    net = load(graph, {"a.b.weight": weight, "a.b.bias": torch.zeros(3)})

    torch.testing.assert_close(net(x), x @ weight.T @ weight @ weight)
    assert set(net.state_dict()) == {"a.b.weight", "a.b.bias", "gain"}
    assert len(list(net.parameters())) == 2


def test_frozen_parameters_are_not_trained() -> None:
    graph = graphs.built(spec_pb2.FAMILY_MLP, hidden=[5])
    graph.frozen.extend(["hidden.0.weight", "hidden.0.bias"])

    for net in (init(graph, 0), load(graph, init(graph, 0).state_dict())):
        trained = [name for name, parameter in net.named_parameters() if parameter.requires_grad]
        assert trained == ["output.weight", "output.bias"]
    assert bounds.parameter_count(graph) == 5 * 2 + 2


def test_a_buffer_that_is_not_persistent_is_stored_but_not_in_the_state_dict() -> None:
    graph = graphs.raw((3,))
    graph.states.add(path="a.table", data_type=graphs.FP32, shape=[3], non_persistent=True)
    graph.nodes.add(name="table", state="a.table")
    graphs.call(graph, "y", graph_pb2.FUNCTION_MUL, node("x"), node("table"))
    graph = graphs.finished(graph)

    net = load(graph, {"a.table": torch.tensor([1.0, 2.0, 3.0])})

    assert net(torch.ones(1, 3)).tolist() == [[1.0, 2.0, 3.0]]
    assert not net.state_dict()
    assert net.weights()["a.table"].tolist() == [1.0, 2.0, 3.0]
    assert copy.deepcopy(net)(torch.ones(1, 3)).tolist() == [[1.0, 2.0, 3.0]]
    with pytest.raises(Corrupt, match=r"lack a\.table"):
        load(graph, {})


def _two_headed() -> graph_pb2.Graph:
    """Two outputs in eval mode, and a third in training."""
    graph = graphs.raw((3,))
    for name, function in (("a", graph_pb2.FUNCTION_NEG), ("b", graph_pb2.FUNCTION_EXP)):
        graphs.call(graph, name, function, node("x"))
    graphs.call(graph, "c", graph_pb2.FUNCTION_SUM, node("x"))
    graph.results.extend(["b", "a", "c"])
    graph.eval_results.extend(["a", "b"])
    for name in ("output_0", "output_1"):
        graph.outputs.add(name=name, data_type=graphs.FP32, shape=[-1, 3])
    return graph


def test_several_results_are_a_tuple_in_the_order_of_each_mode() -> None:
    net = init(_two_headed(), 0)
    x = torch.ones(2, 3)

    first, second, third = net(x)
    answers = net.eval()(x)

    assert torch.equal(first, x.exp())
    assert torch.equal(second, -x)
    assert third == x.sum()
    assert torch.equal(answers[0], -x)
    assert torch.equal(answers[1], x.exp())
    assert net.head(answers) is answers


def test_a_loss_has_one_output_without_a_batch() -> None:
    graph = graphs.raw((3,), (3,))
    graphs.call(graph, "loss", graph_pb2.FUNCTION_MSE_LOSS, node("x"), node("y"))
    graph = graphs.finished(graph)

    assert not graph.outputs[0].shape
    assert not bounds.has_rows(graph)
    assert bounds.has_rows(_tied())
    assert init(graph, 0)(torch.ones(2, 3), torch.zeros(2, 3)) == 1


def test_dropout_as_a_function_follows_the_mode() -> None:
    graph = graphs.raw((1000,))
    graphs.call(graph, "y", graph_pb2.FUNCTION_DROPOUT, node("x"), literal(0.5))
    always = graphs.raw((1000,))
    operands = (node("x"), literal(0.5), literal(value=True))
    graphs.call(always, "y", graph_pb2.FUNCTION_DROPOUT, *operands)
    x = torch.ones(1, 1000)

    net = init(graphs.finished(graph), 0)

    assert not torch.equal(net(x), x)
    assert torch.equal(net.eval()(x), x)
    assert not torch.equal(init(graphs.finished(always), 0).eval()(x), x)


def _wide(width: int) -> tuple[Net, list[Any]]:
    """A chain of three nodes, and what weak references saw of the first two at the third."""
    graph = graphs.raw((width,))
    for name, source in (("a", "x"), ("b", "a"), ("c", "b")):
        graph.modules.add(path=name, kind=graph_pb2.MODULE_KIND_TANH)
        graph.nodes.add(name=name, module=name, arguments=[node(source)])
    net = init(graphs.finished(graph), 0).eval()
    seen: list[Any] = []
    references: list[weakref.ref[Tensor]] = []

    def watch(module: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
        del module, arguments
        gc.collect()
        seen.append([reference() is not None for reference in references])
        references.append(weakref.ref(result))

    for module in net.children():
        module.register_forward_hook(watch)
    return net, seen


def test_large_inner_results_are_dropped_when_nothing_reads_them_any_more() -> None:
    """In small nets they stay, which is faster."""
    for width, alive in ((5000, [[], [True], [False, True]]), (5, [[], [True], [True, True]])):
        net, seen = _wide(width)
        with torch.inference_mode():
            net(torch.ones(2, width))

        assert seen == alive


#: A logistic regression as the first release wrote it, with scaling: format 1, no outputs.
_FORMAT_1 = bytes.fromhex(
    "080112120a017810011a0bffffffffffffffffff01021a3d0a066f757470757410011a0a0a0462696173120210"
    "011a110a0b696e5f6665617475726573120218021a120a0c6f75745f66656174757265731202180122110a0a73"
    "63616c652e6d65616e10011a010222160a0f7363616c652e646576696174696f6e10011a01022a060a01781201"
    "782a180a0a7363616c652e6d65616e1a0a7363616c652e6d65616e2a220a0f7363616c652e646576696174696f"
    "6e1a0f7363616c652e646576696174696f6e2a240a0d7363616c652e63656e74726564280232030a0178320c0a"
    "0a7363616c652e6d65616e2a340a0c7363616c652e7363616c65642804320f0a0d7363616c652e63656e747265"
    "6432110a0f7363616c652e646576696174696f6e2a200a066f757470757422066f7574707574320e0a0c736361"
    "6c652e7363616c65643802"
)


def test_a_graph_of_format_1_still_runs() -> None:
    graph = graph_pb2.Graph.FromString(_FORMAT_1)
    state = {
        "scale.mean": torch.tensor([1.0, 2.0]),
        "scale.deviation": torch.tensor([2.0, 4.0]),
        "output.weight": torch.tensor([[3.0, -1.0]]),
        "output.bias": torch.tensor([0.5]),
    }

    net = load(graph, state)

    assert graph.format_version == 1
    assert not graph.outputs
    assert net(torch.tensor([[3.0, 6.0]])).tolist() == [[3.0 - 1.0 + 0.5]]
    assert net.head(torch.tensor([[0.0]])).tolist() == [[0.5, 0.5]]


def test_what_the_catalogue_writes_now_computes_the_same() -> None:
    graph = graph_pb2.Graph.FromString(_FORMAT_1)
    now = graphs.built(spec_pb2.FAMILY_LOGISTIC, scaling=True)

    assert now.format_version == 2
    now.format_version = 1
    del now.outputs[:]
    assert now == graph

"""The loader: what is loaded computes what was saved, and nothing else is loaded."""
# pyright: reportUnknownMemberType=false

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.twofold.nets import graphs
from twofold.errors import Corrupt, InvalidField, InvalidTensor
from twofold.nets import bounds, tables
from twofold.nets.modules import CLASSES
from twofold.nets.net import Net, init, load
from twofold.nets.values import integers, literal, node, nodes
from twofold.v1 import graph_pb2, spec_pb2


def _graph() -> graph_pb2.Graph:
    data = graphs.features(numeric=2, vocabularies=(3, 4))
    return graphs.built(spec_pb2.FAMILY_MLP, data=data, scaling=True, hidden=[5])


def _rows() -> tuple[Tensor, Tensor]:
    return torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[2, 3], [-1, 0]])


def test_a_loaded_net_computes_what_the_saved_one_did() -> None:
    graph = _graph()
    trained = init(graph, 3).eval()
    trained.load_state_dict({"scale.mean": torch.tensor([1.0, 2.0])}, strict=False)

    loaded = load(graph, trained.state_dict())

    assert torch.equal(loaded(*_rows()), trained(*_rows()))
    assert not loaded.training
    assert [name for name, _ in loaded.named_parameters()] == [
        "hidden.0.weight",
        "hidden.0.bias",
        "output.weight",
        "output.bias",
    ]


def test_a_net_computes_what_its_graph_says() -> None:
    """Standardise, one-hot, concatenate, two linear layers: written out by hand."""
    net = init(_graph(), 3).eval()
    net.load_state_dict(
        {"scale.mean": torch.tensor([1.0, 2.0]), "scale.deviation": torch.tensor([2.0, 4.0])},
        strict=False,
    )
    state = net.state_dict()
    x, _ = _rows()
    one_hot = torch.tensor([[0.0, 0, 1, 0, 0, 0, 1], [0.0, 0, 0, 1, 0, 0, 0]])

    scaled = (x - torch.tensor([1.0, 2.0])) / torch.tensor([2.0, 4.0])
    rows = torch.cat([scaled, one_hot], 1)
    hidden = torch.relu(rows @ state["hidden.0.weight"].T + state["hidden.0.bias"])
    expected = hidden @ state["output.weight"].T + state["output.bias"]

    torch.testing.assert_close(net(*_rows()), expected)


def test_an_index_out_of_range_is_all_zeros() -> None:
    graph = graph_pb2.Graph(format_version=1, head=graph_pb2.HEAD_IDENTITY)
    graph.inputs.add(name="category", data_type=graphs.INT64, shape=[-1, 2])
    graph.nodes.add(name="category", input="category")
    operands = (node("category"), integers([2, 3]))
    graphs.call(graph, "hot", graph_pb2.FUNCTION_ONE_HOT, *operands)

    rows = init(graph, 0)(torch.tensor([[-1, 2], [1, 3], [2, -9]]))

    assert rows.tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (graph_pb2.FUNCTION_ADD, [5.0, 8.0]),
        (graph_pb2.FUNCTION_SUB, [3.0, 4.0]),
        (graph_pb2.FUNCTION_MUL, [4.0, 12.0]),
        (graph_pb2.FUNCTION_DIV, [4.0, 3.0]),
    ],
)
def test_arithmetic_of_nodes_and_literals(
    function: graph_pb2.Function, expected: list[float]
) -> None:
    graph = graphs.of_nodes(width=2)
    graph.inputs.add(name="y", data_type=graphs.FP32, shape=[-1, 2])
    graph.nodes.add(name="y", input="y")
    graphs.call(graph, "both", function, node("x"), node("y"))
    graphs.call(graph, "zero", graph_pb2.FUNCTION_SUB, literal(0.0), node("both"))
    graphs.call(graph, "minus", graph_pb2.FUNCTION_MUL, node("zero"), literal(-1.0))

    assert init(graph, 0)(torch.tensor([[4.0, 6.0]]), torch.tensor([[1.0, 2.0]])).tolist() == [
        expected
    ]


def test_cat_and_flatten() -> None:
    graph = graphs.of_nodes(width=2)
    graph.inputs.add(name="y", data_type=graphs.FP32, shape=[-1, 2, 2])
    graph.nodes.add(name="y", input="y")
    graphs.call(graph, "flat", graph_pb2.FUNCTION_FLATTEN, node("y"), literal(1))
    graphs.call(graph, "all", graph_pb2.FUNCTION_CAT, nodes(["flat", "x"]), literal(1))

    rows = init(graph, 0)(torch.tensor([[8.0, 9.0]]), torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))

    assert rows.tolist() == [[1, 2, 3, 4, 8, 9]]


def test_eval_mode_runs_its_own_nodes() -> None:
    graph = graphs.of_nodes(width=1)
    graphs.call(graph, "twice", graph_pb2.FUNCTION_MUL, node("x"), literal(2.0))
    graph.eval_nodes.extend(graph.nodes)
    graph.eval_nodes[1].arguments[1].real = 3.0
    net = init(graph, 0)

    assert net.train()(torch.ones(1, 1)).item() == 2.0
    assert net.eval()(torch.ones(1, 1)).item() == 3.0


def test_the_mode_reaches_every_module() -> None:
    net = init(graphs.built(spec_pb2.FAMILY_MLP, spec_pb2.LOSS_CROSS_ENTROPY), 0)
    assert len(list(net.modules())) > 3

    for mode in (False, True):
        assert net.train(mode) is net
        assert {module.training for module in net.modules()} == {mode}
    assert {module.training for module in net.eval().modules()} == {False}


def test_no_permitted_class_has_a_switch_of_its_own() -> None:
    """Net.train sets every module's mode itself."""
    own = [kind for kind in CLASSES.values() if kind.train is not torch.nn.Module.train]

    assert own == []


def test_a_trainable_state_is_a_parameter() -> None:
    graph = graphs.of_nodes(width=1)
    graph.states.add(path="gain.value", data_type=graphs.FP32, shape=[1], trainable=True)
    graph.states.add(path="gain.count", data_type=graphs.INT64, shape=[])
    graph.nodes.add(name="gain", state="gain.value")
    graphs.call(graph, "y", graph_pb2.FUNCTION_MUL, node("x"), node("gain"))

    net = load(graph, {"gain.value": torch.tensor([3.0]), "gain.count": torch.tensor(7)})
    net(torch.ones(1, 1)).sum().backward()

    assert [name for name, _ in net.named_parameters()] == ["gain.value"]
    assert dict(net.named_parameters())["gain.value"].grad == torch.tensor([1.0])
    assert net.state_dict()["gain.count"].item() == 7
    assert bounds.parameter_count(graph) == 1


@pytest.mark.parametrize(
    "path",
    ["forward", "head", "graph", "_plans", "_modules", "__class__", "state_dict.T", "0", "eval.x"],
)
def test_paths_never_meet_attributes(path: str) -> None:
    """A module may have any name: nothing of torch's or ours is replaced by it."""
    graph = graphs.of_nodes(width=1)
    kind = graph_pb2.MODULE_KIND_PRELU
    graph.modules.add(path=path, kind=kind, arguments=tables.arguments(kind))
    graph.nodes.add(name="m", module=path, arguments=[node("x")])

    net = load(graph, {f"{path}.weight": torch.tensor([0.5])})
    copied = copy.deepcopy(net).to(torch.float32).train().eval()

    assert net.head(net(torch.tensor([[-4.0]]))).item() == -2.0
    assert copied(torch.tensor([[-4.0]])).item() == -2.0
    assert list(net.state_dict()) == [f"{path}.weight"]


def test_a_copy_shares_nothing() -> None:
    """Best epochs are kept by copying nets; steps must follow the copy, not the original."""
    net = init(_graph(), 1).eval()
    before = net(*_rows())

    copied = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()

    assert torch.equal(net(*_rows()), before)
    assert copied(*_rows()).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_loaded_net_shares_no_memory_with_the_state() -> None:
    graph = _graph()
    state = init(graph, 1).state_dict()
    net = load(graph, state)
    before = net(*_rows())

    for tensor in state.values():
        tensor.zero_()

    assert torch.equal(net(*_rows()), before)


def test_buffers_are_read_after_a_conversion() -> None:
    """Moving a net replaces its buffers; steps must not hold the old ones."""
    graph = graphs.built(spec_pb2.FAMILY_LINEAR, data=graphs.features(labels=()), scaling=True)

    net = init(graph, 1).double()

    assert net(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


def _seeded(seed: int) -> dict[str, Tensor]:
    return init(_graph(), seed).state_dict()


def test_init_draws_by_its_seed_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()

    first, second, other = _seeded(1), _seeded(1), _seeded(2)

    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])
    assert first["scale.mean"].tolist() == [0.0, 0.0]
    assert first["scale.deviation"].tolist() == [1.0, 1.0]


def test_init_draws_what_torch_draws() -> None:
    graph = graphs.built(spec_pb2.FAMILY_LINEAR, data=graphs.features(labels=()))
    torch.manual_seed(11)
    linear = torch.nn.Linear(2, 1)

    net = init(graph, 11)

    assert torch.equal(net.state_dict()["output.weight"], linear.weight)
    assert net.training


State = dict[str, Tensor]
BREAKAGES: dict[str, tuple[Callable[[State], object], str]] = {
    "a missing key": (lambda state: state.pop("output.bias"), "lack output.bias"),
    "an unknown key": (lambda state: state.update(more=torch.ones(1)), "hold the unknown more"),
    "another shape": (
        lambda state: state.update({"output.bias": torch.ones(3)}),
        "output.bias is torch.float32[3] instead of torch.float32[2]",
    ),
    "another type": (
        lambda state: state.update({"output.bias": torch.ones(2, dtype=torch.float64)}),
        "output.bias is torch.float64[2] instead of torch.float32[2]",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_weights_that_are_not_the_graph_s_are_refused(name: str) -> None:
    graph = _graph()
    change, message = BREAKAGES[name]
    state = init(graph, 0).state_dict()
    change(state)

    with pytest.raises(Corrupt) as caught:
        load(graph, state)

    assert message in caught.value.message
    assert caught.value.fields["resource"] == "weights.safetensors"


def _init(graph: graph_pb2.Graph) -> Net:
    return init(graph, 0)


def _load(graph: graph_pb2.Graph) -> Net:
    return load(graph, {})


@pytest.mark.parametrize("make", [_init, _load])
def test_a_wrong_graph_is_not_built(make: Callable[[graph_pb2.Graph], Net]) -> None:
    graph = _graph()
    graph.format_version = 3

    with pytest.raises(InvalidField, match=r"graph\.format_version"):
        make(graph)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(InvalidTensor, match="1 inputs; expected: x, category"):
        init(_graph(), 0)(torch.ones(1, 2))


LOGITS = [[-1.0], [0.0], [2.0], [float("nan")]]


@pytest.mark.parametrize(
    ("head", "second"),
    [
        (graph_pb2.HEAD_SIGMOID, [0.2689414, 0.5, 0.8807971]),
        (graph_pb2.HEAD_STEP, [0.0, 1.0, 1.0]),
        (graph_pb2.HEAD_THRESHOLD, [0.0, 0.0, 1.0]),
    ],
)
def test_heads_of_one_logit_answer_both_classes(head: graph_pb2.Head, second: list[float]) -> None:
    """Also for NaN: its class is unknown, and so are its scores."""
    graph = graphs.of_nodes(width=1)
    graph.head = head
    graph.head_threshold = 0.5 if head == graph_pb2.HEAD_THRESHOLD else 0.0

    scores = init(graph, 0).head(torch.tensor(LOGITS))

    torch.testing.assert_close(scores[:3, 1], torch.tensor(second))
    torch.testing.assert_close(scores[:3].sum(1), torch.ones(3))
    assert scores[3].isnan().all()


def test_softmax_and_identity_heads() -> None:
    graph = graphs.of_nodes(width=2)
    logits = torch.tensor([[0.0, 1.0]])

    identity = init(graph, 0).head(logits)
    graph.head = graph_pb2.HEAD_SOFTMAX
    softmax = init(graph, 0).head(logits)

    assert torch.equal(identity, logits)
    torch.testing.assert_close(softmax, torch.softmax(logits, 1))


def test_a_pass_is_one_graph_for_torch_compile() -> None:
    """A break in it would cost what compiling gains."""
    net = init(_graph(), 3).eval()

    compiled = torch.compile(net, backend="eager", fullgraph=True)

    assert torch.equal(compiled(*_rows()), net(*_rows()))

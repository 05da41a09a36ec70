"""Shapes by plain integers agree with what torch computes, and misfits are refused."""
# pyright: reportUnknownMemberType=false

import pytest
import torch

from tests.twofold.nets import graphs
from twofold.errors import InvalidField
from twofold.nets import bounds, shapes, tables
from twofold.nets.net import init
from twofold.nets.values import integers, literal, node, nodes
from twofold.v1 import graph_pb2

ADD, CAT = graph_pb2.FUNCTION_ADD, graph_pb2.FUNCTION_CAT
FLATTEN, ONE_HOT = graph_pb2.FUNCTION_FLATTEN, graph_pb2.FUNCTION_ONE_HOT


def _graph(*dimensions: tuple[int, ...], state: tuple[int, ...] = (1,)) -> graph_pb2.Graph:
    """Inputs a, b, ... of these dimensions behind the batch, category [-1, 2] and a state s."""
    graph = graph_pb2.Graph(format_version=1, head=graph_pb2.HEAD_IDENTITY)
    for name, shape in zip("abc", dimensions, strict=False):
        graph.inputs.add(name=name, data_type=graphs.FP32, shape=[-1, *shape])
        graph.nodes.add(name=name, input=name)
    graph.inputs.add(name="category", data_type=graphs.INT64, shape=[-1, 2])
    graph.nodes.add(name="category", input="category")
    graph.states.add(path="s", data_type=graphs.FP32, shape=state)
    graph.nodes.add(name="s", state="s")
    return graph


def _infer(graph: graph_pb2.Graph) -> shapes.Shape:
    return shapes.infer(graph, graph.nodes, "graph.nodes")[graph.nodes[-1].name]


@pytest.mark.parametrize(
    ("graph", "last"),
    [
        (graphs.call(_graph((3,), (3,)), "n", ADD, node("a"), node("b")), (3,)),
        (graphs.call(_graph((3,), (1,)), "n", ADD, node("a"), node("b")), (3,)),
        (graphs.call(_graph((1,), (3,)), "n", ADD, node("a"), node("b")), (3,)),
        (graphs.call(_graph((3,), state=(3,)), "n", ADD, node("s"), node("a")), (3,)),
        (graphs.call(_graph((3,), state=()), "n", ADD, node("a"), node("s")), (3,)),
        (graphs.call(_graph((3,)), "n", ADD, literal(0.5), node("a")), (3,)),
        (graphs.call(_graph((3,)), "n", ADD, node("a"), node("a")), (3,)),
        (graphs.call(_graph((2,), (5,)), "n", CAT, nodes("ab"), literal(1)), (7,)),
        (graphs.call(_graph((2, 3), (2, 4)), "n", CAT, nodes("ab"), literal(2)), (2, 7)),
        (graphs.call(_graph((2, 3, 4)), "n", FLATTEN, node("a"), literal(1)), (24,)),
        (graphs.call(_graph((2, 3, 4)), "n", FLATTEN, node("a"), literal(2)), (2, 12)),
        (graphs.call(_graph(), "n", ONE_HOT, node("category"), integers([3, 4])), (7,)),
    ],
)
def test_functions_have_torch_s_shapes(graph: graph_pb2.Graph, last: tuple[int, ...]) -> None:
    if len(last) > 1:  # what is served has two dimensions
        graphs.call(graph, "flat", FLATTEN, node("n"), literal(1))
    inferred = shapes.infer(graph, graph.nodes, "graph.nodes")
    bounds.check(graph)
    tensors = [torch.ones(4, *spec.shape[1:]) for spec in graph.inputs[:-1]]

    computed = init(graph, 0)(*tensors, torch.zeros((4, 2), dtype=torch.int64))

    assert inferred["n"] == shapes.Shape(graphs.FP32, (-1, *last))
    assert computed.shape == (4, inferred[graph.nodes[-1].name].row_elements)


@pytest.mark.parametrize(
    "graph",
    [
        graphs.call(_graph((3,), (2,)), "n", ADD, node("a"), node("b")),
        graphs.call(_graph((3,), state=(2,)), "n", ADD, node("a"), node("s")),
        # The batch must not meet a fixed dimension, nor stand anywhere but first.
        graphs.call(_graph((3,), state=(4, 3)), "n", ADD, node("a"), node("s")),
        graphs.call(_graph((3,), state=(5, 1, 3)), "n", ADD, node("a"), node("s")),
        graphs.call(_graph((3,)), "n", ADD, node("a"), node("category")),
        graphs.call(_graph(), "n", ADD, node("category"), node("category")),
        graphs.call(_graph((2,), (5,)), "n", CAT, nodes("ab"), literal(0)),
        graphs.call(_graph((2,), (5,)), "n", CAT, nodes("ab"), literal(-1)),
        graphs.call(_graph((2, 3), (3, 3)), "n", CAT, nodes("ab"), literal(2)),
        graphs.call(_graph((2,), (5, 1)), "n", CAT, nodes("ab"), literal(1)),
        graphs.call(_graph(state=(2, 2)), "n", CAT, nodes("ss"), literal(1)),
        graphs.call(_graph((2,)), "n", FLATTEN, node("a"), literal(0)),
        graphs.call(_graph((2,)), "n", FLATTEN, node("a"), literal(2)),
        graphs.call(_graph((2,)), "n", ONE_HOT, node("a"), integers([3, 4])),
        graphs.call(_graph(), "n", ONE_HOT, node("category"), integers([3])),
        graphs.call(_graph(), "n", ONE_HOT, node("category"), integers([3, 0])),
        graphs.call(_graph(), "n", ONE_HOT, node("category"), integers([3, 1 << 40])),
        graphs.call(
            _graph(), "n", ONE_HOT, node("category"), integers([tables.MAX_ROW_ELEMENTS, 1])
        ),
    ],
)
def test_operands_that_do_not_fit_are_refused(graph: graph_pb2.Graph) -> None:
    with pytest.raises(InvalidField) as caught:
        _infer(graph)

    assert caught.value.fields["field"] == f"graph.nodes[{len(graph.nodes) - 1}]"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("s", graph_pb2.MODULE_KIND_TANH),
        ("category", graph_pb2.MODULE_KIND_TANH),
        ("a", graph_pb2.MODULE_KIND_LINEAR),
        ("a", graph_pb2.MODULE_KIND_PRELU),
    ],
)
def test_a_module_refuses_operands_it_cannot_take(source: str, kind: graph_pb2.ModuleKind) -> None:
    """No batch, no floats, another width, another count of channels."""
    graph = _graph((3,))
    given = {
        graph_pb2.MODULE_KIND_LINEAR: {"in_features": 2, "out_features": 1},
        graph_pb2.MODULE_KIND_PRELU: {"num_parameters": 2},
    }.get(kind, {})
    graph.modules.add(path="m", kind=kind, arguments=tables.arguments(kind, **given))
    graph.nodes.add(name="m", module="m", arguments=[node(source)])

    with pytest.raises(InvalidField, match=r"graph\.nodes\[3\]"):
        _infer(graph)


def test_shapes_print_as_people_write_them() -> None:
    assert str(shapes.Shape(graphs.INT64, (-1, 3))) == "INT64[-1, 3]"

"""A batch of no size takes more memory in eval mode than its rows let expect."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import pytest
import torch

from tests.twofold.nets.graphs import call, raw
from twofold.errors import InvalidField
from twofold.nets import bounds, meta, values
from twofold.nets.net import init
from twofold.v1 import graph_pb2

Value = graph_pb2.Value
Operand = Value | int | float | str | None


def function(name: str) -> graph_pb2.Function:
    return getattr(graph_pb2, f"FUNCTION_{name}")


def value(operand: Operand) -> Value:
    if isinstance(operand, Value):
        return operand
    return values.node(operand) if isinstance(operand, str) else values.literal(operand)


def several(*entries: Operand) -> Value:
    return Value(list=graph_pb2.ValueList(values=[value(entry) for entry in entries]))


def part(start: Operand, stop: Operand) -> Value:
    found = graph_pb2.Slice(start=value(start), stop=value(stop), step=value(None))
    return Value(slice=found)


#: Nodes by name: a function and its operands, of which text is a node's name.
Nodes = dict[str, tuple[str, *tuple[Operand, ...]]]


def graph_of(nodes: Nodes) -> graph_pb2.Graph:
    """x [-1, 4], the size `n` of its batch, the nodes, and x + 0 * (sum of the last of them)."""
    graph = raw([4])
    after: Nodes = {
        "sum": ("SUM", list(nodes)[-1]),
        "nothing": ("MUL", "sum", 0.0),
        "answer": ("ADD", "x", "nothing"),
    }
    for name, (kind, *operands) in ({"n": ("SIZE", "x", 0)} | nodes | after).items():
        call(graph, name, function(kind), *[value(operand) for operand in operands])
    graph.outputs.add(name="out", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 4])
    bounds.check(graph)
    return graph


@pytest.mark.parametrize(
    "nodes",
    [
        {"big": ("ONES", several("n", "n", "n", "n"))},
        {"big": ("OUTER", "column", "column")},
        {"p": ("POW", "n", 3), "big": ("ONES", "p")},
        {"p": ("MUL", "n", "n"), "big": ("ONES", "p")},
        {"p": ("EQ", "n", 777), "q": ("MUL", "p", 1 << 40), "big": ("ONES", "q")},
        {"p": ("SUB", 700, "n"), "big": ("FULL", several("p"), 1.0)},
        {"p": ("SUB", 700, "n"), "q": ("ABS", "p"), "big": ("ONES", "q")},
        {"p": ("FLOOR_DIVIDE", 1 << 20, "n"), "big": ("ONES", "p")},
        {"table": ("ONES", 70_000), "big": ("GETITEM", "table", several(part("n", None)))},
        {"m": ("MUL", "n", -1), "t": ("ONES", 70_000), "big": ("GETITEM", "t", part(None, "m"))},
        {
            # 1 for 1021 rows, 0 for 1, 3 and 65,536.
            "p": ("FLOOR_DIVIDE", "n", 1021),
            "q": ("MUL", "p", 1021),
            "r": ("FLOOR_DIVIDE", "q", "n"),
            "big": ("ONES", several("r", 1 << 24)),
        },
        {
            # n in batches of 1, 2, 3 and 65,536 rows; 145 GiB for 777.
            "a": ("SUB", "n", 1),
            "b": ("SUB", "n", 2),
            "c": ("SUB", "n", 3),
            "d": ("SUB", 65_536, "n"),
            "ab": ("MUL", "a", "b"),
            "abc": ("MUL", "ab", "c"),
            "abcd": ("MUL", "abc", "d"),
            "p": ("ADD", "abcd", "n"),
            "q": ("FLOOR_DIVIDE", "p", "n"),
            "big": ("ONES", several("q")),
        },
        {"big": ("ARANGE", "n", 70_000)},
        {"big": ("ARANGE", 65_536, "n", -1)},
        {
            # How long the overlap of one that grows and one that shrinks is.
            "t": ("ARANGE", 0, "n"),
            "r": ("ARANGE", 65_536, "n", -1),
            "m": ("SIZE", "r", 0),
            "u": ("GETITEM", "t", part(4, "m")),
            "k": ("SIZE", "u", 0),
            "p": ("MUL", "k", 10_000),
            "big": ("ONES", several("p")),
        },
        {
            # The 25th piece, for 24,576 rows and some more, is a thousand times as long.
            "t": ("ONES", 1065),
            "all": ("SPLIT", "t", several(*[1] * 24, 1000, *[1] * 41), 0),
            "p": ("FLOOR_DIVIDE", "n", 1024),
            "piece": ("GETITEM", "all", "p"),
            "row": ("RESHAPE", "piece", several(1, -1)),
            "big": ("REPEAT", "row", several("n", 1)),
        },
        {"p": ("FLOOR_DIVIDE", "n", 777), "big": ("ONES", several("p"))},
        {"first": ("GETITEM", "x", part(None, 9)), "big": ("RESHAPE", "first", several(-1))},
        {"t": ("ONES", 70_000), "big": ("GETITEM", "t", part(-9, "n"))},
        {"big": ("PAD", "x", several(0, "n"))},
        {"t": ("ONES", several(1, 70_000)), "big": ("SLIDE", "t", 1, "n", 1)},
        {"t": ("ONES", several(1, 1, 70_000)), "big": ("AVG_POOL1D", "t", "n")},
    ],
    ids=lambda nodes: ", ".join(node[0] for node in nodes.values()),
)
def test_a_size_that_does_not_grow_with_the_batch_is_refused(nodes: Nodes) -> None:
    """All of them fit in batches of 1 and 3 rows."""
    column: Nodes = {"column": ("GETITEM", "x", several(part(None, None), 0))}
    graph = graph_of(column | nodes)
    with pytest.raises(InvalidField, match=r"^graph\.nodes"):
        meta.measure(graph)


@pytest.mark.parametrize(
    "nodes",
    [
        {"b": ("RESHAPE", "x", several("n", 2, -1)), "c": ("EXPAND", "b", several("n", 2, 2))},
        {"sizes": ("SIZE", "x", None), "m": ("GETITEM", "sizes", 0), "b": ("ZEROS", several("m"))},
        {"m": ("MUL", "n", 2), "b": ("RESHAPE", "x", several("m", 2))},
        {"m": ("DIV", "n", 0.5), "i": ("INT", "m"), "b": ("RESHAPE", "x", several("i", 2))},
        {"all": ("NUMEL", "x"), "m": ("FLOOR_DIVIDE", "all", 2), "b": ("RANDN", several("m"))},
        {
            "all": ("NUMEL", "x"),
            "m": ("FLOOR_DIVIDE", "all", "n"),
            "b": ("PAD", "x", several(1, "m")),
        },
        {"b": ("ARANGE", 0, "n"), "c": ("DIV", "b", "n")},
        {"root": ("SQRT", "n"), "b": ("DIV", "x", "root")},
        {"m": ("NEG", "n"), "k": ("SUB", "m", 1), "b": ("ADD", "x", "k")},
        {"k": ("SUB", "n", 1), "b": ("FULL", several("n"), "k")},
        {"t": ("ONES", 70_000), "b": ("GETITEM", "t", part(None, "n"))},
        {"k": ("SIZE", "x", 1), "m": ("SUB", 9, "k"), "b": ("PAD", "x", several(0, "m"))},
        {"ones": ("ONES", several(1, 3)), "b": ("REPEAT", "ones", several("n", 1))},
        {"one": ("ONES", several(1, 4)), "b": ("CAT", values.nodes(["x", "one"]), 0)},
        {"first": ("GETITEM", "x", part(None, 9)), "b": ("MEAN", "first", 0)},
        {"next": ("GETITEM", "x", part(1, None)), "b": ("SUM", "next")},
        {"sizes": ("SIZE", "x", None), "w": ("GETITEM", "sizes", 1), "b": ("ONES", several("w"))},
    ],
    ids=lambda nodes: ", ".join(node[0] for node in nodes.values()),
)
def test_what_modules_do_with_the_size_of_a_batch_is_taken(nodes: Nodes) -> None:
    net = init(graph_of(nodes), 0).eval()
    x = torch.randn(5, 4)
    assert torch.equal(torch.as_tensor(net(x)), x)


def test_training_may_compare_all_rows_with_each_other() -> None:
    """As contrastive losses do; only eval mode is served."""
    graph = raw([4])
    call(graph, "t", function("TRANSPOSE"), value("x"), value(0), value(1))
    call(graph, "pairs", function("MATMUL"), value("x"), value("t"))
    call(graph, "s", function("SUM"), value("pairs"))
    call(graph, "out", function("ADD"), value("x"), value("s"))
    with pytest.raises(InvalidField, match=r"graph\.nodes is .* 65536; allowed: numbers in prop"):
        meta.measure(graph)
    graph.eval_nodes.add(name="x", input="x")
    graph.outputs.add(name="out", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 4])
    assert meta.measure(graph).row_elements > 0

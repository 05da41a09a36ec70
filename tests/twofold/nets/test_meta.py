"""The run on the meta device: misfits and what would be too large are refused before they exist."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
import time
from typing import Any

import pytest
import torch

from tests.twofold.nets import graphs
from tests.twofold.nets.function_cases import Node, Type, to_value
from twofold.errors import InvalidField
from twofold.nets import bounds, meta, modules, tables, values
from twofold.nets.net import init, load
from twofold.v1 import graph_pb2, spec_pb2

X = Node("x")
HUGE = (1 << 31) - 1


def _calls(graph: graph_pb2.Graph, *calls: tuple[str, list[Any]]) -> graph_pb2.Graph:
    """The graph with more nodes, n0, n1, ..."""
    for index, (function, arguments) in enumerate(calls):
        number: Any = graph_pb2.Function.Value(f"FUNCTION_{function}")
        graphs.call(graph, f"n{index}", number, *[to_value(each) for each in arguments])
    return graph


def _module(kind: graph_pb2.ModuleKind, *shape: int, **given: values.Literal) -> graph_pb2.Graph:
    """x of this shape into one module."""
    graph = graphs.raw(shape)
    graph.modules.add(path="m", kind=kind, arguments=tables.arguments(kind, **given))
    graph.nodes.add(name="m", module="m", arguments=[values.node("x")])
    return graph


def _refused(graph: graph_pb2.Graph) -> InvalidField:
    """What a graph is refused with, which must take no time and so no memory."""
    began = time.process_time()
    with pytest.raises(InvalidField) as caught:
        bounds_and_meta(graph)
    assert time.process_time() - began < 5
    return caught.value


def bounds_and_meta(graph: graph_pb2.Graph) -> None:
    """What load does before it makes anything."""
    if not graph.outputs:
        graph.outputs.add(name="output", data_type=graphs.FP32, shape=[-1, 3])
    bounds.check(graph)
    meta.measure(graph)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("REPEAT", [X, [1, HUGE]]),
        ("REPEAT", [X, [1, 1 << 40]]),
        ("REPEAT_INTERLEAVE", [X, HUGE, 1]),
        ("PAD", [X, [HUGE, HUGE]]),
        ("PAD", [X, [1 << 62, 0]]),
        ("ARANGE", [0, 1 << 40]),
        ("ARANGE", [0, 1, 1e-12]),
        ("LINSPACE", [0, 1, HUGE]),
        ("ZEROS", [[HUGE, HUGE, HUGE]]),
        ("ONES", [[1 << 62, 4]]),
        ("FULL", [[HUGE], 1.0]),
        ("RANDN", [[1 << 25]]),
        ("EYE", [1 << 20]),
        ("SPLIT", [X, [1] * 5000, 1]),
        ("CHUNK", [X, 1 << 40, 1]),
        ("INTERPOLATE", [X, HUGE]),
        ("POW", [10, 1 << 30]),
        ("POW", [X, X, X]),
        ("SIZE", [X, 5]),
        ("INT", [X]),
        ("FLOOR_DIVIDE", [1, 0]),
        ("GETITEM", [X, [slice(None, None, None), Node("mask")]]),
        ("GETITEM", [X, [slice(None, None, None), Node("x")]]),
        ("BITWISE_AND", [X, X]),
        ("EINSUM", ["ij,jk->ik", [X]]),
        ("MATMUL", [X, X]),
    ],
)
def test_a_function_that_would_be_too_large_or_does_not_fit_is_refused(
    function: str, arguments: list[Any]
) -> None:
    graph = graphs.raw((3,))
    graphs.call(graph, "mask", graph_pb2.FUNCTION_GT, values.node("x"), values.literal(0))

    error = _refused(_calls(graph, (function, arguments)))

    assert error.fields["field"].startswith("graph.nodes[2]")


@pytest.mark.parametrize(
    ("graph", "field"),
    [
        (
            _module(graph_pb2.MODULE_KIND_LINEAR, 3, in_features=3, out_features=1 << 31),
            "graph.modules",
        ),
        (_module(graph_pb2.MODULE_KIND_LINEAR, 3, in_features=HUGE, out_features=HUGE), "graph"),
        (
            _module(
                graph_pb2.MODULE_KIND_CONV2D,
                3,
                8,
                8,
                in_channels=3,
                out_channels=3,
                kernel_size=HUGE,
            ),
            "graph",
        ),
        (_module(graph_pb2.MODULE_KIND_LINEAR, 3, in_features=2, out_features=1), "graph.nodes[1]"),
        (_module(graph_pb2.MODULE_KIND_ZERO_PAD2D, 3, 4, 4, padding=HUGE), "graph.nodes[1]"),
        (_module(graph_pb2.MODULE_KIND_REFLECTION_PAD1D, 3, 4, padding=9), "graph.nodes[1]"),
        (_module(graph_pb2.MODULE_KIND_UPSAMPLE, 3, 4, 4, size=HUGE), "graph.nodes[1]"),
        (_module(graph_pb2.MODULE_KIND_UPSAMPLE, 3, 4, 4, scale_factor=1e6), "graph.nodes[1]"),
        (
            _module(graph_pb2.MODULE_KIND_ADAPTIVE_AVG_POOL2D, 3, 4, 4, output_size=HUGE),
            "graph.nodes[1]",
        ),
        (_module(graph_pb2.MODULE_KIND_MAX_POOL2D, 3, 4, 4, kernel_size=HUGE), "graph.nodes[1]"),
        (
            _module(graph_pb2.MODULE_KIND_LINEAR, 1 << 20, 1, in_features=1, out_features=64),
            "graph.nodes[1]",
        ),
        (
            _module(
                graph_pb2.MODULE_KIND_LSTM,
                1 << 20,
                1,
                input_size=1,
                hidden_size=1,
                batch_first=True,
            ),
            "graph.nodes[1]",
        ),
        (
            _module(graph_pb2.MODULE_KIND_UNFLATTEN, 6, dim=1, unflattened_size=(4, -1)),
            "graph.nodes[1]",
        ),
        (_module(graph_pb2.MODULE_KIND_LSTM, 4, input_size=3, hidden_size=2), "graph.nodes[1]"),
        (_module(graph_pb2.MODULE_KIND_PIXEL_SHUFFLE, 3, 4, 4, upscale_factor=2), "graph.nodes[1]"),
    ],
)
def test_a_module_that_would_be_too_large_or_does_not_fit_is_refused(
    graph: graph_pb2.Graph, field: str
) -> None:
    assert _refused(graph).fields["field"].startswith(field)


@pytest.mark.parametrize("data_type", [graph_pb2.DATA_TYPE_FP64, graph_pb2.DATA_TYPE_INT64])
@pytest.mark.parametrize(
    "graph",
    [
        _module(graph_pb2.MODULE_KIND_LINEAR, 3, in_features=3, out_features=3),
        _module(graph_pb2.MODULE_KIND_LAYER_NORM, 3, normalized_shape=3),
        _module(graph_pb2.MODULE_KIND_BATCH_NORM1D, 3, num_features=3),
    ],
)
def test_types_that_meta_takes_and_no_device_does_are_refused(
    graph: graph_pb2.Graph, data_type: graph_pb2.DataType
) -> None:
    changed = graph_pb2.Graph.FromString(graph.SerializeToString())
    changed.inputs[0].data_type = data_type

    assert "float" in _refused(changed).message


def test_numbers_stay_within_64_bits() -> None:
    """Also where a batch of 1 or 3 rows gives small ones: each step is checked when it runs."""
    rows = [("SIZE", [X, 0]), *(("MUL", [Node(f"n{index}")] * 2) for index in range(7))]
    graph = _calls(graphs.raw((3,)), *rows, ("RESHAPE", [X, [-1, 3]]))

    assert "64 bits" in _refused(graph).message


def test_tuples_are_not_added_or_repeated() -> None:
    for function, arguments in (("ADD", [Node("n0")] * 2), ("MUL", [Node("n0"), 1 << 40])):
        graph = _calls(graphs.raw((3,)), ("SIZE", [X]), (function, arguments))

        assert "tuple where a number must stand" in _refused(graph).message


def test_numbers_are_calculated_with() -> None:
    graph = _calls(
        graphs.raw((4, 6)),
        ("SIZE", [X, 0]),
        ("NUMEL", [X]),
        ("FLOOR_DIVIDE", [Node("n1"), Node("n0")]),
        ("SQRT", [Node("n2")]),
        ("INT", [Node("n3")]),
        ("DIM", [X]),
        ("SUB", [Node("n4"), Node("n5")]),
        ("NEG", [Node("n6")]),
        ("ABS", [Node("n7")]),
        ("RESHAPE", [X, [Node("n0"), Node("n8"), -1]]),
        ("FLOAT", [Node("n2")]),
        ("DIV", [Node("n9"), Node("n10")]),
    )

    found = init(graphs.finished(graph), 0)(torch.ones(2, 4, 6))

    assert found.shape == (2, math.isqrt(24) - 3, 24)
    assert torch.equal(found, torch.full((2, 1, 24), 1 / 24))


@pytest.mark.parametrize(
    "calls",
    [
        [("TRANSPOSE", [X, 0, 1])],
        [("SUM", [X, 0])],
        [("SIZE", [X, 0])],
        [("SIZE", [X])],
        [("RESHAPE", [X, [1, -1]])],
        [("GETITEM", [X, 0])],
        [("SIZE", [X, 0]), ("ZEROS", [[3, Node("n0")]])],
        # One row less dimension: a batch of one.
        [("SQUEEZE", [X])],
        [("TO_TYPE", [X, Type(graph_pb2.DATA_TYPE_FP64)])],
    ],
)
def test_an_output_has_its_batch_first_and_nowhere_else(calls: list[tuple[str, list[Any]]]) -> None:
    assert "results" in (error := _refused(_calls(graphs.raw((3,)), *calls)).fields["field"]) or (
        error == "graph.outputs[0]"
    )


def test_operands_must_not_meet_the_batch_by_chance() -> None:
    """A state of the size of some batch is not a batch."""
    for rows in (1, 2, 3, 4):
        graph = graphs.raw((3,))
        graph.states.add(path="s", data_type=graphs.FP32, shape=[rows, 3])
        graph.nodes.add(name="s", state="s")
        graph.outputs.add(name="output", data_type=graphs.FP32, shape=[-1, 3])
        _calls(graph, ("ADD", [X, Node("s")]))
        bounds.check(graph)

        if rows == 1:
            meta.measure(graph)
            continue
        with pytest.raises(InvalidField, match=r"graph\.(nodes\[2\]|eval_results)"):
            meta.measure(graph)


def test_the_head_s_logits_are_what_both_modes_compute() -> None:
    graph = graphs.built(spec_pb2.FAMILY_SOFTMAX)
    graph.eval_nodes.extend(graph.nodes)
    del graph.nodes[-1]
    graph.results.append("x")
    graphs.call(graph, "output", graph_pb2.FUNCTION_FLATTEN, values.node("x"), values.literal(1))
    graph.results[:] = ["output"]
    meta.measure(graph)
    graph.nodes[-1].CopyFrom(graph_pb2.Node(name="output", function=graph_pb2.FUNCTION_CAT))
    operands = [values.nodes(["x", "x"]), values.literal(1)]
    graph.nodes[-1].arguments.extend(operands)

    with pytest.raises(InvalidField, match=r"graph\.results is FP32\[-1, 4\].*FP32\[-1, 2\]"):
        meta.measure(graph)


def test_the_last_node_of_format_1_fits_its_head() -> None:
    graph = graphs.of_nodes(width=2)
    graph.head = graph_pb2.HEAD_SIGMOID

    with pytest.raises(InvalidField, match=r"FP32\[-1, 2\]; allowed: FP32\[-1, 1\] alone"):
        meta.measure(graph)
    graph.head = graph_pb2.HEAD_SOFTMAX
    assert meta.measure(graph).outputs == [
        graph_pb2.TensorSpec(name="output", data_type=graphs.FP32, shape=[-1, 2])
    ]


def test_an_output_that_is_not_what_the_graph_says_is_refused() -> None:
    graph = graphs.built(spec_pb2.FAMILY_SOFTMAX)
    graph.outputs[0].shape[1] = 3

    with pytest.raises(InvalidField, match=r"outputs\[0\] is FP32\[-1, 3\].*FP32\[-1, 2\]"):
        load(graph, init(graphs.built(spec_pb2.FAMILY_SOFTMAX), 0).state_dict())


def test_a_row_is_measured_with_what_modules_compute_inside() -> None:
    graph = graphs.built(spec_pb2.FAMILY_MLP, hidden=[5])

    # Two linear layers and an activation: inputs and views are not computed.
    assert meta.measure(graph).row_elements == 5 + 5 + 2


def test_a_long_sequence_counts_but_does_not_run() -> None:
    kind = graph_pb2.MODULE_KIND_GRU
    given: dict[str, values.Literal] = {"input_size": 2, "hidden_size": 4, "batch_first": True}
    calls = [("GETITEM", [Node("m"), 0])]

    short = meta.measure(_calls(_module(kind, 10, 2, **given), *calls))
    long = meta.measure(_calls(_module(kind, 1000, 2, **given), *calls))

    assert list(long.outputs[0].shape) == [-1, 1000, 4]
    assert 90 <= long.row_elements / short.row_elements <= 110


def test_modules_come_out_as_they_went_in() -> None:
    """Neither statistics nor modes nor arguments are changed by a run without memory."""
    kind = graph_pb2.MODULE_KIND_BATCH_NORM1D
    graph = graphs.finished(_module(kind, 3, num_features=3, momentum=None))
    net = init(graph, 0)
    meta.measure(graph)

    loaded = load(graph, net.state_dict())

    assert not loaded.training
    assert loaded.state_dict()["m.num_batches_tracked"].item() == 0
    assert next(loaded.children()).momentum is None
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())


def test_many_operations_are_refused() -> None:
    kind = graph_pb2.MODULE_KIND_LSTM
    graph = _module(kind, 100_000, 1, input_size=1, hidden_size=1, batch_first=True)

    assert "operations of torch" in _refused(graph).message


def test_one_hot_tables_are_shared_by_their_classes() -> None:
    graph = graphs.raw((2,))
    graph.inputs[0].data_type = graphs.INT64
    for name in ("one", "two"):
        operands = (values.node("x"), values.integers([2, 3]))
        graphs.call(graph, name, graph_pb2.FUNCTION_ONE_HOT, *operands)

    assert list(modules.one_hots(graph)) == [(2, 3)]

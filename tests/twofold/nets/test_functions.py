"""Every permitted function computes what torch's own does."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.twofold.nets import graphs
from tests.twofold.nets.function_cases import (
    INDEX,
    Case,
    Node,
    X,
    Y,
    Z,
    to_value,
)
from tests.twofold.nets.window_cases import CASES, OF_NUMBERS
from twofold.errors import InvalidField
from twofold.nets import bounds, meta, tables
from twofold.nets.net import load
from twofold.v1 import graph_pb2


def _graph(case: Case) -> graph_pb2.Graph:
    graph = graphs.raw(*case.shapes)
    helpers: dict[str, tuple[str, list[Any]]] = {
        "rows": ("SIZE", [X, 0]),
        "many": ("MUL", [Node("rows"), 3]),
        "three": ("FLOOR_DIVIDE", [Node("many"), Node("rows")]),
        "sizes": ("SIZE", [X]),
        "range": ("ARANGE", [0, 3]),
        "picked": ("ARANGE", [0, 2]),
        "index": ("EXPAND", [Node("range"), [Node("rows"), 3]]),
        "label": ("GETITEM", [INDEX, [slice(None, None, None), 0]]),
        "mask": ("GT", [X, 0]),
        "share": ("SIGMOID", [X]),
        "column": ("GETITEM", [X, 0]),
    }
    for name, (function, arguments) in helpers.items():
        _call(graph, name, function, arguments)
    # Parameters stand in row 0 of an input: only the first operands have a batch.
    arguments = [_row(graph, case, place, each) for place, each in enumerate(case.arguments)]
    _call(graph, "answer", case.name, arguments)
    if case.entry is not None:
        _call(graph, "entry", "GETITEM", [Node("answer"), case.entry])
    return graph


_OF_ROW = {
    "LINEAR": "yz",
    "BILINEAR": "z",
    "EMBEDDING": "y",
    "ADDMM": "z",
    "OUTER": "xy",
    "LAYER_NORM": "yz",
    "PRELU": "y",
}


def _row(graph: graph_pb2.Graph, case: Case, place: int, argument: Any) -> Any:  # noqa: ANN401 - of a case
    """An argument, or row 0 of it where it is a parameter."""
    rows = "y" if case.name.startswith("CONV") else _OF_ROW.get(case.name, "")
    if not isinstance(argument, Node) or argument.name not in rows:
        return argument
    name = f"row{place}"
    is_column = case.name == "OUTER" and argument == X
    _call(
        graph, name, "CLONE" if is_column else "GETITEM", [argument] if is_column else [argument, 0]
    )
    return Node(name)


def _call(graph: graph_pb2.Graph, name: str, function: str, arguments: list[Any]) -> None:
    number: Any = graph_pb2.Function.Value(f"FUNCTION_{function}")
    graphs.call(graph, name, number, *[to_value(each) for each in arguments])


def test_every_permitted_function_is_tried() -> None:
    tried = {case.name for case in CASES} | OF_NUMBERS
    names = {graph_pb2.Function.Name(each).removeprefix("FUNCTION_") for each in tables.FUNCTIONS}

    assert tried == names


def _inputs(case: Case) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    made = [torch.randn((4, *shape), generator=generator) for shape in case.shapes]
    return [made[0].abs() + 0.1, *made[1:]] if case.is_positive else made


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.name}-{index}" for index, case in enumerate(CASES)]
)
def test_a_function_computes_what_torch_s_does(case: Case) -> None:
    """Also where it is random, from the same seed. The meta run knows type and shape before."""
    graph = graph_pb2.Graph.FromString(_graph(case).SerializeToString())
    has_batch = _finish(graph)
    inputs = _inputs(case)

    torch.manual_seed(5)
    computed = load(graph, {})(*inputs)

    torch.manual_seed(5)
    wanted = case.expected(*inputs[: _used(case.arguments)])
    wanted = wanted if case.entry is None else wanted[case.entry]
    computed = computed if has_batch else computed[0]
    torch.testing.assert_close(computed, wanted, rtol=0, atol=0, equal_nan=True)


def _used(arguments: Any) -> int:  # noqa: ANN401 - of a case
    """How many of x, y, z a call has; x is there always."""
    if isinstance(arguments, list):
        return max((1, *map(_used, arguments)))
    return "xyz".index(arguments.name) + 1 if arguments in (X, Y, Z) else 1


def _finish(graph: graph_pb2.Graph) -> bool:
    """Gives the graph its outputs; what has no batch, such as a range, is repeated over one."""
    spec = meta.measure(graph).outputs[0]
    has_batch = not spec.shape or spec.shape[0] == bounds.BATCH
    if not has_batch:
        _call(graph, "first", "UNSQUEEZE", [Node(graph.nodes[-1].name), 0])
        sizes = [Node("rows"), *(-1 for _ in spec.shape)]
        _call(graph, "repeated", "EXPAND", [Node("first"), sizes])
        spec.shape.insert(0, bounds.BATCH)
    graph.outputs.append(spec)
    return has_batch


@pytest.mark.parametrize("name", ["DATA_TYPE_INT64", "DATA_TYPE_BOOL"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_the_meta_run_lets_pass_runs_with_other_types_too(name: str) -> None:
    """Torch's meta device takes types that no device has; those must be refused, and only those."""
    data_type: Any = graph_pb2.DataType.Value(name)
    ran = 0
    for case in CASES:
        graph = _graph(case)
        graph.inputs[0].data_type = data_type
        if any(argument == -math.inf for argument in case.arguments):
            continue  # what an integer cannot be is known when it is needed
        try:
            _finish(graph)
        except InvalidField:
            continue
        net = load(graph, {})
        inputs = [torch.ones_like(each) for each in _inputs(case)]
        with torch.no_grad():
            net(inputs[0].to(meta.DATA_TYPES[data_type]), *inputs[1:])
        ran += 1
    assert ran > 60


@pytest.mark.parametrize("number", [0, 3, 9, -2, -(1 << 45), 1 << 40, 1e66, -1.0])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_the_meta_run_lets_pass_runs_with_other_numbers_too(number: float) -> None:
    """Torch's meta device takes dimensions that there are not, and negative paddings."""
    refused = ran = 0
    for case in CASES:
        for place, argument in enumerate(case.arguments):
            if type(argument) not in (int, float):
                continue
            arguments = [*case.arguments[:place], number, *case.arguments[place + 1 :]]
            graph = _graph(dataclasses.replace(case, arguments=arguments))
            try:
                _finish(graph)
                net = load(graph, {})
            except InvalidField:
                refused += 1
                continue
            with torch.no_grad():
                net(*_inputs(case))
            ran += 1
    assert refused > 10
    assert refused + ran > 80

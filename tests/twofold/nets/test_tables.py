"""The table of permitted modules says what torch says, and every row works."""
# pyright: reportUnknownMemberType=false

import inspect

import pytest
import torch

from tests.twofold.nets import graphs
from twofold.nets import bounds, modules, tables, values
from twofold.nets.net import load
from twofold.v1 import graph_pb2, spec_pb2

#: Arguments that no graph may give; see the docstring of tables.
REFUSED = {"self", "args", "kwargs", "device", "dtype", "min_value", "max_value"}

#: Values other than the defaults, to see that every argument arrives.
OTHERS: list[tuple[graph_pb2.ModuleKind, dict[str, values.Literal]]] = [
    (graph_pb2.MODULE_KIND_LINEAR, {"in_features": 3, "out_features": 5, "bias": False}),
    (graph_pb2.MODULE_KIND_LINEAR, {"in_features": 3, "out_features": 1}),
    (graph_pb2.MODULE_KIND_DROPOUT, {"p": 0.25}),
    (graph_pb2.MODULE_KIND_ELU, {"alpha": -2.5}),
    (graph_pb2.MODULE_KIND_CELU, {"alpha": 0.3}),
    (graph_pb2.MODULE_KIND_GELU, {"approximate": "tanh"}),
    (graph_pb2.MODULE_KIND_LEAKY_RELU, {"negative_slope": 0.5}),
    (graph_pb2.MODULE_KIND_PRELU, {"num_parameters": 3, "init": -0.75}),
    (graph_pb2.MODULE_KIND_RRELU, {"lower": 0.5, "upper": 0.75}),
    (graph_pb2.MODULE_KIND_SOFTPLUS, {"beta": 2.0, "threshold": 1.5}),
    (graph_pb2.MODULE_KIND_SOFTSHRINK, {"lambd": 0.1}),
    (graph_pb2.MODULE_KIND_HARDSHRINK, {"lambd": 0.9}),
    (graph_pb2.MODULE_KIND_HARDTANH, {"min_val": -0.25, "max_val": 0.75}),
    (graph_pb2.MODULE_KIND_THRESHOLD, {"threshold": 0.1, "value": -20.0}),
]
_NEEDED = (graph_pb2.MODULE_KIND_LINEAR, graph_pb2.MODULE_KIND_THRESHOLD)
DEFAULTS: list[tuple[graph_pb2.ModuleKind, dict[str, values.Literal]]] = [
    (kind, {}) for kind in tables.MODULES if kind not in _NEEDED
]


def test_every_kind_of_the_format_has_a_row_and_a_class() -> None:
    kinds = set(graph_pb2.ModuleKind.values()) - {graph_pb2.MODULE_KIND_UNSPECIFIED}

    assert set(tables.MODULES) == kinds
    assert set(modules.CLASSES) == kinds


def test_every_function_of_the_format_has_a_row() -> None:
    functions = set(graph_pb2.Function.values()) - {graph_pb2.FUNCTION_UNSPECIFIED}

    assert set(tables.FUNCTIONS) == functions


def test_every_activation_has_a_module_of_its_name() -> None:
    for activation, kind in tables.ACTIVATIONS.items():
        name = spec_pb2.Activation.Name(activation).removeprefix("ACTIVATION_")

        assert graph_pb2.ModuleKind.Name(kind) == f"MODULE_KIND_{name}"


@pytest.mark.parametrize("kind", list(tables.MODULES))
def test_rows_have_the_arguments_and_defaults_of_torch(kind: graph_pb2.ModuleKind) -> None:
    parameters = inspect.signature(modules.CLASSES[kind].__init__).parameters
    of_torch = {
        name: None if parameter.default is inspect.Parameter.empty else parameter.default
        for name, parameter in parameters.items()
        if name not in REFUSED
    }

    assert {name: row.default for name, row in tables.MODULES[kind].items()} == of_torch


@pytest.mark.parametrize(("kind", "given"), DEFAULTS + OTHERS)
def test_a_module_survives_the_round_trip(
    kind: graph_pb2.ModuleKind, given: dict[str, values.Literal]
) -> None:
    """Graph to bytes to net gives what torch's class gives with the same arguments and state."""
    graph = graph_pb2.Graph.FromString(graphs.of_module(kind, **given).SerializeToString())
    torch.manual_seed(5)
    expected = modules.CLASSES[kind](**given).eval()
    state = {f"m.{name}": tensor for name, tensor in expected.state_dict().items()}
    x = torch.linspace(-9, 9, 21).reshape(7, 3)

    net = load(graph, state)

    torch.testing.assert_close(net(x), expected(x), rtol=0, atol=0)
    assert {name: shape.shape for name, shape in bounds.state_shapes(graph).items()} == {
        name: tuple(tensor.shape) for name, tensor in net.state_dict().items()
    }


@pytest.mark.parametrize(
    ("argument", "good", "bad"),
    [
        (tables.Argument("boolean", default=True), [True, False], [1, 0.0, "true", None]),
        (tables.Argument("integer", 1, 1, 9), [1, 9], [0, 10, True, 1.0, "1", None]),
        (tables.Argument("real", 1.0, 0, 1), [0.0, 1.0], [1.1, -0.1, 1, True, float("nan")]),
        (tables.Argument("real", 1.0, 0, 1, is_open=True), [1e-9], [0.0]),
        (tables.Argument("choice", "a", choices=("a", "b")), ["a", "b"], ["c", "", 1]),
        (tables.MODULES[graph_pb2.MODULE_KIND_RELU]["inplace"], [False], [True, 0]),
    ],
)
def test_arguments_are_strict_about_type_and_range(
    argument: tables.Argument, good: list[values.Literal], bad: list[values.Literal | None]
) -> None:
    assert [value for value in good if not argument.accepts(value)] == []
    assert [value for value in bad if argument.accepts(value)] == []
    assert argument.allowed()

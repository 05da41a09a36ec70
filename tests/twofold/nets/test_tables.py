"""The tables of permitted modules and functions say what torch says, and leave nothing out."""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import inspect
from collections.abc import Mapping

import pytest
from torch import nn

from twofold.nets import functions, modules, tables, values
from twofold.v1 import graph_pb2, spec_pb2

#: Arguments that no graph may give; see the docstring of tables.
WITHHELD = {
    "self",
    "args",
    "kwargs",
    "device",
    "dtype",
    "min_value",
    "max_value",
    "_weight",
    "_freeze",
    "custom_encoder",
    "custom_decoder",
}
#: Classes whose signatures are those of others.
_BASES: Mapping[graph_pb2.ModuleKind, type[nn.Module]] = {
    graph_pb2.MODULE_KIND_RNN: nn.RNNBase,
    graph_pb2.MODULE_KIND_LSTM: nn.RNNBase,
    graph_pb2.MODULE_KIND_GRU: nn.RNNBase,
}
#: Stacks have the arguments of their layers, and whether a norm ends them.
_LAYERS: Mapping[graph_pb2.ModuleKind, type[nn.Module]] = {
    graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER: nn.TransformerEncoderLayer,
    graph_pb2.MODULE_KIND_TRANSFORMER_DECODER: nn.TransformerDecoderLayer,
}


def test_every_kind_of_the_format_has_a_row_and_a_class() -> None:
    kinds = set(graph_pb2.ModuleKind.values()) - {graph_pb2.MODULE_KIND_UNSPECIFIED}

    assert set(tables.MODULES) == kinds
    assert set(modules.CLASSES) == kinds


def test_every_function_of_the_format_has_a_row_and_a_call() -> None:
    permitted = set(graph_pb2.Function.values()) - {graph_pb2.FUNCTION_UNSPECIFIED}

    assert set(tables.FUNCTIONS) == permitted
    assert {
        *functions.CALLS,
        *functions.FACTORIES,
        graph_pb2.FUNCTION_ONE_HOT,
    } == permitted


def test_every_class_of_torch_is_permitted_or_refused_with_a_reason() -> None:
    public = {name for name, value in vars(nn).items() if isinstance(value, type)}
    permitted = {kind.__name__ for kind in modules.CLASSES.values()} - {"Step"}
    lists = [permitted, tables.REFUSED, tables.CONTAINERS, tables.NOT_MODULES]

    assert sorted(name for names in lists for name in names) == sorted(public)
    assert all(len(reason) > 20 for reason in tables.REFUSED.values())


def test_every_activation_has_a_module_of_its_name() -> None:
    for activation, kind in tables.ACTIVATIONS.items():
        name = spec_pb2.Activation.Name(activation).removeprefix("ACTIVATION_")

        assert graph_pb2.ModuleKind.Name(kind) == f"MODULE_KIND_{name}"


def _defaults(of: type[nn.Module]) -> dict[str, object]:
    """Constructor arguments and their defaults, as the tables write them."""
    found: dict[str, object] = {}
    for name, parameter in inspect.signature(of.__init__).parameters.items():
        default = parameter.default
        if default is inspect.Parameter.empty:
            default = tables.REQUIRED
        if default is nn.functional.relu:  # torch also takes its name
            default = "relu"
        if name not in WITHHELD:
            found[name] = default
    return found


@pytest.mark.parametrize("kind", list(tables.MODULES))
def test_rows_have_the_arguments_and_defaults_of_torch(kind: graph_pb2.ModuleKind) -> None:
    of_torch = _defaults(_BASES.get(kind, modules.CLASSES[kind]))
    if kind in _BASES:
        del of_torch["mode"]
    if kind in (graph_pb2.MODULE_KIND_RNN, graph_pb2.MODULE_KIND_GRU):
        del of_torch["proj_size"]
    if kind == graph_pb2.MODULE_KIND_RNN:
        of_torch["nonlinearity"] = "tanh"
    if kind in _LAYERS:
        layer = of_torch.keys() & {"encoder_layer", "decoder_layer"}
        del of_torch[layer.pop()]
        of_torch |= {**_defaults(_LAYERS[kind]), "norm": False}

    row = tables.MODULES[kind].arguments

    assert {name: argument.default for name, argument in row.items()} == of_torch
    # A default that is not accepted must be given: a dimension that torch would guess.
    refused = [name for name, each in row.items() if not _accepts_default(each)]
    assert refused in ([], ["dim"])


def _accepts_default(argument: tables.Argument) -> bool:
    default = argument.default
    return isinstance(default, tables.Required) or argument.accepts(default)


@pytest.mark.parametrize("kind", list(tables.MODULES))
def test_rows_have_the_parameters_of_torch_s_forward(kind: graph_pb2.ModuleKind) -> None:
    parameters = list(inspect.signature(modules.CLASSES[kind].forward).parameters.values())[1:]
    of_torch = {
        each.name: tables.REQUIRED if each.default is inspect.Parameter.empty else each.default
        for each in parameters
    }

    row = tables.MODULES[kind].forward

    assert {each.name: each.default for each in row} == of_torch


@pytest.mark.parametrize(
    ("argument", "good", "bad"),
    [
        (tables.Argument(("boolean",), default=True), [True, False], [1, 0.0, "true", None]),
        (tables.Argument(("integer",), 1, 1, 9), [1, 9], [0, 10, True, 1.0, "1", None, (1,)]),
        (tables.Argument(("real",), 1.0, 0, 1), [0.0, 1.0], [1.1, -0.1, 1, float("nan")]),
        (tables.Argument(("real",), 1.0, 0, 1, is_open=True), [1e-9], [0.0]),
        (tables.Argument(("choice",), "a", choices=("a", "b")), ["a", "b"], ["c", "", 1]),
        (tables.Argument(("integer", "none"), None, 1, 9), [None, 3], ["x", 0]),
        (
            tables.Argument(("integer", "integers"), 1, 1, 9, lengths=(2,)),
            [3, (1, 9)],
            [(1,), (1, 10), (1.0, 2.0), (1, 2, 3), ()],
        ),
        (tables.Argument(("integers",), low=-1), [(1,), (2,) * 16], [(), (1,) * 17, 1]),
        (tables.Argument(("reals",), low=0.0, lengths=(1, 2)), [(0.5,)], [(1,), (-0.5,)]),
        (
            tables.MODULES[graph_pb2.MODULE_KIND_RELU].arguments["inplace"],
            [False],
            [True, 0, values.OTHER],
        ),
    ],
)
def test_arguments_are_strict_about_type_and_range(
    argument: tables.Argument,
    good: list[values.Literal],
    bad: list[values.Literal | values.Other],
) -> None:
    assert [value for value in good if not argument.accepts(value)] == []
    assert [value for value in bad if argument.accepts(value)] == []
    assert argument.allowed()


def test_literals_keep_their_types_on_the_wire() -> None:
    for value in (True, 3, 2.5, "word", None, (1, 2), (0.5, 1.5)):
        found = values.to_literal(values.literal(value))

        assert found == value
        assert type(found) is type(value)
    assert values.to_literal(values.node("x")) is values.OTHER
    assert values.to_literal(values.nodes("xy")) is values.OTHER

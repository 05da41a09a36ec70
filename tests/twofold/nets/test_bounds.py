"""Graphs that must not run are refused before anything is allocated."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.twofold.nets import graphs
from twofold.errors import InvalidField
from twofold.nets import bounds, tables, values
from twofold.v1 import graph_pb2, spec_pb2

Change = Callable[[graph_pb2.Graph], object]


def _graph() -> graph_pb2.Graph:
    """Standardised numbers and categories into a small MLP: every part of the format."""
    data = graphs.features(numeric=2, vocabularies=(3, 4))
    return graphs.built(spec_pb2.FAMILY_MLP, data=data, scaling=True, hidden=[5])


def test_the_sample_itself_is_accepted() -> None:
    bounds.check(_graph())


def test_counts_follow_from_plain_integers() -> None:
    graph = _graph()

    assert bounds.parameter_count(graph) == (9 * 5 + 5) + (5 * 2 + 2)
    assert bounds.state_shapes(graph)["scale.mean"] == bounds.StateShape(
        (2,), graphs.FP32, is_trainable=False
    )


def _set(path: str, value: object) -> Change:
    """Sets "a.0.b" of a graph."""

    def change(graph: graph_pb2.Graph) -> None:
        *above, leaf = path.split(".")
        target = cast("Any", graph)  # walks messages and lists by a path of the test
        for part in above:
            target = target[int(part)] if part.isdigit() else getattr(target, part)
        if isinstance(value, list):
            getattr(target, leaf)[:] = value
        else:
            setattr(target, leaf, value)

    return change


def _argument(module: int, name: str, value: values.Literal) -> Change:
    return lambda graph: graph.modules[module].arguments[name].CopyFrom(values.literal(value))


def _replace(node: int, *operands: graph_pb2.Value) -> Change:
    def change(graph: graph_pb2.Graph) -> None:
        del graph.nodes[node].arguments[:]
        graph.nodes[node].arguments.extend(operands)

    return change


def _nested(depth: int) -> graph_pb2.Value:
    value = values.node("x")
    for _ in range(depth):
        value = graph_pb2.Value(list=graph_pb2.ValueList(values=[value]))
    return value


def _add_output(name: str = "other") -> Change:
    return lambda graph: graph.outputs.add(name=name, data_type=1, shape=[-1, 2])


def _raw(change: Change) -> Change:
    def both(graph: graph_pb2.Graph) -> None:
        graph.head = graph_pb2.HEAD_RAW
        change(graph)

    return both


def _add_recurrent(**given: values.Literal) -> Change:
    """Two LSTMs; what only one has goes beyond no limit."""
    kind = graph_pb2.MODULE_KIND_LSTM
    arguments = tables.arguments(kind, input_size=2, hidden_size=5, **given)

    def change(graph: graph_pb2.Graph) -> None:
        graph.modules.add(path="first", kind=kind, arguments=arguments)
        graph.modules.add(path="second", kind=kind, arguments=arguments)

    return change


def _many(graph: graph_pb2.Graph, count: int) -> None:
    for index in range(count):
        graph.modules.add(path=f"extra.{index}", kind=graph_pb2.MODULE_KIND_TANH)


CHANGES: dict[str, tuple[Change, str]] = {
    "no version": (_set("format_version", 0), "graph.format_version"),
    "a newer version": (_set("format_version", 3), "graph.format_version"),
    "unknown enum": (_set("head", 77), "graph.head"),
    "no head": (_set("head", 0), "graph.head"),
    "no inputs": (lambda g: g.ClearField("inputs"), "graph.inputs"),
    "too many inputs": (
        lambda g: [g.inputs.add(name=f"i{i}", data_type=1, shape=[-1]) for i in range(64)],
        "graph.inputs",
    ),
    "no nodes": (lambda g: g.ClearField("nodes"), "graph.nodes"),
    "too many nodes": (
        lambda g: [g.nodes.add(name=f"i{i}", input="x") for i in range(tables.MAX_NODES)],
        "graph.nodes",
    ),
    "too many modules": (lambda g: _many(g, tables.MAX_MODULES), "graph.modules"),
    "text input": (_set("inputs.0.data_type", 6), "graph.inputs[0].data_type"),
    "fixed batch": (_set("inputs.0.shape", [4, 2]), "graph.inputs[0].shape"),
    "negative width": (_set("inputs.0.shape", [-1, -2]), "graph.inputs[0].shape"),
    "huge width": (_set("inputs.0.shape", [-1, 1 << 62]), "graph.inputs[0].shape"),
    "huge row": (_set("inputs.0.shape", [-1, 4096, 4097]), "graph.inputs[0].shape"),
    "deep input": (_set("inputs.0.shape", [-1] + [1] * 20), "graph.inputs[0].shape"),
    "same input twice": (_set("inputs.1.name", "x"), "graph.inputs"),
    "odd input name": (_set("inputs.0.name", "../x"), "graph.inputs[0].name"),
    "odd path": (_set("modules.0.path", "a/b"), "graph path"),
    "empty part": (_set("modules.0.path", "a..b"), "graph path"),
    "long path": (_set("modules.0.path", "a" * 256), "graph path"),
    "same path twice": (_set("modules.0.path", "output"), "graph path"),
    "path below a module": (_set("modules.0.path", "output.weight"), "graph path"),
    "path of torch's own": (_set("modules.0.path", "training.x"), "graph path"),
    "no kind": (_set("modules.0.kind", 0), "graph.modules[0].kind"),
    "unknown argument": (_argument(0, "device", "cuda"), "graph.modules[0].arguments"),
    "missing argument": (
        lambda g: g.modules[0].arguments.pop("bias"),
        "graph.modules[0].arguments",
    ),
    "width of 0": (
        _argument(0, "in_features", 0),
        "graph.modules[0].arguments.in_features",
    ),
    "boolean as integer": (
        _argument(0, "in_features", value=True),
        "graph.modules[0].arguments.in_features",
    ),
    "inplace": (_argument(1, "inplace", value=True), "graph.modules[1].arguments.inplace"),
    "too many parameters": (_argument(0, "out_features", (1 << 31) - 1), "graph"),
    "state of text": (_set("states.0.data_type", 6), "graph.states[0].data_type"),
    "trainable integers": (
        lambda g: g.states.add(path="k", data_type=3, shape=[1], trainable=True),
        "graph.states[2].data_type",
    ),
    "state of -1": (_set("states.0.shape", [-1]), "graph.states[0].shape"),
    "odd node name": (_set("nodes.0.name", "x y"), "graph.nodes[0].name"),
    "same node twice": (_set("nodes.1.name", "x"), "graph.nodes[1].name"),
    "no operation": (lambda g: g.nodes[0].ClearField("input"), "graph.nodes[0].operation"),
    "unknown input": (_set("nodes.0.input", "z"), "graph.nodes[0].input"),
    "unknown state": (_set("nodes.1.state", "z"), "graph.nodes[1].state"),
    "unknown module": (_set("nodes.7.module", "z"), "graph.nodes[7].module"),
    "no function": (_set("nodes.3.function", 0), "graph.nodes[3].function"),
    "later node": (
        _replace(3, values.node("x"), values.node("output")),
        "graph.nodes[3].arguments",
    ),
    "too few operands": (_replace(3, values.node("x")), "graph.nodes[3].arguments"),
    "an operand of an input": (_replace(0, values.node("x")), "graph.nodes[0].arguments"),
    "only literals": (
        _replace(3, values.literal(1.0), values.literal(2.0)),
        "graph.nodes[3].arguments",
    ),
    "text operand": (
        _replace(3, values.node("x"), values.literal("y")),
        "graph.nodes[3].arguments",
    ),
    "nested list": (_replace(6, _nested(4), values.literal(1)), "graph.nodes[6].arguments"),
    "list of lists of classes": (
        _replace(6, values.node("category"), _nested(2)),
        "graph.nodes[6].arguments",
    ),
    "classes as text": (
        _replace(6, values.node("category"), values.literal("3")),
        "graph.nodes[6].arguments",
    ),
    "a list of literals to concatenate": (
        _replace(7, values.integers([1]), values.literal(1)),
        "graph.nodes[7].arguments",
    ),
    "a node as a constructor's argument": (
        lambda g: g.modules[0].arguments["bias"].CopyFrom(values.node("x")),
        "graph.modules[0].arguments.bias",
    ),
    "no classes": (
        _replace(6, values.node("category"), values.integers([])),
        "graph node one_hot",
    ),
    "too many classes": (
        _replace(6, values.node("category"), values.integers([tables.MAX_ROW_ELEMENTS, 1])),
        "graph node one_hot",
    ),
    "classes of a node": (
        _replace(6, values.node("category"), values.node("category")),
        "graph node one_hot",
    ),
    "infinite literal": (
        _replace(3, values.node("x"), values.literal(float("inf"))),
        "graph.nodes[3].arguments[1].real",
    ),
    "threshold without its head": (_set("head_threshold", 0.5), "graph.head_threshold"),
    "one logit for a softmax": (_set("outputs.0.shape", [-1, 1]), "graph.outputs"),
    "two logits for a sigmoid": (_set("head", graph_pb2.HEAD_SIGMOID), "graph.outputs"),
    "integers for a softmax": (_set("outputs.0.data_type", graphs.INT64), "graph.outputs"),
    "two outputs for a softmax": (_add_output(), "graph.outputs"),
    "no outputs": (lambda g: g.ClearField("outputs"), "graph.outputs"),
    "odd output name": (_set("outputs.0.name", "a b"), "graph.outputs[0].name"),
    "text output": (_set("outputs.0.data_type", 6), "graph.outputs[0].data_type"),
    "fixed rows of an output": (_set("outputs.0.shape", [4, 2]), "graph.outputs[0].shape"),
    "the same output twice": (_raw(_add_output(name="output")), "graph.outputs"),
    "fewer results than outputs": (_raw(_add_output()), "graph.results"),
    "more eval results than outputs": (
        _set("eval_results", ["output", "x"]),
        "graph.eval_results",
    ),
    "an unknown result": (_set("results", ["nowhere"]), "graph.results"),
    "an unknown eval result": (_set("eval_results", ["nowhere"]), "graph.eval_results"),
    "outputs in format 1": (_set("format_version", 1), "graph.format_version"),
    "a raw head in format 1": (
        lambda g: (g.ClearField("outputs"), _set("format_version", 1)(g), _set("head", 6)(g)),
        "graph.format_version",
    ),
    "a tie of nothing": (
        lambda g: g.ties.add(path="output.weight", source="nowhere"),
        "graph.ties[0].source",
    ),
    "a tie of a buffer": (
        lambda g: g.ties.add(path="scale.mean", source="scale.deviation"),
        "graph.ties[0].path",
    ),
    "a tie of another shape": (
        lambda g: g.ties.add(path="output.weight", source="hidden.0.weight"),
        "graph.ties[0]",
    ),
    "a tie to itself": (
        lambda g: g.ties.add(path="output.weight", source="output.weight"),
        "graph.ties[0].source",
    ),
    "tied twice": (
        lambda g: [g.ties.add(path="output.weight", source="hidden.0.weight") for _ in "ab"],
        "graph.ties",
    ),
    "a frozen buffer": (_set("frozen", ["scale.mean"]), "graph.frozen"),
    "frozen twice": (_set("frozen", ["output.bias"] * 2), "graph.frozen"),
    "a parameter that is not persistent": (
        lambda g: g.states.add(
            path="k", data_type=1, shape=[1], trainable=True, non_persistent=True
        ),
        "graph.states[2].non_persistent",
    ),
    "too many layers": (_add_recurrent(num_layers=1024), "graph.modules"),
    "arguments that do not go together": (
        _add_recurrent(proj_size=5),
        "graph.modules[3].arguments",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_graph_is_refused_naming_the_place(name: str) -> None:
    change, field = CHANGES[name]
    graph = _graph()
    change(graph)

    with pytest.raises(InvalidField) as caught:
        bounds.check(graph, max_parameters=1 << 20)

    assert caught.value.fields["field"].startswith(field)


def test_an_unknown_field_at_any_depth_is_refused() -> None:
    graph = _graph()
    # Field 100, varint 1, behind a module's own fields.
    module = graph.modules[0].SerializeToString() + bytes([0xA0, 0x06, 0x01])
    graph.modules[0].ParseFromString(module)

    with pytest.raises(InvalidField, match=r"modules\[0\] is unknown field 100"):
        bounds.check(graph)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (graph_pb2.MODULE_KIND_RRELU, {"lower": 0.5, "upper": 0.25}),
        (graph_pb2.MODULE_KIND_HARDTANH, {"min_val": 1.0, "max_val": 1.0}),
    ],
)
def test_bounds_that_cross_are_refused(
    kind: graph_pb2.ModuleKind, given: dict[str, values.Literal]
) -> None:
    with pytest.raises(InvalidField, match="below"):
        bounds.check(graphs.of_module(kind, **given))


def test_equal_bounds_of_rrelu_are_accepted() -> None:
    kind = graph_pb2.MODULE_KIND_RRELU
    graph = graphs.of_module(kind, lower=0.5, upper=0.5)

    bounds.check(graph)


def test_no_torch_is_imported_to_check_and_build() -> None:
    """What the API process imports must stay free of torch."""
    code = (
        "import sys, twofold.spec, twofold.features, twofold.nets.catalogue, twofold.nets.bounds;"
        "sys.exit('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=25)  # noqa: S603 - ours

    assert done.returncode == 0


def test_the_loader_needs_torch_numpy_and_protobuf_alone() -> None:
    """It also runs where nothing else of ours is installed."""
    code = (
        "import sys, twofold.nets.net, twofold.nets.losses, twofold.features;"
        "others = {'grpc', 'redis', 'pydantic', 'pyarrow', 'typer'} & sys.modules.keys();"
        "sys.exit(str(others) if others else 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=25)  # noqa: S603 - ours

    assert done.returncode == 0


def test_the_head_of_several_labels_takes_any_number_of_columns_of_format_2() -> None:
    graph = graphs.of_nodes()
    graph.head = graph_pb2.HEAD_MULTILABEL
    with pytest.raises(InvalidField, match="2 with HEAD_MULTILABEL"):
        bounds.check(graph)
    graph.format_version = 2
    graph.outputs.add(name="output", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 3])
    bounds.check(graph)
    graph.outputs[0].shape.append(2)
    with pytest.raises(InvalidField, match=r"FP32\[-1, labels\] alone, for HEAD_MULTILABEL"):
        bounds.check(graph)


@pytest.mark.parametrize("data_type", ["UNSPECIFIED", "BYTES"])
def test_what_is_no_type_of_a_tensor_is_no_argument(data_type: str) -> None:
    number: Any = graph_pb2.DataType.Value(f"DATA_TYPE_{data_type}")
    graph = graphs.raw([3])
    kind = graph_pb2.Value(data_type=number)
    graphs.call(graph, "y", graph_pb2.FUNCTION_TO_TYPE, values.node("x"), kind)
    graph.outputs.add(name="y", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 3])

    with pytest.raises(InvalidField, match="data_type"):
        bounds.check(graph)

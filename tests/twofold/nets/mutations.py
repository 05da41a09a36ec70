"""Valid graphs of every kind, and ways to break them: for the fuzz tests."""

import random
from collections.abc import Callable
from typing import Any

import torch
from google.protobuf.message import DecodeError, Message

from tests.twofold.nets import architectures_sequence as sequence
from tests.twofold.nets import architectures_table as table
from tests.twofold.nets import architectures_vision as vision
from tests.twofold.nets import graphs
from tests.twofold.nets.architectures import ARCHITECTURES
from twofold.errors import InvalidField
from twofold.nets import bounds, meta, tables, trace, values
from twofold.nets.data_types import DATA_TYPES
from twofold.nets.net import init
from twofold.v1 import graph_pb2, spec_pb2

#: Servers have such a limit too; here it keeps a test fast.
MAX_PARAMETERS = 1 << 18
#: Larger passes are not run: they are permitted, but take time.
_MAX_ROW = 1 << 18
_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    100,
    4096,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    -(1 << 62),
    (1 << 63) - 1,
)
_REALS = (0.0, 1.0, -1.0, 0.5, 1e-30, 1e6, 1e300, -1e9)
_WORDS = (
    "",
    "x",
    "y",
    "m",
    "n1",
    "training",
    "a.b",
    "../x",
    "_modules",
    "same",
    "inf",
    "bij,bjk->bik",
)


def seeds() -> list[graph_pb2.Graph]:
    """One graph for each part of the format."""
    data = graphs.features(numeric=2, vocabularies=(3, 4))
    return [
        graphs.built(spec_pb2.FAMILY_MLP, data=data, scaling=True, hidden=[5]),
        _convolution(),
        _sequence(),
        _attention(),
        *_traced(),
    ]


def _traced() -> list[graph_pb2.Graph]:
    """What users write: functions of all kinds, and a computation for each mode."""
    wanted = (sequence.WaveNet, sequence.MaskedFusion, vision.ConvNeXt, table.Experts)
    return [
        trace(each.made(), each.inputs()).graph for each in ARCHITECTURES if each.make in wanted
    ]


def _apply(
    graph: graph_pb2.Graph, path: str, kind: graph_pb2.ModuleKind, **given: values.Literal
) -> None:
    """One more module, of the last node."""
    source = values.node(graph.nodes[-1].name)
    graph.modules.add(path=path, kind=kind, arguments=tables.arguments(kind, **given))
    graph.nodes.add(name=path, module=path, arguments=[source])


def _convolution() -> graph_pb2.Graph:
    graph = graphs.raw((2, 6, 6))
    channels = {"in_channels": 2, "out_channels": 4}
    _apply(graph, "c", graph_pb2.MODULE_KIND_CONV2D, **channels, kernel_size=(3, 3), padding=1)
    _apply(graph, "n", graph_pb2.MODULE_KIND_BATCH_NORM2D, num_features=4)
    _apply(graph, "p", graph_pb2.MODULE_KIND_MAX_POOL2D, kernel_size=2)
    _apply(graph, "u", graph_pb2.MODULE_KIND_UPSAMPLE, scale_factor=2.0)
    _apply(graph, "f", graph_pb2.MODULE_KIND_ZERO_PAD2D, padding=(1, 0, 2, 0))
    graphs.call(graph, "m", graph_pb2.FUNCTION_MEAN, values.node("f"), values.integers([2, 3]))
    return graphs.finished(graph)


def _sequence() -> graph_pb2.Graph:
    graph = graphs.raw((5,))
    graph.inputs[0].data_type = graphs.INT64
    _apply(graph, "e", graph_pb2.MODULE_KIND_EMBEDDING, num_embeddings=6, embedding_dim=3)
    recurrent = {"input_size": 3, "hidden_size": 4, "batch_first": True}
    _apply(graph, "r", graph_pb2.MODULE_KIND_LSTM, **recurrent, bidirectional=True)
    graphs.call(graph, "r0", graph_pb2.FUNCTION_GETITEM, values.node("r"), values.literal(0))
    every = graph_pb2.Value(slice=graph_pb2.Slice())
    index = graph_pb2.Value(list=graph_pb2.ValueList(values=[every, values.literal(-1)]))
    graphs.call(graph, "last", graph_pb2.FUNCTION_GETITEM, values.node("r0"), index)
    _apply(graph, "o", graph_pb2.MODULE_KIND_LINEAR, in_features=8, out_features=6)
    graph.frozen.append("o.bias")
    return graphs.finished(graph)


def _attention() -> graph_pb2.Graph:
    graph = graphs.raw((4, 8))
    given = {"d_model": 8, "nhead": 2, "dim_feedforward": 8, "batch_first": True, "num_layers": 1}
    _apply(graph, "t", graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER, **given)
    graphs.call(graph, "b", graph_pb2.FUNCTION_SIZE, values.node("t"), values.literal(0))
    shape = graph_pb2.ValueList(values=[values.node("b"), values.literal(32)])
    flat = (values.node("t"), graph_pb2.Value(list=shape))
    graphs.call(graph, "v", graph_pb2.FUNCTION_RESHAPE, *flat)
    for name in ("one", "two"):
        _apply(graph, name, graph_pb2.MODULE_KIND_LINEAR, in_features=32, out_features=32)
    graph.ties.add(path="two.weight", source="one.weight")
    return graphs.finished(graph)


def with_changed_bytes(data: bytes, source: random.Random) -> bytes:
    """Some bytes flipped, taken out or doubled."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 3)):
        place = source.randrange(len(changed))
        match source.randrange(3):
            case 0:
                changed[place] = source.randrange(256)
            case 1:
                del changed[place : place + source.randint(1, 8)]
            case _:
                changed[place:place] = changed[place : place + source.randint(1, 8)]
        if not changed:
            break
    return bytes(changed)


def change_fields(graph: graph_pb2.Graph, source: random.Random) -> None:
    """Some fields, anywhere in the graph, get another value of their type, or go."""
    for _ in range(source.randint(1, 3)):
        places = list(_messages(graph))
        message = source.choice(places)
        _change(message, source)


def _messages(message: Message) -> list[Message]:
    """A message and all below it."""
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        entries = _entries(field, value)
        found += [each for entry in entries for each in _messages(entry)]
    return found


def _entries(field: Any, value: Any) -> list[Message]:  # noqa: ANN401 - a field of protobuf
    if field.message_type.GetOptions().map_entry:
        return [value[key] for key in sorted(value)]  # a map's own order is of no seed
    return list(value) if field.is_repeated else [value]


def _change(message: Message, source: random.Random) -> None:
    field = source.choice(message.DESCRIPTOR.fields)
    if source.random() < 0.2:
        message.ClearField(field.name)
        return
    if field.message_type is not None:
        if field.is_repeated and not field.message_type.GetOptions().map_entry:
            entries: Any = getattr(message, field.name)
            if len(entries):
                copies = [source.choice(list(entries)) for _ in range(2)]
                entries.extend(copies)
                del entries[source.randrange(len(entries))]
        return
    value = _value(field, source)
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _value(field: Any, source: random.Random) -> Any:  # noqa: ANN401 - a field of protobuf
    if field.enum_type is not None:
        return source.choice(field.enum_type.values).number
    kinds: dict[int, Callable[[], Any]] = {
        field.CPPTYPE_BOOL: lambda: source.random() < 0.5,
        field.CPPTYPE_DOUBLE: lambda: source.choice(_REALS),
        field.CPPTYPE_STRING: lambda: source.choice(_WORDS),
        field.CPPTYPE_INT64: lambda: source.choice(_NUMBERS),
        field.CPPTYPE_INT32: lambda: source.choice(_NUMBERS) % (1 << 31),
    }
    return kinds[field.cpp_type]()


def check(data: bytes) -> str:
    """What the bytes of a graph lead to: "refused", "large" or "ran"; raises for anything else."""
    try:
        graph = graph_pb2.Graph.FromString(data)
    except DecodeError:
        return "refused"
    try:
        bounds.check(graph, MAX_PARAMETERS)
        measured = meta.measure(graph)
        net = init(graph, 0)
    except InvalidField:
        return "refused"
    per_row = sum(_elements(spec) for spec in graph.inputs) + measured.row_elements
    if per_row > _MAX_ROW:
        return "large"
    inputs = [
        torch.zeros((2, *spec.shape[1:]), dtype=DATA_TYPES[spec.data_type]) for spec in graph.inputs
    ]
    with torch.no_grad():
        net(*inputs)
        answers = net.eval()(*inputs)
    if isinstance(answers, torch.Tensor):
        answers = (answers,)
    for spec, answer in zip(measured.outputs, answers, strict=True):
        shape = [2 if size == bounds.BATCH else size for size in spec.shape]
        assert (list(answer.shape), answer.dtype) == (shape, DATA_TYPES[spec.data_type])
    return "ran"


def _elements(spec: graph_pb2.TensorSpec) -> int:
    count = 1
    for size in spec.shape[1:]:
        count *= size
    return count

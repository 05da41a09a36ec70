"""Every permitted module survives the way through bytes: it computes what torch's class does."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from tests.twofold.nets import graphs
from twofold.errors import InvalidField
from twofold.nets import bounds, modules, tables, values
from twofold.nets.net import init, load
from twofold.nets.tables_base import Given
from twofold.v1 import graph_pb2

INT64 = graph_pb2.DATA_TYPE_INT64


@dataclass(frozen=True, slots=True)
class Case:
    """A module, its arguments, and what it is called with."""

    name: str
    given: Given = field(default_factory=dict[str, values.Literal])
    #: Shapes of the inputs behind the batch.
    shapes: Sequence[Sequence[int]] = ((3,),)
    #: Which entry of a tuple is the output.
    entry: int | None = None
    #: Integers below this instead of floats.
    below: int = 0

    @property
    def kind(self) -> graph_pb2.ModuleKind:
        """The kind of the name."""
        return next(kind for kind, of in modules.CLASSES.items() if of.__name__ == self.name)

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.name}({','.join(f'{name}={value}' for name, value in self.given.items())})"


TRANSFORMER: dict[str, values.Literal] = {"d_model": 8, "nhead": 2, "dim_feedforward": 6}
RANKS = (1, 2, 3)
IMAGES = {rank: ((4, 6, 6, 6)[: rank + 1],) for rank in RANKS}


def _simple() -> list[Case]:
    """Modules whose arguments all have defaults, on a table."""
    needed = [
        kind
        for kind in tables.MODULES
        if kind in tables.ACTIVATIONS.values() or kind == graph_pb2.MODULE_KIND_IDENTITY
    ]
    return [Case(modules.CLASSES[kind].__name__) for kind in needed if kind != _THRESHOLD]


_THRESHOLD = graph_pb2.MODULE_KIND_THRESHOLD

DENSE = [
    Case("Linear", {"in_features": 3, "out_features": 5, "bias": False}),
    Case("Linear", {"in_features": 3, "out_features": 1}),
    Case(
        "Bilinear",
        {"in1_features": 3, "in2_features": 2, "out_features": 4},
        ((3,), (2,)),
    ),
    Case("Dropout", {"p": 0.25}),
    Case("AlphaDropout", {"p": 0.25}),
    Case("FeatureAlphaDropout", {"p": 0.25}, ((4, 3, 3),)),
    *(Case(f"Dropout{rank}d", {"p": 0.5}, IMAGES[rank]) for rank in RANKS),
    Case("ELU", {"alpha": -2.5}),
    Case("CELU", {"alpha": 0.3}),
    Case("GELU", {"approximate": "tanh"}),
    Case("LeakyReLU", {"negative_slope": 0.5}),
    Case("PReLU", {"num_parameters": 3, "init": -0.75}),
    Case("RReLU", {"lower": 0.5, "upper": 0.75}),
    Case("RReLU", {"lower": 0.5, "upper": 0.5}),
    Case("Softplus", {"beta": 2.0, "threshold": 1.5}),
    Case("Softshrink", {"lambd": 0.1}),
    Case("Hardshrink", {"lambd": 0.9}),
    Case("Hardtanh", {"min_val": -0.25, "max_val": 0.75}),
    Case("Threshold", {"threshold": 0.1, "value": -20.0}),
    *(Case(name, {"dim": -1}) for name in ("Softmax", "LogSoftmax", "Softmin")),
    Case("Softmax2d", {}, ((3, 2, 2),)),
    Case("GLU", {"dim": 1}, ((4,),)),
    Case("CosineSimilarity", {"dim": 1, "eps": 0.5}, ((3,), (3,))),
    Case("PairwiseDistance", {"p": 1.0, "keepdim": True}, ((3,), (3,))),
    Case("Embedding", {"num_embeddings": 5, "embedding_dim": 2}, ((3,),), below=5),
    Case(
        "Embedding",
        {"num_embeddings": 5, "embedding_dim": 2, "padding_idx": -1, "scale_grad_by_freq": True},
        ((3,),),
        below=5,
    ),
    *(
        Case(
            "EmbeddingBag",
            {"num_embeddings": 5, "embedding_dim": 2, "mode": mode, "padding_idx": 1},
            ((3,),),
            below=5,
        )
        for mode in ("sum", "mean", "max")
    ),
]
NORMS = [
    *(
        Case(f"{name}{rank}d", {"num_features": 4, **given}, IMAGES[rank])
        for name in ("BatchNorm", "InstanceNorm")
        for rank in RANKS
        for given in (
            {},
            {"affine": True, "bias": False, "eps": 0.1},
            {"track_running_stats": True, "momentum": None},
            {"track_running_stats": False, "affine": False},
        )
    ),
    Case("LayerNorm", {"normalized_shape": 3}),
    Case("LayerNorm", {"normalized_shape": (2, 3), "bias": False, "eps": 0.1}, ((2, 3),)),
    Case("LayerNorm", {"normalized_shape": (3,), "elementwise_affine": False}),
    Case("RMSNorm", {"normalized_shape": (3,)}),
    Case("RMSNorm", {"normalized_shape": 3, "eps": 0.1, "elementwise_affine": False}),
    Case("GroupNorm", {"num_groups": 2, "num_channels": 4}, IMAGES[2]),
    Case("GroupNorm", {"num_groups": 2, "num_channels": 4, "bias": False}, IMAGES[1]),
    Case("GroupNorm", {"num_groups": 1, "num_channels": 4, "affine": False}, IMAGES[1]),
    Case("LocalResponseNorm", {"size": 3, "alpha": 0.5, "k": 2.0}, IMAGES[2]),
]
_CHANNELS: dict[str, values.Literal] = {"in_channels": 4, "out_channels": 6}
CONVOLUTIONS = [
    *(
        Case(f"Conv{rank}d", {**_CHANNELS, **given}, IMAGES[rank])
        for rank in RANKS
        for given in (
            {"kernel_size": 3},
            {"kernel_size": (3,) * rank, "stride": (2,) * rank, "padding": (1,) * rank},
            {"kernel_size": 3, "padding": "same", "dilation": 2, "bias": False},
            {"kernel_size": 1, "groups": 2, "padding": 1, "padding_mode": "circular"},
        )
    ),
    *(
        Case(f"ConvTranspose{rank}d", {**_CHANNELS, **given}, IMAGES[rank])
        for rank in RANKS
        for given in (
            {"kernel_size": 3, "stride": 2, "output_padding": 1, "padding": 1},
            {"kernel_size": (2,) * rank, "groups": 2, "bias": False, "dilation": 2},
        )
    ),
]
POOLING = [
    *(
        Case(f"{name}{rank}d", given, IMAGES[rank])
        for rank in RANKS
        for name, given in (
            ("MaxPool", {"kernel_size": 2}),
            ("MaxPool", {"kernel_size": (3,) * rank, "stride": 2, "padding": 1}),
            ("AvgPool", {"kernel_size": 2, "stride": 1, "ceil_mode": True}),
            ("AvgPool", {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
            ("LPPool", {"norm_type": 2.0, "kernel_size": 2}),
            ("AdaptiveAvgPool", {"output_size": 2}),
            ("AdaptiveAvgPool", {"output_size": (3,) * rank}),
            ("AdaptiveMaxPool", {"output_size": 2}),
        )
    ),
    Case("AvgPool2d", {"kernel_size": 2, "divisor_override": 3}, IMAGES[2]),
    Case("MaxPool2d", {"kernel_size": 2, "dilation": 2, "ceil_mode": True}, IMAGES[2]),
]
SHAPES = [
    *(
        Case(f"{name}Pad{rank}d", {"padding": padding, **given}, IMAGES[rank])
        for rank in RANKS
        for name, given in (
            ("Reflection", {}),
            ("Replication", {}),
            ("Zero", {}),
            ("Constant", {"value": 1.5}),
            ("Circular", {}),
        )
        for padding in (2, (1, 0) * rank)
    ),
    Case("ZeroPad1d", {"padding": (-1, 2)}, IMAGES[1]),
    Case("Flatten", {}, ((2, 3),)),
    Case("Flatten", {"start_dim": 2, "end_dim": 3}, ((2, 3, 4),)),
    Case("Unflatten", {"dim": 1, "unflattened_size": (2, -1)}, ((6,),)),
    Case("Upsample", {"scale_factor": 2.0}, IMAGES[2]),
    Case("Upsample", {"size": (7, 8), "mode": "bilinear", "align_corners": True}, IMAGES[2]),
    Case("Upsample", {"scale_factor": (1.5, 2.0), "mode": "bicubic"}, IMAGES[2]),
    Case("UpsamplingNearest2d", {"scale_factor": 2.0}, IMAGES[2]),
    Case("UpsamplingBilinear2d", {"size": 7}, IMAGES[2]),
    Case("PixelShuffle", {"upscale_factor": 2}, IMAGES[2]),
    Case("PixelUnshuffle", {"downscale_factor": 3}, IMAGES[2]),
    Case("ChannelShuffle", {"groups": 2}, IMAGES[2]),
    Case("Fold", {"output_size": (3, 3), "kernel_size": 2}, ((8, 4),)),
    Case("Unfold", {"kernel_size": (2, 2), "stride": 2, "padding": 1}, IMAGES[2]),
]
_SIZES: dict[str, values.Literal] = {"input_size": 3, "hidden_size": 4}
SEQUENCES = [
    *(
        Case(name, {**_SIZES, "batch_first": True, **given}, ((5, 3),), entry=0)
        for name in ("RNN", "LSTM", "GRU")
        for given in (
            {},
            {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
            {"bias": False, "dropout": 0.5},
        )
    ),
    Case("RNN", {**_SIZES, "batch_first": True, "nonlinearity": "relu"}, ((5, 3),), entry=0),
    Case(
        "LSTM",
        {**_SIZES, "batch_first": True, "proj_size": 2, "num_layers": 2, "bidirectional": True},
        ((5, 3),),
        entry=0,
    ),
    Case("RNNCell", {**_SIZES, "nonlinearity": "relu"}, ((3,), (4,))),
    Case("GRUCell", {**_SIZES, "bias": False}, ((3,), (4,))),
    Case("LSTMCell", _SIZES, ((3,),), entry=0),
]
_HEADS: dict[str, values.Literal] = {"embed_dim": 8, "num_heads": 2, "batch_first": True}
ATTENTION = [
    *(
        Case("MultiheadAttention", {**_HEADS, **given}, ((5, 8),) * 3, entry=0)
        for given in (
            {},
            {"bias": False, "dropout": 0.5},
            {"add_bias_kv": True, "add_zero_attn": True},
        )
    ),
    Case("MultiheadAttention", {**_HEADS, "kdim": 3, "vdim": 4}, ((5, 8), (6, 3), (6, 4)), entry=0),
    *(
        Case(name, {**TRANSFORMER, "batch_first": True, **given}, ((5, 8),))
        for name, extra in (
            ("TransformerEncoderLayer", {}),
            ("TransformerEncoder", {"num_layers": 2}),
            ("TransformerEncoder", {"num_layers": 2, "norm": True, "layer_norm_eps": 0.1}),
        )
        for given in (
            {**extra},
            {**extra, "bias": False, "norm_first": True, "activation": "gelu", "dropout": 0.5},
            {**extra, "nhead": 1},
        )
    ),
    *(
        Case(name, {**TRANSFORMER, "batch_first": True, **given}, ((5, 8), (6, 8)))
        for name, given in (
            ("TransformerDecoderLayer", {}),
            ("TransformerDecoderLayer", {"bias": False, "norm_first": True}),
            ("TransformerDecoder", {"num_layers": 2, "norm": True}),
            ("TransformerDecoder", {"num_layers": 1, "dropout": 0.0}),
            ("Transformer", {"num_encoder_layers": 2, "num_decoder_layers": 1}),
            ("Transformer", {"num_encoder_layers": 1, "num_decoder_layers": 2, "bias": False}),
        )
    ),
]
CASES = [
    *_simple(),
    *DENSE,
    *NORMS,
    *CONVOLUTIONS,
    *POOLING,
    *SHAPES,
    *SEQUENCES,
    *ATTENTION,
]


def test_every_permitted_module_is_tried() -> None:
    assert {case.kind for case in CASES} == set(tables.MODULES)


def _graph(case: Case) -> graph_pb2.Graph:
    graph = graphs.raw(*case.shapes)
    if case.below:
        graph.inputs[0].data_type = INT64
    arguments = tables.arguments(case.kind, **case.given)
    graph.modules.add(path="a.m", kind=case.kind, arguments=arguments)
    operands = [values.node(spec.name) for spec in graph.inputs]
    graph.nodes.add(name="m", module="a.m", arguments=operands)
    if case.entry is not None:
        index = values.literal(case.entry)
        graphs.call(graph, "e", graph_pb2.FUNCTION_GETITEM, values.node("m"), index)
    return graphs.finished(graph)


def _torch_module(case: Case) -> nn.Module:
    """What a user would write."""
    given = dict(case.given)
    if case.name in ("RNN", "LSTM", "GRU") and given.get("num_layers", 1) == 1:
        given.pop("dropout", None)  # torch warns that it does nothing
    if case.name == "Transformer":
        return modules.make_all(_graph(case))["a.m"]
    if case.name in ("TransformerEncoder", "TransformerDecoder"):
        count, has_norm = given.pop("num_layers"), given.pop("norm", False)
        layer = getattr(nn, f"{case.name}Layer")(**given)
        norm = nn.LayerNorm(8, eps=layer.norm1.eps) if has_norm else None
        return getattr(nn, case.name)(layer, count, norm, **_nested(case, given))
    return modules.CLASSES[case.kind](**given)


def _nested(case: Case, given: dict[str, values.Literal]) -> dict[str, bool]:
    """Torch warns where nested tensors were asked for, as by default, and cannot be."""
    can = not given.get("norm_first") and given["nhead"] != 1
    return {"enable_nested_tensor": can} if case.name == "TransformerEncoder" else {}


def _inputs(case: Case) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    if case.below:
        return [torch.randint(case.below, (4, *case.shapes[0]), generator=generator)]
    return [torch.randn((4, *shape), generator=generator) * 3 for shape in case.shapes]


def _answer(case: Case, module: nn.Module) -> Tensor:
    torch.manual_seed(9)
    found = module(*_inputs(case))
    return found if case.entry is None else found[case.entry]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_module_survives_the_round_trip(case: Case) -> None:
    """Graph to bytes to net gives what torch's class gives with the same state, in both modes."""
    graph = _graph(case)
    torch.manual_seed(5)
    expected = _torch_module(case)
    state = {f"a.m.{name}": tensor for name, tensor in expected.state_dict().items()}

    net = load(graph, state)

    for mode in (True, False):
        wanted = _answer(case, expected.train(mode))
        found = net.train(mode)
        torch.manual_seed(9)
        computed = found(*_inputs(case))
        torch.testing.assert_close(computed, wanted, rtol=0, atol=0, equal_nan=True)
        assert list(computed.shape) == [4, *graph.outputs[0].shape[1:]]
    kept = net.state_dict()
    for name, tensor in expected.state_dict().items():  # such as running means, after training
        torch.testing.assert_close(kept[f"a.m.{name}"], tensor, rtol=0, atol=0)
    found = {
        name: (each.shape, each.is_trainable) for name, each in bounds.state_shapes(graph).items()
    }
    trainable = {f"a.m.{name}" for name, _ in expected.named_parameters()}
    assert found == {name: (tuple(each.shape), name in trainable) for name, each in kept.items()}


def test_init_draws_what_torch_draws_for_every_module_with_parameters() -> None:
    for case in (DENSE[0], CONVOLUTIONS[0], SEQUENCES[0], ATTENTION[0]):
        torch.manual_seed(11)
        expected = _torch_module(case).state_dict()

        drawn = init(_graph(case), 11).state_dict()

        assert all(torch.equal(drawn[f"a.m.{name}"], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("RReLU", {"lower": 0.5, "upper": 0.25}, "not below"),
        ("Hardtanh", {"min_val": 1.0, "max_val": 1.0}, "not below"),
        ("Conv1d", {**_CHANNELS, "kernel_size": 1, "groups": 3}, "no multiple of groups"),
        ("Conv1d", {**_CHANNELS, "kernel_size": 1, "stride": 2, "padding": "same"}, "stride"),
        ("GroupNorm", {"num_groups": 3, "num_channels": 4}, "no multiple of num_groups"),
        ("MultiheadAttention", {"embed_dim": 8, "num_heads": 3}, "no multiple of num_heads"),
        ("Embedding", {"num_embeddings": 5, "embedding_dim": 2, "padding_idx": 5}, "padding_idx"),
        ("LSTM", {**_SIZES, "proj_size": 4}, "proj_size"),
        ("Upsample", {}, "exactly one"),
        ("Upsample", {"size": 3, "scale_factor": 2.0}, "exactly one"),
        ("Softmax", {}, "integer in"),
        ("Linear", {"in_features": 1 << 31, "out_features": 1}, "integer in"),
        ("Conv2d", {**_CHANNELS, "kernel_size": (3, 1 << 31)}, "list of 2 integers"),
        ("Conv2d", {**_CHANNELS, "kernel_size": (3,)}, "list of 2 integers"),
        ("ReLU", {"inplace": True}, "false"),
        ("Embedding", {"num_embeddings": 5, "embedding_dim": 2, "sparse": True}, "false"),
        ("MaxPool1d", {"kernel_size": 2, "return_indices": True}, "false"),
    ],
)
def test_arguments_that_torch_would_refuse_or_bend_are_refused(
    name: str, given: dict[str, values.Literal], message: str
) -> None:
    case = Case(name, given)
    graph = graphs.raw((3,))
    graph.outputs.add(name="output", data_type=graphs.FP32, shape=[-1, 3])
    arguments = tables.arguments(case.kind, **given)
    graph.modules.add(path="m", kind=case.kind, arguments=arguments)

    with pytest.raises(InvalidField, match=message) as caught:
        bounds.check(graph)

    assert caught.value.fields["field"].startswith("graph.modules[0].arguments")

"""Permitted modules that hold parameters or buffers. No torch.

Each row has the constructor's arguments but for `device` and `dtype`: a graph does not say where it
runs, and its modules are float32. A test compares the rows with torch's signatures.
"""

from collections.abc import Mapping

from twofold.nets import tables_states as states
from twofold.nets.tables_arguments import (
    INPUT,
    LAYERS,
    WIDTH,
    Arguments,
    boolean,
    choice,
    conv_problem,
    divides,
    number,
    only,
    optional_number,
    optional_real,
    padding_index_problem,
    probability,
    projection_problem,
    real,
    row,
    sides,
)
from twofold.nets.tables_base import MAX_DIMENSION, Argument, ModuleTable, Parameter
from twofold.v1 import graph_pb2

_BIAS: Arguments = {"bias": boolean(default=True)}
_EPS: Arguments = {"eps": real(1e-5, 0.0)}
_FLAG = ("boolean",)
_MAYBE = ("node", "none")


def _maybe(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, _MAYBE, None) for name in names)


def _conv(dimensions: int) -> ModuleTable:
    arguments = {
        "in_channels": WIDTH,
        "out_channels": WIDTH,
        "kernel_size": sides(dimensions),
        "stride": sides(dimensions, 1),
        "padding": Argument(
            ("integer", "integers", "choice"),
            0,
            0,
            MAX_DIMENSION,
            choices=("same", "valid"),
            lengths=(dimensions,),
        ),
        "dilation": sides(dimensions, 1),
        "groups": number(1),
        **_BIAS,
        "padding_mode": choice("zeros", "reflect", "replicate", "circular"),
    }
    return row(arguments, states.conv(dimensions), problem=conv_problem)


def _conv_transpose(dimensions: int) -> ModuleTable:
    arguments = {
        "in_channels": WIDTH,
        "out_channels": WIDTH,
        "kernel_size": sides(dimensions),
        "stride": sides(dimensions, 1),
        "padding": sides(dimensions, 0, 0),
        "output_padding": sides(dimensions, 0, 0),
        "groups": number(1),
        **_BIAS,
        "dilation": sides(dimensions, 1),
        "padding_mode": choice("zeros"),
    }
    forward = (*INPUT, Parameter("output_size", ("integers", "none"), None))
    formula = states.conv(dimensions, is_transposed=True)
    return row(arguments, formula, forward, divides("groups", "in_channels", "out_channels"))


def _batch_norm(*, default: bool) -> ModuleTable:
    arguments = {
        "num_features": WIDTH,
        **_EPS,
        "momentum": optional_real(0.1),
        "affine": boolean(default=default),
        "track_running_stats": boolean(default=default),
        **_BIAS,
    }
    return row(arguments, states.batch_norm)


def _recurrent(gates: int, extra: Arguments) -> ModuleTable:
    is_lstm = "proj_size" in extra
    arguments = {
        "input_size": WIDTH,
        "hidden_size": WIDTH,
        "num_layers": Argument(("integer",), 1, LAYERS.low, LAYERS.high),
        **({} if is_lstm else extra),
        **_BIAS,
        "batch_first": boolean(default=False),
        "dropout": probability(0.0),
        "bidirectional": boolean(default=False),
        **(extra if is_lstm else {}),
    }
    problem = projection_problem if is_lstm else None
    return row(arguments, states.recurrent(gates), _hidden(is_pair=is_lstm), problem)


def _cell(gates: int, extra: Arguments) -> ModuleTable:
    arguments = {"input_size": WIDTH, "hidden_size": WIDTH, **_BIAS, **extra}
    return row(arguments, states.cell(gates), _hidden(is_pair=gates == _LSTM))


def _hidden(*, is_pair: bool) -> tuple[Parameter, ...]:
    """The states of an LSTM are a pair."""
    kinds = ("node", "nodes", "none") if is_pair else _MAYBE
    return (*INPUT, Parameter("hx", kinds, None))


_LSTM = 4
_NONLINEARITY: Arguments = {"nonlinearity": choice("tanh", "relu")}
_NORM_TYPE: Arguments = {"norm_type": real(2.0)}
#: A table that shrinks rows in forward() would write over its own parameter; sparse gradients are
#: not for every optimizer.
_MAX_NORM: Arguments = {"max_norm": only(None), **_NORM_TYPE}
_TABLE: Arguments = {"num_embeddings": WIDTH, "embedding_dim": WIDTH}
_PADDING_INDEX: Arguments = {"padding_idx": optional_number(-MAX_DIMENSION)}
_SCALE_GRADIENT: Arguments = {"scale_grad_by_freq": boolean(default=False)}
_SPARSE: Arguments = {"sparse": only(value=False)}

_TRANSFORMER: Arguments = {
    "dim_feedforward": number(2048),
    "dropout": probability(0.1),
    "activation": choice("relu", "gelu"),
    "layer_norm_eps": real(1e-5, 0.0),
    "batch_first": boolean(default=False),
    "norm_first": boolean(default=False),
    **_BIAS,
}
_LAYER: Arguments = {"d_model": WIDTH, "nhead": WIDTH, **_TRANSFORMER}
#: The layers' arguments stand in the stack: its layers are alike.
_STACK: Arguments = {**_LAYER, "num_layers": LAYERS, "norm": boolean(default=False)}
_HEADS = divides("nhead", "d_model")
_SOURCE = (Parameter("src"), *_maybe("src_mask", "src_key_padding_mask"))
_STACK_SOURCE = (Parameter("src"), *_maybe("mask", "src_key_padding_mask"))
_TARGET = (
    Parameter("tgt"),
    Parameter("memory"),
    *_maybe("tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask"),
)
_FLAG_OR_NONE = ("boolean", "none")
_MEMORY_CAUSAL = Parameter("memory_is_causal", _FLAG, default=False)

_ATTENTION = row(
    {
        "embed_dim": WIDTH,
        "num_heads": WIDTH,
        "dropout": probability(0.0),
        **_BIAS,
        "add_bias_kv": boolean(default=False),
        "add_zero_attn": boolean(default=False),
        "kdim": optional_number(),
        "vdim": optional_number(),
        "batch_first": boolean(default=False),
    },
    states.attention,
    (
        Parameter("query"),
        Parameter("key"),
        Parameter("value"),
        *_maybe("key_padding_mask"),
        Parameter("need_weights", _FLAG, default=True),
        *_maybe("attn_mask"),
        Parameter("average_attn_weights", _FLAG, default=True),
        Parameter("is_causal", _FLAG, default=False),
    ),
    divides("num_heads", "embed_dim"),
)

_TRANSFORMERS: Mapping[graph_pb2.ModuleKind, ModuleTable] = {
    graph_pb2.MODULE_KIND_MULTIHEAD_ATTENTION: _ATTENTION,
    graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER_LAYER: row(
        _LAYER,
        states.encoder_layer,
        (*_SOURCE, Parameter("is_causal", _FLAG, default=False)),
        _HEADS,
    ),
    graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER: row(
        {
            **_STACK,
            "enable_nested_tensor": boolean(default=True),
            "mask_check": boolean(default=True),
        },
        states.stack(states.encoder_layer),
        (*_STACK_SOURCE, Parameter("is_causal", _FLAG_OR_NONE, None)),
        _HEADS,
    ),
    graph_pb2.MODULE_KIND_TRANSFORMER_DECODER_LAYER: row(
        _LAYER,
        states.decoder_layer,
        (*_TARGET, Parameter("tgt_is_causal", _FLAG, default=False), _MEMORY_CAUSAL),
        _HEADS,
    ),
    graph_pb2.MODULE_KIND_TRANSFORMER_DECODER: row(
        _STACK,
        states.stack(states.decoder_layer),
        (*_TARGET, Parameter("tgt_is_causal", _FLAG_OR_NONE, None), _MEMORY_CAUSAL),
        _HEADS,
    ),
    graph_pb2.MODULE_KIND_TRANSFORMER: row(
        {
            "d_model": number(512),
            "nhead": number(8),
            "num_encoder_layers": Argument(("integer",), 6, LAYERS.low, LAYERS.high),
            "num_decoder_layers": Argument(("integer",), 6, LAYERS.low, LAYERS.high),
            **_TRANSFORMER,
        },
        states.transformer,
        (
            Parameter("src"),
            Parameter("tgt"),
            *_maybe("src_mask", "tgt_mask", "memory_mask"),
            *_maybe("src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask"),
            Parameter("src_is_causal", _FLAG_OR_NONE, None),
            Parameter("tgt_is_causal", _FLAG_OR_NONE, None),
            _MEMORY_CAUSAL,
        ),
        _HEADS,
    ),
}

_SHAPE = Argument(("integer", "integers"), low=1, high=MAX_DIMENSION)

LAYER_MODULES: Mapping[graph_pb2.ModuleKind, ModuleTable] = {
    graph_pb2.MODULE_KIND_LINEAR: row(
        {"in_features": WIDTH, "out_features": WIDTH, **_BIAS}, states.linear
    ),
    graph_pb2.MODULE_KIND_BILINEAR: row(
        {"in1_features": WIDTH, "in2_features": WIDTH, "out_features": WIDTH, **_BIAS},
        states.bilinear,
        (Parameter("input1"), Parameter("input2")),
    ),
    graph_pb2.MODULE_KIND_PRELU: row(
        {"num_parameters": number(1), "init": real(0.25)}, states.prelu
    ),
    graph_pb2.MODULE_KIND_CONV1D: _conv(1),
    graph_pb2.MODULE_KIND_CONV2D: _conv(2),
    graph_pb2.MODULE_KIND_CONV3D: _conv(3),
    graph_pb2.MODULE_KIND_CONV_TRANSPOSE1D: _conv_transpose(1),
    graph_pb2.MODULE_KIND_CONV_TRANSPOSE2D: _conv_transpose(2),
    graph_pb2.MODULE_KIND_CONV_TRANSPOSE3D: _conv_transpose(3),
    graph_pb2.MODULE_KIND_BATCH_NORM1D: _batch_norm(default=True),
    graph_pb2.MODULE_KIND_BATCH_NORM2D: _batch_norm(default=True),
    graph_pb2.MODULE_KIND_BATCH_NORM3D: _batch_norm(default=True),
    graph_pb2.MODULE_KIND_INSTANCE_NORM1D: _batch_norm(default=False),
    graph_pb2.MODULE_KIND_INSTANCE_NORM2D: _batch_norm(default=False),
    graph_pb2.MODULE_KIND_INSTANCE_NORM3D: _batch_norm(default=False),
    graph_pb2.MODULE_KIND_LAYER_NORM: row(
        {
            "normalized_shape": _SHAPE,
            **_EPS,
            "elementwise_affine": boolean(default=True),
            **_BIAS,
        },
        states.layer_norm,
    ),
    graph_pb2.MODULE_KIND_RMS_NORM: row(
        {
            "normalized_shape": _SHAPE,
            "eps": optional_real(None, 0.0),
            "elementwise_affine": boolean(default=True),
        },
        states.layer_norm,
        (Parameter("x"),),
    ),
    graph_pb2.MODULE_KIND_GROUP_NORM: row(
        {
            "num_groups": WIDTH,
            "num_channels": WIDTH,
            **_EPS,
            "affine": boolean(default=True),
            **_BIAS,
        },
        states.group_norm,
        problem=divides("num_groups", "num_channels"),
    ),
    graph_pb2.MODULE_KIND_EMBEDDING: row(
        {**_TABLE, **_PADDING_INDEX, **_MAX_NORM, **_SCALE_GRADIENT, **_SPARSE},
        states.embedding,
        problem=padding_index_problem,
    ),
    graph_pb2.MODULE_KIND_EMBEDDING_BAG: row(
        {
            **_TABLE,
            **_MAX_NORM,
            **_SCALE_GRADIENT,
            "mode": choice("mean", "sum", "max"),
            **_SPARSE,
            "include_last_offset": boolean(default=False),
            **_PADDING_INDEX,
        },
        states.embedding,
        (*INPUT, *_maybe("offsets", "per_sample_weights")),
        padding_index_problem,
    ),
    graph_pb2.MODULE_KIND_RNN: _recurrent(1, _NONLINEARITY),
    graph_pb2.MODULE_KIND_LSTM: _recurrent(_LSTM, {"proj_size": number(0, 0)}),
    graph_pb2.MODULE_KIND_GRU: _recurrent(3, {}),
    graph_pb2.MODULE_KIND_RNN_CELL: _cell(1, _NONLINEARITY),
    graph_pb2.MODULE_KIND_LSTM_CELL: _cell(_LSTM, {}),
    graph_pb2.MODULE_KIND_GRU_CELL: _cell(3, {}),
    **_TRANSFORMERS,
}

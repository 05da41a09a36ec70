"""Permitted modules without state: activations, pooling, padding, reshaping. No torch."""

from collections.abc import Mapping

from twofold.nets.tables_arguments import (
    INPLACE,
    WIDTH,
    Arguments,
    boolean,
    choice,
    number,
    one_scale_problem,
    only,
    optional_number,
    optional_sides,
    ordered,
    probability,
    real,
    row,
    sides,
)
from twofold.nets.tables_base import (
    MAX_DIMENSION,
    MAX_RANK,
    MAX_REAL,
    Argument,
    ModuleTable,
    Parameter,
)
from twofold.v1 import graph_pb2

_Rows = Mapping[graph_pb2.ModuleKind, ModuleTable]

_INPLACE_ONLY = row(INPLACE)
_DROPOUT = row({"p": probability(0.5), **INPLACE})
#: torch guesses a missing dimension and warns; a graph names it.
_AXIS = Argument(("integer",), None, -MAX_RANK, MAX_RANK - 1)
_AXIS_ONLY = row({"dim": _AXIS})
_CEIL: Arguments = {"ceil_mode": boolean(default=False)}

ACTIVATION_MODULES: _Rows = {
    graph_pb2.MODULE_KIND_IDENTITY: row(),
    graph_pb2.MODULE_KIND_STEP: row(forward=(Parameter("z"),)),
    graph_pb2.MODULE_KIND_SIGMOID: row(),
    graph_pb2.MODULE_KIND_TANH: row(),
    graph_pb2.MODULE_KIND_RELU: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_ELU: row({"alpha": real(1.0), **INPLACE}),
    graph_pb2.MODULE_KIND_SELU: _INPLACE_ONLY,
    # CELU divides by alpha.
    graph_pb2.MODULE_KIND_CELU: row({"alpha": real(1.0, 0.0, is_open=True), **INPLACE}),
    graph_pb2.MODULE_KIND_GELU: row({"approximate": choice("none", "tanh")}),
    graph_pb2.MODULE_KIND_SILU: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_MISH: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_LEAKY_RELU: row({"negative_slope": real(0.01), **INPLACE}),
    graph_pb2.MODULE_KIND_RRELU: row(
        {"lower": real(1.0 / 8), "upper": real(1.0 / 3), **INPLACE},
        problem=ordered("lower", "upper", may_be_equal=True),
    ),
    graph_pb2.MODULE_KIND_RELU6: _INPLACE_ONLY,
    # Softplus divides by beta.
    graph_pb2.MODULE_KIND_SOFTPLUS: row(
        {"beta": real(1.0, 0.0, is_open=True), "threshold": real(20.0)}
    ),
    graph_pb2.MODULE_KIND_SOFTSIGN: row(),
    graph_pb2.MODULE_KIND_SOFTSHRINK: row({"lambd": real(0.5, 0.0)}),
    graph_pb2.MODULE_KIND_HARDSHRINK: row({"lambd": real(0.5, 0.0)}),
    graph_pb2.MODULE_KIND_HARDSIGMOID: _INPLACE_ONLY,
    graph_pb2.MODULE_KIND_HARDSWISH: _INPLACE_ONLY,
    # Without min_value and max_value, torch's deprecated second names of the same two.
    graph_pb2.MODULE_KIND_HARDTANH: row(
        {"min_val": real(-1.0), "max_val": real(1.0), **INPLACE},
        problem=ordered("min_val", "max_val", may_be_equal=False),
    ),
    graph_pb2.MODULE_KIND_LOG_SIGMOID: row(),
    graph_pb2.MODULE_KIND_TANHSHRINK: row(),
    graph_pb2.MODULE_KIND_THRESHOLD: row({"threshold": real(), "value": real(), **INPLACE}),
    graph_pb2.MODULE_KIND_SOFTMAX: _AXIS_ONLY,
    graph_pb2.MODULE_KIND_LOG_SOFTMAX: _AXIS_ONLY,
    graph_pb2.MODULE_KIND_SOFTMIN: _AXIS_ONLY,
    graph_pb2.MODULE_KIND_SOFTMAX2D: row(),
    graph_pb2.MODULE_KIND_GLU: row({"dim": number(-1, -MAX_RANK, MAX_RANK - 1)}),
    graph_pb2.MODULE_KIND_DROPOUT: _DROPOUT,
    graph_pb2.MODULE_KIND_DROPOUT1D: _DROPOUT,
    graph_pb2.MODULE_KIND_DROPOUT2D: _DROPOUT,
    graph_pb2.MODULE_KIND_DROPOUT3D: _DROPOUT,
    graph_pb2.MODULE_KIND_ALPHA_DROPOUT: _DROPOUT,
    graph_pb2.MODULE_KIND_FEATURE_ALPHA_DROPOUT: _DROPOUT,
    graph_pb2.MODULE_KIND_LOCAL_RESPONSE_NORM: row(
        {"size": WIDTH, "alpha": real(1e-4), "beta": real(0.75), "k": real(1.0)}
    ),
    graph_pb2.MODULE_KIND_COSINE_SIMILARITY: row(
        {"dim": number(1, -MAX_RANK, MAX_RANK - 1), "eps": real(1e-8, 0.0)},
        forward=(Parameter("x1"), Parameter("x2")),
    ),
    graph_pb2.MODULE_KIND_PAIRWISE_DISTANCE: row(
        {"p": real(2.0), "eps": real(1e-6, 0.0), "keepdim": boolean(default=False)},
        forward=(Parameter("x1"), Parameter("x2")),
    ),
}


def _max_pool(dimensions: int) -> ModuleTable:
    return row(
        {
            "kernel_size": sides(dimensions),
            "stride": optional_sides(dimensions),
            "padding": sides(dimensions, 0, 0),
            "dilation": sides(dimensions, 1),
            # Indices are for MaxUnpool alone, which is refused.
            "return_indices": only(value=False),
            **_CEIL,
        }
    )


def _avg_pool(dimensions: int) -> ModuleTable:
    divisor = {} if dimensions == 1 else {"divisor_override": optional_number()}
    return row(
        {
            "kernel_size": sides(dimensions),
            "stride": optional_sides(dimensions),
            "padding": sides(dimensions, 0, 0),
            **_CEIL,
            "count_include_pad": boolean(default=True),
            **divisor,
        }
    )


def _lp_pool(dimensions: int) -> ModuleTable:
    return row(
        {
            "norm_type": real(low=0.0, is_open=True),
            "kernel_size": sides(dimensions),
            "stride": optional_sides(dimensions),
            **_CEIL,
        }
    )


def _adaptive_max(dimensions: int) -> ModuleTable:
    return row({"output_size": sides(dimensions), "return_indices": only(value=False)})


def _pad(dimensions: int, low: int = 0, extra: Arguments | None = None) -> ModuleTable:
    """Sides in pairs; negative ones cut where torch cuts."""
    padding = sides(2 * dimensions, low=low)
    return row({"padding": padding, **(extra or {})})


POOLING_MODULES: _Rows = {
    graph_pb2.MODULE_KIND_MAX_POOL1D: _max_pool(1),
    graph_pb2.MODULE_KIND_MAX_POOL2D: _max_pool(2),
    graph_pb2.MODULE_KIND_MAX_POOL3D: _max_pool(3),
    graph_pb2.MODULE_KIND_AVG_POOL1D: _avg_pool(1),
    graph_pb2.MODULE_KIND_AVG_POOL2D: _avg_pool(2),
    graph_pb2.MODULE_KIND_AVG_POOL3D: _avg_pool(3),
    graph_pb2.MODULE_KIND_LP_POOL1D: _lp_pool(1),
    graph_pb2.MODULE_KIND_LP_POOL2D: _lp_pool(2),
    graph_pb2.MODULE_KIND_LP_POOL3D: _lp_pool(3),
    graph_pb2.MODULE_KIND_ADAPTIVE_AVG_POOL1D: row({"output_size": sides(1)}),
    graph_pb2.MODULE_KIND_ADAPTIVE_AVG_POOL2D: row({"output_size": sides(2)}),
    graph_pb2.MODULE_KIND_ADAPTIVE_AVG_POOL3D: row({"output_size": sides(3)}),
    graph_pb2.MODULE_KIND_ADAPTIVE_MAX_POOL1D: _adaptive_max(1),
    graph_pb2.MODULE_KIND_ADAPTIVE_MAX_POOL2D: _adaptive_max(2),
    graph_pb2.MODULE_KIND_ADAPTIVE_MAX_POOL3D: _adaptive_max(3),
}

_CUT = -MAX_DIMENSION
_VALUE: Arguments = {"value": real()}
PADDING_MODULES: _Rows = {
    graph_pb2.MODULE_KIND_REFLECTION_PAD1D: _pad(1),
    graph_pb2.MODULE_KIND_REFLECTION_PAD2D: _pad(2),
    graph_pb2.MODULE_KIND_REFLECTION_PAD3D: _pad(3),
    graph_pb2.MODULE_KIND_REPLICATION_PAD1D: _pad(1),
    graph_pb2.MODULE_KIND_REPLICATION_PAD2D: _pad(2),
    graph_pb2.MODULE_KIND_REPLICATION_PAD3D: _pad(3),
    graph_pb2.MODULE_KIND_ZERO_PAD1D: _pad(1, _CUT),
    graph_pb2.MODULE_KIND_ZERO_PAD2D: _pad(2, _CUT),
    graph_pb2.MODULE_KIND_ZERO_PAD3D: _pad(3, _CUT),
    graph_pb2.MODULE_KIND_CONSTANT_PAD1D: _pad(1, _CUT, _VALUE),
    graph_pb2.MODULE_KIND_CONSTANT_PAD2D: _pad(2, _CUT, _VALUE),
    graph_pb2.MODULE_KIND_CONSTANT_PAD3D: _pad(3, _CUT, _VALUE),
    graph_pb2.MODULE_KIND_CIRCULAR_PAD1D: _pad(1),
    graph_pb2.MODULE_KIND_CIRCULAR_PAD2D: _pad(2),
    graph_pb2.MODULE_KIND_CIRCULAR_PAD3D: _pad(3),
}

_SIZE = Argument(("integer", "integers", "none"), None, 1, MAX_DIMENSION, lengths=(1, 2, 3))
_SCALE = Argument(("real", "reals", "none"), None, 0.0, MAX_REAL, is_open=True, lengths=(1, 2, 3))
_MAYBE_FLAG = Argument(("boolean", "none"), None)
_SIZES = {"size": _SIZE, "scale_factor": _SCALE}
_UPSAMPLING = row(_SIZES, problem=one_scale_problem)
_WINDOW = {
    "kernel_size": sides(2),
    "dilation": sides(2, 1),
    "padding": sides(2, 0, 0),
    "stride": sides(2, 1),
}
RESHAPING_MODULES: _Rows = {
    graph_pb2.MODULE_KIND_FLATTEN: row(
        {
            "start_dim": number(1, -MAX_RANK, MAX_RANK - 1),
            "end_dim": number(-1, -MAX_RANK, MAX_RANK - 1),
        }
    ),
    graph_pb2.MODULE_KIND_UNFLATTEN: row(
        {
            "dim": number(low=-MAX_RANK, high=MAX_RANK - 1),
            "unflattened_size": Argument(("integers",), low=-1, high=MAX_DIMENSION),
        }
    ),
    graph_pb2.MODULE_KIND_UPSAMPLE: row(
        {
            **_SIZES,
            "mode": choice(
                "nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact"
            ),
            "align_corners": _MAYBE_FLAG,
            "recompute_scale_factor": _MAYBE_FLAG,
        },
        problem=one_scale_problem,
    ),
    graph_pb2.MODULE_KIND_UPSAMPLING_NEAREST2D: _UPSAMPLING,
    graph_pb2.MODULE_KIND_UPSAMPLING_BILINEAR2D: _UPSAMPLING,
    graph_pb2.MODULE_KIND_PIXEL_SHUFFLE: row({"upscale_factor": WIDTH}),
    graph_pb2.MODULE_KIND_PIXEL_UNSHUFFLE: row({"downscale_factor": WIDTH}),
    graph_pb2.MODULE_KIND_CHANNEL_SHUFFLE: row({"groups": WIDTH}),
    graph_pb2.MODULE_KIND_FOLD: row({"output_size": sides(2), **_WINDOW}),
    graph_pb2.MODULE_KIND_UNFOLD: row(_WINDOW),
}

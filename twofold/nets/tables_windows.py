"""Permitted functions over images and sequences: convolution, pooling, resizing. No torch."""

from collections.abc import Mapping

from twofold.nets.tables_base import Parameter
from twofold.v1 import graph_pb2

_Row = tuple[Parameter, ...]
_X = Parameter("x")
_SIDES = ("integer", "integers")
_KERNEL = Parameter("kernel_size", _SIDES)
_OUTPUT = Parameter("output_size", _SIDES)
_STRIDE = Parameter("stride", _SIDES, 1)
_STRIDE_OF_KERNEL = Parameter("stride", (*_SIDES, "none"), None)
_PADDING = Parameter("padding", _SIDES, 0)
_DILATION = Parameter("dilation", _SIDES, 1)
_GROUPS = Parameter("groups", ("integer",), 1)
_CEIL = Parameter("ceil_mode", ("boolean",), default=False)
_COUNT = Parameter("count_include_pad", ("boolean",), default=True)
_MAYBE_FLAG = ("boolean", "none")
_BIAS = Parameter("bias", ("node", "none"), None)

_CONV: _Row = (
    _X,
    Parameter("weight"),
    _BIAS,
    _STRIDE,
    Parameter("padding", ("integer", "integers", "choice"), 0, ("same", "valid")),
    _DILATION,
    _GROUPS,
)
_CONV_TRANSPOSE: _Row = (
    _X,
    Parameter("weight"),
    _BIAS,
    _STRIDE,
    _PADDING,
    Parameter("output_padding", _SIDES, 0),
    _GROUPS,
    _DILATION,
)
_MAX_POOL: _Row = (_X, _KERNEL, _STRIDE_OF_KERNEL, _PADDING, _DILATION, _CEIL)
_AVG_POOL1D: _Row = (_X, _KERNEL, _STRIDE_OF_KERNEL, _PADDING, _CEIL, _COUNT)
_AVG_POOL: _Row = (*_AVG_POOL1D, Parameter("divisor_override", ("integer", "none"), None))
_LP_POOL: _Row = (
    _X,
    Parameter("norm_type", ("real", "integer")),
    _KERNEL,
    _STRIDE_OF_KERNEL,
    _CEIL,
)
_ADAPTIVE: _Row = (_X, _OUTPUT)
_WINDOW: _Row = (_KERNEL, _DILATION, _PADDING, _STRIDE)

#: Functions by what torch calls them.
WINDOW_FUNCTIONS: Mapping[graph_pb2.Function, _Row] = {
    graph_pb2.FUNCTION_CONV1D: _CONV,
    graph_pb2.FUNCTION_CONV2D: _CONV,
    graph_pb2.FUNCTION_CONV3D: _CONV,
    graph_pb2.FUNCTION_CONV_TRANSPOSE1D: _CONV_TRANSPOSE,
    graph_pb2.FUNCTION_CONV_TRANSPOSE2D: _CONV_TRANSPOSE,
    graph_pb2.FUNCTION_CONV_TRANSPOSE3D: _CONV_TRANSPOSE,
    graph_pb2.FUNCTION_MAX_POOL1D: _MAX_POOL,
    graph_pb2.FUNCTION_MAX_POOL2D: _MAX_POOL,
    graph_pb2.FUNCTION_MAX_POOL3D: _MAX_POOL,
    graph_pb2.FUNCTION_AVG_POOL1D: _AVG_POOL1D,
    graph_pb2.FUNCTION_AVG_POOL2D: _AVG_POOL,
    graph_pb2.FUNCTION_AVG_POOL3D: _AVG_POOL,
    graph_pb2.FUNCTION_LP_POOL1D: _LP_POOL,
    graph_pb2.FUNCTION_LP_POOL2D: _LP_POOL,
    graph_pb2.FUNCTION_LP_POOL3D: _LP_POOL,
    graph_pb2.FUNCTION_ADAPTIVE_AVG_POOL1D: _ADAPTIVE,
    graph_pb2.FUNCTION_ADAPTIVE_AVG_POOL2D: _ADAPTIVE,
    graph_pb2.FUNCTION_ADAPTIVE_AVG_POOL3D: _ADAPTIVE,
    graph_pb2.FUNCTION_ADAPTIVE_MAX_POOL1D: _ADAPTIVE,
    graph_pb2.FUNCTION_ADAPTIVE_MAX_POOL2D: _ADAPTIVE,
    graph_pb2.FUNCTION_ADAPTIVE_MAX_POOL3D: _ADAPTIVE,
    graph_pb2.FUNCTION_INTERPOLATE: (
        _X,
        Parameter("size", (*_SIDES, "none"), None),
        Parameter("scale_factor", ("real", "integer", "reals", "none"), None),
        Parameter(
            "mode",
            ("choice",),
            "nearest",
            ("nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact"),
        ),
        Parameter("align_corners", _MAYBE_FLAG, None),
        Parameter("recompute_scale_factor", _MAYBE_FLAG, None),
        Parameter("antialias", ("boolean",), default=False),
    ),
    graph_pb2.FUNCTION_GRID_SAMPLE: (
        _X,
        Parameter("grid"),
        Parameter("mode", ("choice",), "bilinear", ("bilinear", "nearest", "bicubic")),
        Parameter("padding_mode", ("choice",), "zeros", ("zeros", "border", "reflection")),
        # torch warns where it is not said.
        Parameter("align_corners", ("boolean",), default=False),
    ),
    graph_pb2.FUNCTION_AFFINE_GRID: (
        Parameter("theta"),
        Parameter("size", ("integers",)),
        Parameter("align_corners", ("boolean",), default=False),
    ),
    graph_pb2.FUNCTION_PAD: (
        _X,
        Parameter("pad", ("integers",)),
        Parameter(
            "mode", ("choice",), "constant", ("constant", "reflect", "replicate", "circular")
        ),
        Parameter("value", ("real", "integer", "none"), None),
    ),
    graph_pb2.FUNCTION_PIXEL_SHUFFLE: (_X, Parameter("upscale_factor", ("integer",))),
    graph_pb2.FUNCTION_PIXEL_UNSHUFFLE: (_X, Parameter("downscale_factor", ("integer",))),
    graph_pb2.FUNCTION_CHANNEL_SHUFFLE: (_X, Parameter("groups", ("integer",))),
    graph_pb2.FUNCTION_FOLD: (_X, _OUTPUT, *_WINDOW),
    graph_pb2.FUNCTION_UNFOLD: (_X, *_WINDOW),
}

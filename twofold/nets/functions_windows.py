"""What the functions over images and sequences call; see twofold.nets.functions."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable, Mapping
from typing import Any

from torch.nn import functional

from twofold.v1 import graph_pb2

_Run = Callable[..., Any]  # Any: torch's own functions are not typed

#: Their positional parameters are in torch's own order.
WINDOW_CALLS: Mapping[graph_pb2.Function, _Run] = {
    graph_pb2.FUNCTION_CONV1D: functional.conv1d,
    graph_pb2.FUNCTION_CONV2D: functional.conv2d,
    graph_pb2.FUNCTION_CONV3D: functional.conv3d,
    graph_pb2.FUNCTION_CONV_TRANSPOSE1D: functional.conv_transpose1d,
    graph_pb2.FUNCTION_CONV_TRANSPOSE2D: functional.conv_transpose2d,
    graph_pb2.FUNCTION_CONV_TRANSPOSE3D: functional.conv_transpose3d,
    graph_pb2.FUNCTION_MAX_POOL1D: functional.max_pool1d,
    graph_pb2.FUNCTION_MAX_POOL2D: functional.max_pool2d,
    graph_pb2.FUNCTION_MAX_POOL3D: functional.max_pool3d,
    graph_pb2.FUNCTION_AVG_POOL1D: functional.avg_pool1d,
    graph_pb2.FUNCTION_AVG_POOL2D: functional.avg_pool2d,
    graph_pb2.FUNCTION_AVG_POOL3D: functional.avg_pool3d,
    graph_pb2.FUNCTION_LP_POOL1D: functional.lp_pool1d,
    graph_pb2.FUNCTION_LP_POOL2D: functional.lp_pool2d,
    graph_pb2.FUNCTION_LP_POOL3D: functional.lp_pool3d,
    graph_pb2.FUNCTION_ADAPTIVE_AVG_POOL1D: functional.adaptive_avg_pool1d,
    graph_pb2.FUNCTION_ADAPTIVE_AVG_POOL2D: functional.adaptive_avg_pool2d,
    graph_pb2.FUNCTION_ADAPTIVE_AVG_POOL3D: functional.adaptive_avg_pool3d,
    graph_pb2.FUNCTION_ADAPTIVE_MAX_POOL1D: functional.adaptive_max_pool1d,
    graph_pb2.FUNCTION_ADAPTIVE_MAX_POOL2D: functional.adaptive_max_pool2d,
    graph_pb2.FUNCTION_ADAPTIVE_MAX_POOL3D: functional.adaptive_max_pool3d,
    graph_pb2.FUNCTION_INTERPOLATE: functional.interpolate,
    graph_pb2.FUNCTION_GRID_SAMPLE: functional.grid_sample,
    graph_pb2.FUNCTION_AFFINE_GRID: functional.affine_grid,
    graph_pb2.FUNCTION_PAD: functional.pad,
    graph_pb2.FUNCTION_PIXEL_SHUFFLE: functional.pixel_shuffle,
    graph_pb2.FUNCTION_PIXEL_UNSHUFFLE: functional.pixel_unshuffle,
    graph_pb2.FUNCTION_CHANNEL_SHUFFLE: functional.channel_shuffle,
    graph_pb2.FUNCTION_FOLD: functional.fold,
    graph_pb2.FUNCTION_UNFOLD: functional.unfold,
}
